#!/usr/bin/env python3
"""The same two jobs by trendlake and by what one would use otherwise, one after another against the same simulator.

    benches/peers/run.py [--runs 3] [--streams 100] [--only NAME ...] [--json FILE]

The slower ones run a third as often, and each just after trendlake, which it is compared with. What each has written is
held against the simulator before its time counts.
Then, on a small lake, what each leaves behind: after a second run over unchanged answers, and after one for which a
past week has been restated. The requirements*.txt say of what the environments under target/peers/ are made.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import bench  # noqa: E402

VENVS = bench.ROOT / "target/peers"
PEERS = {"hand": "hand", "dlt_arrow": "dlt", "dlt_records": "dlt", "singer": "singer"}
ENVIRONMENT = {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "CRITICAL", "SINGER_SDK_LOG_LEVEL": "ERROR"}


def setup():
    for name in {*PEERS.values(), "verify"}:
        venv, wanted = VENVS / name, HERE / f"requirements-{name}.txt"
        stamp = venv / "requirements.installed"
        if stamp.exists() and stamp.read_text() == wanted.read_text():
            continue
        subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
        subprocess.run([venv / "bin/pip", "install", "--quiet", "--disable-pip-version-check", "-r", wanted], check=True)
        stamp.write_text(wanted.read_text())


def carry_out(name, sim, within, grains, folder):
    """One run of a tool; what it took."""
    if name == "trendlake":
        command = [bench.BIN, "backfill", "--from", within[0], "--to", within[1], "--config", sim.config, "--lake", folder]
        return bench.measure(command)[1]
    command = [VENVS / PEERS[name] / "bin/python", HERE / f"{name}.py", sim.config, *within, ",".join(grains), folder]
    home = {"HOME": str(folder), "PYTHONDONTWRITEBYTECODE": ""}
    return bench.measure(command, env={**ENVIRONMENT, **home}, cwd=folder)[1]


def verify(sim, within, grains, folder):
    command = [VENVS / "verify/bin/python", HERE / "verify.py", sim.config, *within, ",".join(grains), folder]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def job(title, names, runs, streams, months, grains, results):
    with bench.workdir() as folder, bench.Simulator(folder, streams, first=months[0], grains=grains) as sim:
        within = (months[0], months[-1])
        place = pathlib.Path(folder) / "out"

        def once(name, is_verified):
            place.mkdir()
            took = carry_out(name, sim, within, grains, place)
            if is_verified:
                for grain, found in verify(sim, within, grains, place).items():
                    good = found["rows"] == found["expected"] and not found["missing"] and not found["wrong"]
                    assert good, f"{name}: {grain}: {found}"
            took["bytes"] = sum(p.stat().st_size for p in place.rglob("*.parquet"))
            bench.clean(place)
            return took

        ours = [once("trendlake", True)]
        for name in names:
            # Each time just after trendlake: the cores may be slower in the next minute.
            turns = range(runs if name in ("hand", "dlt_arrow") else max(1, runs // 3))
            pairs = [(once("trendlake", False), once(name, turn == 0)) for turn in turns]
            ours += [first for first, _ in pairs]
            ratio = statistics.median(other["cpu"] / first["cpu"] for first, other in pairs)
            took = {**bench.medians([other for _, other in pairs]), "ratio": ratio}
            results.setdefault(title, {})[name] = took
            bench.line(f"{title}: {name} ({ratio:.1f} x)", took)
        results[title]["trendlake"] = bench.medians(ours)
        bench.line(f"{title}: trendlake", results[title]["trendlake"])


def left_behind(names, results):
    """On three streams and two months: a second run, and one after a week has been restated."""
    today = bench.datetime.date.today()
    last, before = today.strftime("%Y-%m"), (today.replace(day=1) - bench.datetime.timedelta(days=1)).strftime("%Y-%m")
    grains, within = ["daily", "hourly"], (before, last)
    for name in names:
        with bench.workdir() as folder:
            place = pathlib.Path(folder) / "out"
            place.mkdir()
            with bench.Simulator(folder, 3, first=before, grains=grains, restate_days=10) as sim:
                carry_out(name, sim, within, grains, place)
                carry_out(name, sim, within, grains, place)
                again = verify(sim, within, grains, place)
            # Settled after two days instead of ten: the figures of the days in between have grown.
            with bench.Simulator(folder, 3, restate_days=2) as sim:
                carry_out(name, sim, within, grains, place)
                restated = verify(sim, within, grains, place)
        results.setdefault("left behind", {})[name] = {"second run": again, "restated week": restated}
        for what, found in [("second run", again), ("restated week", restated)]:
            total = {key: sum(of_grain[key] for of_grain in found.values()) for key in found["daily"]}
            print(f"{name}, {what}: {json.dumps(total)}", flush=True)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--streams", type=int, default=100)
    arguments.add_argument("--only", nargs="+", choices=PEERS, default=list(PEERS))
    arguments.add_argument("--json")
    arguments = arguments.parse_args()
    setup()
    bench.build()
    bench.machine()
    names, results = arguments.only, {}
    job("SMALL", names, arguments.runs, 1, bench.months(1), ["daily"], results)
    job("FULL", names, arguments.runs, arguments.streams, bench.months(12), ["daily", "hourly"], results)
    left_behind(["trendlake", *names], results)
    if arguments.json:
        json.dump(results, open(arguments.json, "w"), indent=1)


main()
