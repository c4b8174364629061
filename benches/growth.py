#!/usr/bin/env python3
"""How the cost grows: 1 to 10,000 streams x 36 months, daily, so 36 requests and 72 objects per stream.

    benches/growth.py [--most 10000] [--json FILE] [--plot FILE.svg]

For each size: a first run, a second one over unchanged answers, which asks for the month under way only, and `plan`.
The largest lake has 720,000 objects and takes 6 GB of memory where it lies in memory; hourly figures would
double it and tell nothing more.
"""

import argparse
import json
import pathlib

import bench
import plot

SIZES = [1, 10, 100, 1_000, 10_000]


def size(streams):
    first = bench.months_back(35)
    with bench.workdir() as folder, bench.Simulator(folder, streams, first=first, grains=["daily"]) as sim:
        took = {"streams": streams, "first": bench.run(sim.config)}
        assert took["first"]["puts"] == 72 * streams, took
        bench.line(f"{streams} streams: first run", took["first"])
        took["again"] = bench.run(sim.config)
        bench.line(f"{streams} streams: unchanged", took["again"])
        took["plan"] = bench.measure([bench.BIN, "plan", "--config", sim.config, "--output", "json"])[1]
        bench.line(f"{streams} streams: plan over {72 * streams:,} objects", took["plan"])
        took["objects"] = sum(1 for _ in pathlib.Path(folder, "lake").glob("user_engagement_*/*/*/data.parquet"))
        assert took["objects"] == 72 * streams
    return took


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--most", type=int, default=SIZES[-1])
    arguments.add_argument("--json")
    arguments.add_argument("--plot")
    arguments = arguments.parse_args()
    bench.build()
    bench.machine()
    sizes = [size(streams) for streams in SIZES if streams <= arguments.most]
    if arguments.json:
        json.dump(sizes, open(arguments.json, "w"), indent=1)
    if arguments.plot:
        pathlib.Path(arguments.plot).write_text(plot.growth(sizes))


main()
