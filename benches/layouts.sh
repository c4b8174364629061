#!/usr/bin/env bash
# Exports 100 streams x 36 months in both layouts, from the simulator with its limits off, and prints for each: what
# the export took; objects and bytes; how long DuckDB takes for two questions, with nothing of the lake in memory and
# then again; and what it costs to fetch one month of one stream anew. Needs target/venv (`make setup`).
#
#   benches/layouts.sh [streams] [months]
set -euo pipefail
cd "$(dirname "$0")/.."
streams=${1:-100}
months=${2:-36}
[ -n "${NO_BUILD:-}" ] || cargo build --release --locked --quiet
bin=$PWD/target/release/trendlake
python=$PWD/target/venv/bin/python
work=$(mktemp -d -p "${LAKE_ON:-${TMPDIR:-/tmp}}")
simulator=
trap '[ -z "$simulator" ] || kill "$simulator" 2>/dev/null || true; rm -rf "$work"' EXIT

"$bin" simulate --port 0 --streams "$streams" --write "$work" --no-limits --latency-ms 0 \
  --output json >"$work/simulator.json" &
simulator=$!
until [ -s "$work/simulator.json" ]; do
  kill -0 "$simulator" # ends the wait if it could not start
  sleep 0.05
done
from=$(date -u -d "$(date -u +%Y-%m-01) -$((months - 1)) months" +%Y-%m-01)
sed -i "s/^first_date = .*/first_date = \"$from\"/" "$work/trendlake.toml"
sed -i 's/^\[defaults\]$/[defaults]\nrate_limits = [{ requests = 1000000, per = "1s" }]/' "$work/trendlake.toml"

# What a command takes, and what its report says was written.
measure() {
  "$python" - "$@" <<'PY'
import json, os, subprocess, sys, time
began = time.monotonic()
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
report = json.load(child.stdout)
_, status, usage = os.wait4(child.pid, 0)
totals = report["totals"]
print(f"exit {os.waitstatus_to_exitcode(status)}  wall {time.monotonic() - began:.2f} s  "
      f"CPU {usage.ru_utime + usage.ru_stime:.2f} s  peak {usage.ru_maxrss / 1024:.1f} MiB  "
      f"requests {totals['requests']}  puts {totals['puts']}  bytes put {totals['bytes']}")
PY
}

# Two questions: figures of all streams by stream and month, and a year of hours of one stream. Each is asked with
# the files out of the page cache (as far as the system heeds that), and then three times more.
ask() {
  "$python" - "$1" "$2" <<'PY'
import glob, os, subprocess, sys, time
root, stream = sys.argv[1:]
files = glob.glob(f"{root}/user_engagement_*/*/*/data.parquet")
print(f"  {len(files)} objects, {sum(map(os.path.getsize, files))} bytes")
os.sync()
source = f"read_parquet('{root}/user_engagement_hourly/*/*/data.parquet', hive_partitioning = false)"
questions = {
    "sum over all by stream and month": f"SELECT stream_id, date_trunc('month', date), sum(new_users) FROM {source} GROUP BY ALL",
    "one stream's year of hours": f"SELECT date, hour, unique_users FROM {source} WHERE stream_id = '{stream}' AND date >= current_date - 365",
}
child = """
import duckdb, sys, time
db = duckdb.connect()
db.sql("SET enable_external_file_cache = false")
times = []
for _ in range(4):
    began = time.monotonic()
    rows = len(db.sql(sys.argv[1]).fetchall())
    times.append(time.monotonic() - began)
print(f"{times[0] * 1000:.0f} ms cold, {min(times[1:]) * 1000:.0f} ms warm, {rows} rows")
"""
for name, query in questions.items():
    for path in files:
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    said = subprocess.run([sys.executable, "-c", child, query], check=True, capture_output=True, text=True).stdout
    print(f"  {name}: {said.strip()}")
PY
}

export RUST_LOG=error
stream=$(sed -n 's/^id = "\(.*\)"/\1/p' "$work/trendlake.toml" | head -1)
anew=$(date -u -d "$(date -u +%Y-%m-01) -3 months" +%Y-%m)
for layout in stream packed; do
  echo "layout $layout, $streams streams x $months months:"
  export TRENDLAKE__LAKE__URL="$work/$layout" TRENDLAKE__LAKE__LAYOUT=$layout
  echo "  first run: $(measure "$bin" run --config "$work/trendlake.toml" --output json)"
  echo "  second run, answers unchanged: $(measure "$bin" run --config "$work/trendlake.toml" --output json)"
  root=$work/$layout
  [ "$layout" = stream ] || root=$root/packed
  ask "$root" "$stream"
  # With another slice, the stream's month says something else.
  sed '0,/^\[streams\./s/^\(\[streams\..*\]\)/\1\nslices = ["dashboard"]/' "$work/trendlake.toml" >"$work/other.toml"
  echo "  a month of one stream anew: $(measure "$bin" backfill --config "$work/other.toml" --from "$anew" --to "$anew" \
    --stream "$stream" --output json)"
done
