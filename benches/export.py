#!/usr/bin/env python3
"""The whole program as a process, against the simulator on another core, and the floors under it.

    benches/export.py [--runs 5] [--latency 0 50] [--json FILE]

SMALL is what a CronJob's tick costs: 1 stream, 1 month, daily. FULL is 100 streams x 12 months, hourly and daily:
2,400 requests, about 900,000 rows. Each is run several times; medians are printed.
"""

import argparse
import json
import shutil

import bench


def rounds(count, sim, lake, *arguments):
    """First runs, each into an empty lake."""
    samples = []
    for _ in range(count):
        bench.clean(lake)
        samples.append(bench.run(sim.config, *arguments))
    return bench.medians(samples)


def small(count, latency, results):
    last = bench.months(1)[0]
    with bench.workdir() as folder, bench.Simulator(folder, 1, latency, first=last, grains=["daily"]) as sim:
        took = rounds(count, sim, f"{folder}/lake", "backfill", "--from", last, "--to", last)
        report(results, f"SMALL, {latency} ms", took)


def full(count, latency, results):
    months = bench.months(12)
    within = ("backfill", "--from", months[0], "--to", months[-1])
    with bench.workdir() as folder, bench.Simulator(folder, 100, latency, first=months[0]) as sim:
        lake = f"{folder}/lake"
        if latency:
            took = rounds(count, sim, lake, *within)
        else:
            # In turns with its floors: the cores may be slower in the next minute.
            floor = bench.bench_target("steps")
            turns = [(rounds(1, sim, lake, *within), *floors(floor, sim, months)) for _ in range(count)]
            took = bench.medians([turn[0] for turn in turns])
        assert took["requests"] == 2400 and took["puts"] == 3600, took
        report(results, f"FULL, {latency} ms", took)
        if latency:
            return
        # With the month under way, so that every footer is known to be good; then the twelve months again.
        bench.run(sim.config)
        again = bench.medians([bench.run(sim.config) for _ in range(count)])
        report(results, "FULL and the month under way, unchanged", again)
        again = bench.medians([bench.run(sim.config, *within) for _ in range(count)])
        assert again["requests"] == 0, again
        report(results, "FULL, everything final", again)
        against(turns, results)


def floors(floor, sim, months):
    ends = [sim.config, months[0], months[-1]]
    network = bench.measure([floor, "network", *ends])[1]
    compute = json.loads(bench.measure([floor, "compute", *ends])[0])
    shutil.rmtree(sim.folder / "floor")
    return network, compute


def against(turns, results):
    network, compute = (bench.medians([turn[place] for turn in turns]) for place in (1, 2))
    report(results, "floor: download and throw away", network)
    results["floor: decode and encode"] = compute
    print(f"floor: decode and encode: CPU {compute['cpu_secs']:.3f} s; put the files durably: CPU {compute['files_cpu_secs']:.3f} s")
    ratios = []
    for took, downloaded, computed in turns:
        assert computed["rows"] == took["rows"], (computed, took)
        both = downloaded["cpu"] + computed["cpu_secs"]
        ratios.append({"two": took["cpu"] / both, "three": took["cpu"] / (both + computed["files_cpu_secs"])})
    results["FULL, against the floors"] = ratios
    least, most = min(r["two"] for r in ratios), max(r["two"] for r in ratios)
    middle = bench.medians(ratios)
    print(f"FULL takes {middle['two']:.2f} x the CPU of download, decode and encode ({least:.2f} to {most:.2f}),", end=" ")
    print(f"{middle['three']:.2f} x with the files")


def report(results, name, took):
    results[name] = took
    bench.line(name, took)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--runs", type=int, default=5)
    arguments.add_argument("--latency", type=int, nargs="*", default=[0, 50])
    arguments.add_argument("--json")
    arguments = arguments.parse_args()
    bench.build()
    bench.machine()
    results = {}
    for latency in arguments.latency:
        small(arguments.runs, latency, results)
        full(arguments.runs if latency == 0 else min(2, arguments.runs), latency, results)
    if arguments.json:
        json.dump(results, open(arguments.json, "w"), indent=1)


main()
