"""What the benchmarks share: a simulator on a core of its own, and what a process has taken.

Figures are CPU seconds (user and system, of all threads and children) and peak resident memory, as the kernel
counts them when the process has ended. Wall time is told as well, and means little on a machine that others use.
"""

import datetime
import json
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = ROOT / "target/release/trendlake"
# The program has the first core, the simulator the second.
CORES = sorted(os.sched_getaffinity(0))
OURS, THEIRS = {CORES[0]}, {CORES[-1]}


def build():
    """The program as it is shipped; NO_BUILD=1 takes the one that is there."""
    if not os.environ.get("NO_BUILD"):
        subprocess.run(["cargo", "build", "--release", "--locked", "--quiet"], cwd=ROOT, check=True)


def bench_target(name):
    """The executable of a [[bench]], built if need be; with NO_BUILD=1 the newest that is there."""
    if os.environ.get("NO_BUILD"):
        there = [path for path in BIN.parent.glob(f"deps/{name}-*") if not path.suffix]
        return max(there, key=lambda path: path.stat().st_mtime)
    command = ["cargo", "bench", "--locked", "--no-run", "--bench", name, "--message-format=json"]
    lines = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout.splitlines()
    found = [m["executable"] for m in map(json.loads, lines) if m.get("target", {}).get("name") == name]
    return [path for path in found if path][-1]


def workdir():
    """A folder in memory: on a disk, what the kernel spends on making thousands of files durable would hide the
    program. LAKE_ON=/some/folder measures that as well."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    return tempfile.TemporaryDirectory(prefix="trendlake-", dir=os.environ.get("LAKE_ON", memory))


def months(count):
    """The last `count` months that have settled, as texts."""
    today = datetime.date.today()
    last = today.year * 12 + today.month - 2 - (1 if today.day <= 4 else 0)
    name = lambda n: f"{n // 12}-{n % 12 + 1:02}"
    return [name(n) for n in range(last - count + 1, last + 1)]


def months_back(count):
    """The month so many before the one under way, as a text."""
    today = datetime.date.today()
    number = today.year * 12 + today.month - 1 - count
    return f"{number // 12}-{number % 12 + 1:02}"


class Simulator:
    """`trendlake simulate` with a configuration of made-up streams, its limits off, in a `with` statement."""

    def __init__(self, folder, streams, latency_ms=0, first=None, grains=None, concurrency=8, restate_days=2):
        self.folder = pathlib.Path(folder)
        self.command = [BIN, "simulate", "--port", "0", "--no-limits", "--latency-ms", str(latency_ms)]
        self.command += ["--restate-days", str(restate_days), "--output", "json"]
        self.config = self.folder / "trendlake.toml"
        self.streams, self.first, self.grains, self.concurrency = streams, first, grains, concurrency

    def __enter__(self):
        fresh = not self.config.exists()
        command = self.command + (["--streams", str(self.streams), "--write", str(self.folder)] if fresh else ["--config", str(self.config)])
        said = (self.folder / "simulator.json").open("w+")
        self.process = subprocess.Popen(
            command, stdout=said, stderr=subprocess.DEVNULL, preexec_fn=lambda: os.sched_setaffinity(0, THEIRS)
        )
        while not said.tell():
            if self.process.poll() is not None:
                raise SystemExit("the simulator did not start")
            time.sleep(0.05)
            said.seek(0, os.SEEK_END)
        time.sleep(0.05)
        said.seek(0)
        self.url = json.load(said)["base_url"]
        if fresh:
            text = self.config.read_text()
            if self.first:
                text = re.sub(r"first_date = .*", f'first_date = "{self.first}-01"', text)
            more = 'rate_limits = [{ requests = 1000000, per = "1s" }]\n'
            if self.grains:
                more += f"grains = {json.dumps(self.grains)}\n"
            text = text.replace("[defaults]\n", "[defaults]\n" + more, 1)
            self.config.write_text(text + f"\n[concurrency]\nstreams = {self.concurrency}\n")
        else:
            self.config.write_text(re.sub(r'base_url = ".*"', f'base_url = "{self.url}"', self.config.read_text()))
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def measure(command, env=None, cwd=None):
    """Runs a command on our core. Its standard output comes back with what it took."""
    began = time.monotonic()
    process = subprocess.Popen(
        [str(part) for part in command], cwd=cwd, env={**os.environ, "RUST_LOG": "error", **(env or {})},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=lambda: os.sched_setaffinity(0, OURS),
    )
    # Side by side, so that neither pipe fills up while the other is read.
    with tempfile.TemporaryFile() as errors:
        drain = threading.Thread(target=lambda: shutil.copyfileobj(process.stderr, errors))
        drain.start()
        out = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        drain.join()
        wall = time.monotonic() - began
        if process.returncode:
            errors.seek(0)
            sys.stderr.write(errors.read().decode()[-4000:])
            raise SystemExit(f"{command} ended with {process.returncode}")
    return out, {
        "wall": wall,
        "cpu": usage.ru_utime + usage.ru_stime,
        "user": usage.ru_utime,
        "sys": usage.ru_stime,
        "peak_mib": usage.ru_maxrss / 1024,
    }


def run(config, *arguments):
    """One run of the program as a schedule has it, with the totals of its report."""
    _, took = measure([BIN, *(arguments or ("run",)), "--config", config])
    newest = max((config.parent / "lake/_trendlake/runs").iterdir(), key=lambda path: path.name)
    return {**took, **json.loads(newest.read_text())["totals"]}


def medians(samples):
    """The median of each figure."""
    return {key: statistics.median(sample[key] for sample in samples) for key in samples[0]}


def clean(folder):
    """Removes a lake."""
    shutil.rmtree(folder, ignore_errors=True)


def line(name, took):
    """A row of a table, for people."""
    parts = [f"{name:<42}", f"wall {took['wall']:7.2f} s", f"CPU {took['cpu']:7.3f} s (user {took['user']:.3f}, sys {took['sys']:.3f})"]
    parts += [f"peak {took['peak_mib']:6.1f} MiB"]
    parts += [f"{key} {took[key]:,.0f}" for key in ["requests", "rows", "puts", "bytes"] if key in took]
    print("  ".join(parts), flush=True)


def machine():
    """What the figures were measured on."""
    cpu = next(l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name"))
    load = open("/proc/loadavg").read().split()[0]
    print(f"{os.cpu_count()} cores of {cpu}, load {load}, {datetime.date.today()}", flush=True)
