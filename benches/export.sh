#!/usr/bin/env bash
# Exports 100 streams x 12 months, both grains, from the simulator with its limits off, and prints what
# the exporter took: wall and CPU seconds, peak memory, requests, objects, bytes. The simulator is a
# process of its own, on another core where there is one, and is not counted. The lake is in memory where
# there is a /dev/shm: on a disk, what the kernel spends on making 3,600 files durable hides the exporter
# (LAKE_ON=/some/folder measures that as well).
#
#   benches/export.sh [streams] [latency in ms]
set -euo pipefail
cd "$(dirname "$0")/.."
streams=${1:-100}
latency=${2:-0}
[ -n "${NO_BUILD:-}" ] || cargo build --release --locked --quiet
bin=$PWD/target/release/trendlake
shm=${TMPDIR:-/tmp}
[ ! -w /dev/shm ] || shm=/dev/shm
work=$(mktemp -d -p "${LAKE_ON:-$shm}")
simulator=
trap '[ -z "$simulator" ] || kill "$simulator" 2>/dev/null || true; rm -rf "$work"' EXIT

pin=()
if [ "$(nproc)" -gt 1 ] && command -v taskset >/dev/null; then pin=(taskset -c 1); fi
"${pin[@]}" "$bin" simulate --port 0 --streams "$streams" --write "$work" --no-limits --latency-ms "$latency" \
  --output json >"$work/simulator.json" &
simulator=$!
until [ -s "$work/simulator.json" ]; do
  kill -0 "$simulator" # ends the wait if it could not start
  sleep 0.05
done
# Twelve whole-month windows per stream: the simulator's configuration begins a year back.
from=$(date -u -d "$(date -u +%Y-%m-01) -11 months" +%Y-%m-01)
sed -i "s/^first_date = .*/first_date = \"$from\"/" "$work/trendlake.toml"
cat >>"$work/trendlake.toml" <<TOML

[concurrency]
streams = 8
TOML
sed -i 's/^\[defaults\]$/[defaults]\nrate_limits = [{ requests = 1000000, per = "1s" }]/' "$work/trendlake.toml"

measure() {
  python3 - "$@" <<'PY'
import json, os, subprocess, sys, time
began = time.monotonic()
child = subprocess.Popen(sys.argv[1:], preexec_fn=lambda: os.sched_setaffinity(0, {0}), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
report = json.load(child.stdout)
_, status, usage = os.wait4(child.pid, 0)
wall = time.monotonic() - began
totals = report["totals"]
print(f"exit {os.waitstatus_to_exitcode(status)}  wall {wall:.2f} s  "
      f"CPU {usage.ru_utime + usage.ru_stime:.2f} s (user {usage.ru_utime:.2f}, sys {usage.ru_stime:.2f})  "
      f"peak {usage.ru_maxrss / 1024:.1f} MiB  requests {totals['requests']}  rows {totals['rows']}  "
      f"objects {totals['puts']}  bytes {totals['bytes']}")
PY
}

export RUST_LOG=error
echo "first run, $streams streams x 12 months, $latency ms:"
measure "$bin" run --config "$work/trendlake.toml" --output json
echo "second run, answers unchanged:"
measure "$bin" run --config "$work/trendlake.toml" --output json
