"""The tables of a lake as the Python package `deltalake` reads them.

Usage: read_tables.py LAKE [--like FILES] [--version N]    what is there; with FILES, held against a lake in files
       read_tables.py LAKE --rewrite                       the same, once every file is written anew by this package
       read_tables.py LAKE --checkpoint                    the same, with a checkpoint of this package's, and what it says
       read_tables.py LAKE --until STOP                    read over and over, until the file STOP exists
"""

import argparse
import json
import os
from collections import Counter

import pyarrow.dataset as ds
import pyarrow.parquet as pq
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import TableNotFoundError

parser = argparse.ArgumentParser()
parser.add_argument("lake")
parser.add_argument("--like")
parser.add_argument("--version", type=int)
parser.add_argument("--until")
parser.add_argument("--rewrite", action="store_true")
parser.add_argument("--checkpoint", action="store_true")
arguments = parser.parse_args()

DATASETS = [f"user_engagement_{dataset}" for dataset in ["daily", "hourly", "summary"]]
KEY = ["stream_id", "conversation_type", "conversation_status", "channel", "date", "hour", "period_start"]


def rows(table, columns):
    """All rows, sorted, of these columns."""
    return sorted(zip(*(map(repr, table.column(name).to_pylist()) for name in columns)))


def found(name):
    delta = DeltaTable(f"{arguments.lake}/{name}", version=arguments.version)
    if arguments.rewrite:
        write_deltalake(delta, delta.to_pyarrow_table(), mode="overwrite")
        delta = DeltaTable(f"{arguments.lake}/{name}")
    table = delta.to_pyarrow_table()
    told = {"rows": table.num_rows, "version": delta.version(), "partitions": delta.metadata().partition_columns}
    if arguments.checkpoint:
        delta.create_checkpoint()
        checkpoint = f"{arguments.lake}/{name}/_delta_log/{delta.version():020}.checkpoint.parquet"
        adds = filter(None, pq.read_table(checkpoint).column("add").to_pylist())
        told["tagged"] = all("trendlake.final" in dict(add["tags"]) for add in adds)
    if arguments.like:
        files = ds.dataset(f"{arguments.like}/{name}", format="parquet").to_table()
        # Two lakes were not fetched at the same instant.
        columns = [column for column in files.column_names if column != "fetched_at"]
        told["more columns"] = sorted(set(table.column_names) - set(files.column_names))
        told["same rows"] = rows(table, columns) == rows(files, columns)
        told["types differ"] = [
            column for column in files.column_names if table.schema.field(column).type != files.schema.field(column).type
        ]
        day = "date" if "date" in columns else "period_start"
        months = zip(table.column("month").to_pylist(), table.column(day).to_pylist())
        told["months fit"] = all(month == date.replace(day=1) for month, date in months)
        streams = delta.to_pyarrow_table(filters=[("stream_id", "=", "st-1")])
        told["of one stream"] = streams.num_rows == files.filter(ds.field("stream_id") == "st-1").num_rows
    return told


def watch():
    reads, versions, most = 0, set(), 0
    while not os.path.exists(arguments.until):
        for name in DATASETS:
            try:
                delta = DeltaTable(f"{arguments.lake}/{name}")
            except TableNotFoundError:
                continue
            table = delta.to_pyarrow_table()
            twice = [key for key, n in Counter(rows(table, [c for c in KEY if c in table.column_names])).items() if n > 1]
            assert not twice, f"{name}, version {delta.version()}: {twice[:3]}"
            reads += 1
            versions.add((name, delta.version()))
            most = max(most, table.num_rows)
    return {"reads": reads, "versions": len(versions), "rows": most}


print(json.dumps(watch() if arguments.until else {name: found(name) for name in DATASETS}), flush=True)
# At once: a thread of the libraries that still runs when the interpreter ends aborts the process, now and then.
os._exit(0)
