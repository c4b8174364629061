"""Reads a lake with DuckDB and pyarrow, and prints what they found as one JSON text.

Usage: read_lake.py LAKE
"""

import glob
import json
import os
import sys

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.parquet

DATASETS = {
    "user_engagement_daily": "date",
    "user_engagement_hourly": "date",
    "user_engagement_summary": "period_start",
    "user_engagement_periods": "period_end",
}
COUNTS = ["unique_users", "new_users", "returning_users"]
HIVE = ["stream", "month"]


def with_duckdb(lake, dataset, date, hive):
    """What DuckDB finds. Everything is a number or a text: instants in Python would need a zone library."""
    source = f"read_parquet('{lake}/{dataset}/**/*.parquet', hive_partitioning = {hive}, union_by_name = false)"
    db = duckdb.connect()
    columns = {name: kind for name, kind, *_ in db.sql(f"DESCRIBE SELECT * FROM {source}").fetchall()}
    sums = ", ".join(f"sum({c})::BIGINT" for c in COUNTS)
    row = db.sql(
        f"SELECT count(*), {sums}, min({date})::VARCHAR, max({date})::VARCHAR,"
        f" count(*) FILTER (is_final), min(epoch_us(fetched_at)), max(epoch_us(fetched_at)) FROM {source}"
    ).fetchall()[0]
    found = summary(columns, row)
    if "hour_start" in columns:
        found["hours"] = list(
            db.sql(
                f"SELECT count(hour_start), min(epoch_us(hour_start)), max(epoch_us(hour_start)),"
                f" sum(hour)::BIGINT FROM {source}"
            ).fetchall()[0]
        )
    if hive:
        found["hive_mismatches"] = db.sql(
            f"SELECT count(*) FROM {source}"
            f" WHERE stream <> stream_id OR month::VARCHAR <> strftime({date}, '%Y-%m')"
        ).fetchall()[0][0]
        found["months"] = [r[0] for r in db.sql(f"SELECT DISTINCT month::VARCHAR FROM {source} ORDER BY 1").fetchall()]
    return found


def with_pyarrow(lake, dataset, date, hive):
    source = pyarrow.dataset.dataset(
        f"{lake}/{dataset}", format="parquet", partitioning="hive" if hive else None
    )
    table = source.to_table()
    columns = {field.name: str(field.type) for field in source.schema}

    def ends(name):
        both = pc.min_max(table[name])
        return [both["min"], both["max"]]

    def micros(name):
        return [None if v.value is None else v.value for v in ends(name)]

    first, last = (str(v.as_py()) for v in ends(date))
    sums = [pc.sum(table[c]).as_py() for c in COUNTS]
    final = pc.sum(table["is_final"].cast(pa.int64())).as_py()
    found = summary(columns, [table.num_rows, *sums, first, last, final, *micros("fetched_at")])
    if "hour_start" in columns:
        starts = table["hour_start"]
        found["hours"] = [
            table.num_rows - starts.null_count,
            *micros("hour_start"),
            pc.sum(table["hour"]).as_py(),
        ]
    if hive:
        month = pc.strftime(table[date], format="%Y-%m")
        wrong = pc.or_(
            pc.not_equal(table["stream"].cast(pa.string()), table["stream_id"]),
            pc.not_equal(table["month"].cast(pa.string()), month),
        )
        found["hive_mismatches"] = pc.sum(wrong.cast(pa.int64())).as_py()
        found["months"] = sorted(pc.unique(table["month"].cast(pa.string())).to_pylist())
    return found


def summary(columns, row):
    rows, unique, new, returning, first, last, final, seen_first, seen_last = row
    return {
        "columns": columns,
        "rows": rows,
        "sums": [unique, new, returning],
        "dates": [first, last],
        "final": final,
        "fetched_at": [seen_first, seen_last],
    }


def footer(path):
    """What a file says of itself."""
    file = pyarrow.parquet.ParquetFile(path)
    metadata = file.metadata
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    chunks = [group.column(i) for group in groups for i in range(group.num_columns)]
    names = [metadata.schema.column(i).name for i in range(metadata.num_columns)]
    return {
        "created_by": metadata.created_by,
        "codecs": sorted({chunk.compression for chunk in chunks}),
        "offset_index": all(chunk.has_offset_index for chunk in chunks),
        "column_index": all(chunk.has_column_index for chunk in chunks),
        "without_statistics": sorted({chunk.path_in_schema for chunk in chunks if not chunk.is_stats_set}),
        "sorting": [
            [[names[s.column_index], s.descending, s.nulls_first] for s in group.sorting_columns]
            for group in groups
        ],
        "entries": {
            key.decode(): value.decode()
            for key, value in (metadata.metadata or {}).items()
            if key.startswith(b"trendlake.")
        },
    }


def main():
    lake = sys.argv[1]
    found = {"duckdb": {}, "pyarrow": {}, "footers": {}}
    for engine, read in [("duckdb", with_duckdb), ("pyarrow", with_pyarrow)]:
        for hive in [False, True]:
            found[engine]["hive" if hive else "plain"] = {
                dataset: read(lake, dataset, date, hive) for dataset, date in DATASETS.items()
            }
    for dataset in DATASETS:
        for path in glob.glob(f"{lake}/{dataset}/**/*.parquet", recursive=True):
            found["footers"][os.path.relpath(path, lake)] = footer(path)
    json.dump(found, sys.stdout)


main()
