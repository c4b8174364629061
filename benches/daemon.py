#!/usr/bin/env python3
"""What a daemon over 1,000 streams x 36 months takes: its memory, a scrape of its metrics, the overview page.

    benches/daemon.py [--streams 1000] [--json FILE]

The lake is daily, as in growth.py. Times are those of one client after another, from the request to the last byte.
"""

import argparse
import http.client
import json
import os
import pathlib
import re
import statistics
import subprocess
import time
import urllib.parse

import bench

ASKED = {"/metrics": "a scrape", "/": "the overview", "/runs": "the runs", "/healthz": "health"}


def resident(pid):
    """Resident memory now and at its peak, in MiB."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return [int(re.search(rf"{what}:\s+(\d+)", status)[1]) / 1024 for what in ["VmRSS", "VmHWM"]]


def cpu(pid):
    """CPU seconds so far."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ask(address, path):
    connection = http.client.HTTPConnection(address)
    began = time.monotonic()
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    return answer.status, time.monotonic() - began, len(body)


def serve(sim, results):
    # A tick that is far off: what is measured is a daemon between two runs.
    text = sim.config.read_text()
    sim.config.write_text(text + '\n[serve]\nlisten = "127.0.0.1:0"\nschedule = ["0 0 29 2 *"]\n')
    daemon = subprocess.Popen([bench.BIN, "serve", "--config", sim.config, "--output", "json"], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, env={**os.environ, "RUST_LOG": "error"},
                              preexec_fn=lambda: os.sched_setaffinity(0, bench.OURS))
    try:
        said = b""
        while not said.rstrip().endswith(b"}"):
            said += daemon.stdout.readline()
        address = urllib.parse.urlsplit(json.loads(said)["url"]).netloc
        # It looks at the lake once before it waits; the overview then names every stream.
        while ask(address, "/")[2] < 100 * sim.streams:
            time.sleep(0.2)
        results["start"] = {"cpu": cpu(daemon.pid)}
        for path, name in ASKED.items():
            before = cpu(daemon.pid)
            answers = [ask(address, path) for _ in range(30)]
            assert all(status == 200 for status, *_ in answers), path
            took = {"ms": 1000 * statistics.median(a[1] for a in answers), "bytes": answers[0][2],
                    "first_ms": 1000 * answers[0][1], "cpu_ms": 1000 * (cpu(daemon.pid) - before) / len(answers)}
            results[name] = took
            print(f"{name:<16} {took['ms']:8.1f} ms, the first {took['first_ms']:6.1f} ms  CPU {took['cpu_ms']:6.1f} ms  "
                  f"{took['bytes']:,} bytes", flush=True)
        results["rss_mib"], results["peak_mib"] = resident(daemon.pid)
        print(f"start: CPU {results['start']['cpu']:.2f} s; resident {results['rss_mib']:.1f} MiB, "
              f"at its peak {results['peak_mib']:.1f} MiB", flush=True)
    finally:
        daemon.terminate()
        daemon.wait()


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--streams", type=int, default=1000)
    arguments.add_argument("--json")
    arguments = arguments.parse_args()
    bench.build()
    bench.machine()
    results, first = {}, bench.months_back(35)
    with bench.workdir() as folder, bench.Simulator(folder, arguments.streams, first=first, grains=["daily"]) as sim:
        bench.run(sim.config)
        serve(sim, results)
    if arguments.json:
        json.dump(results, open(arguments.json, "w"), indent=1)


main()
