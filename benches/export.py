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
        took = rounds(count, sim, f"{folder}/lake", *within)
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
        floors(count, sim, months, took, results)


def floors(count, sim, months, took, results):
    floor = bench.bench_target("steps")
    ends = [sim.config, months[0], months[-1]]
    network = bench.medians([bench.measure([floor, "network", *ends])[1] for _ in range(count)])
    said = []
    for _ in range(count):
        said.append(json.loads(bench.measure([floor, "compute", *ends])[0]))
        shutil.rmtree(sim.folder / "floor")
    compute = bench.medians(said)
    assert compute["rows"] == took["rows"], (compute, took)
    report(results, "floor: download and throw away", network)
    results["floor: decode and encode"] = compute
    both = network["cpu"] + compute["cpu_secs"]
    files = compute["files_cpu_secs"]
    print(f"floor: decode and encode: CPU {compute['cpu_secs']:.3f} s; put the files durably: CPU {files:.3f} s")
    print(f"FULL takes {took['cpu'] / both:.2f} x the CPU of download, decode and encode ({both:.3f} s),", end=" ")
    print(f"{took['cpu'] / (both + files):.2f} x with the files ({both + files:.3f} s)")


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
