#!/usr/bin/env python3
"""What a daemon takes: the memory of one that idles over three streams; and over 1,000 streams x 36 months its memory,
a scrape of its metrics, the overview page.

    benches/daemon.py [--streams 1000] [--json FILE]

The large lake is daily, as in growth.py. Times are those of one client after another, from the request to the last byte.
"""

import argparse
import contextlib
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


@contextlib.contextmanager
def daemon(sim):
    """A daemon whose next tick is far off, so that what is measured lies between two runs; and its address."""
    text = sim.config.read_text()
    sim.config.write_text(text + '\n[serve]\nlisten = "127.0.0.1:0"\nschedule = ["0 0 29 2 *"]\n')
    process = subprocess.Popen([bench.BIN, "serve", "--config", sim.config, "--output", "json"], stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, env={**os.environ, "RUST_LOG": "error"},
                               preexec_fn=lambda: os.sched_setaffinity(0, bench.OURS))
    try:
        said = b""
        while not said.rstrip().endswith(b"}"):
            said += process.stdout.readline()
        address = urllib.parse.urlsplit(json.loads(said)["url"]).netloc
        while ask(address, "/readyz")[0] != 200:
            time.sleep(0.2)
        yield process, address
    finally:
        process.terminate()
        process.wait()


def idle(sim, results):
    with daemon(sim) as (process, _):
        # Threads that have nothing to do end after ten seconds.
        time.sleep(15)
        results["idle_mib"], _ = resident(process.pid)
    print(f"idle, {sim.streams} streams: resident {results['idle_mib']:.1f} MiB", flush=True)


def serve(sim, results):
    with daemon(sim) as (process, address):
        results["start"] = {"cpu": cpu(process.pid)}
        for path, name in ASKED.items():
            before = cpu(process.pid)
            answers = [ask(address, path) for _ in range(30)]
            assert all(status == 200 for status, *_ in answers), path
            took = {"ms": 1000 * statistics.median(a[1] for a in answers), "bytes": answers[0][2],
                    "first_ms": 1000 * answers[0][1], "cpu_ms": 1000 * (cpu(process.pid) - before) / len(answers)}
            results[name] = took
            print(f"{name:<16} {took['ms']:8.1f} ms, the first {took['first_ms']:6.1f} ms  CPU {took['cpu_ms']:6.1f} ms  "
                  f"{took['bytes']:,} bytes", flush=True)
        results["rss_mib"], results["peak_mib"] = resident(process.pid)
        print(f"start: CPU {results['start']['cpu']:.2f} s; resident {results['rss_mib']:.1f} MiB, "
              f"at its peak {results['peak_mib']:.1f} MiB", flush=True)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--streams", type=int, default=1000)
    arguments.add_argument("--json")
    arguments = arguments.parse_args()
    bench.build()
    bench.machine()
    results, first = {}, bench.months_back(35)
    # The whole of the program in the page cache is the worst case: the kernel maps more of it around each use.
    subprocess.run(["cat", bench.BIN], stdout=subprocess.DEVNULL, check=True)
    with bench.workdir() as folder, bench.Simulator(folder, 3, first=bench.months_back(11)) as sim:
        idle(sim, results)
    with bench.workdir() as folder, bench.Simulator(folder, arguments.streams, first=first, grains=["daily"]) as sim:
        bench.run(sim.config)
        serve(sim, results)
    if arguments.json:
        json.dump(results, open(arguments.json, "w"), indent=1)


main()
