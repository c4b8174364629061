"""Reads a lake with several engines, and holds every row of each against what pyarrow reads from the files: from all
of them, or from those that the logs of the tables name.

Usage: compare.py LAKE SCRIPTS ENGINE...

SCRIPTS has what `trendlake sql` printed, as <engine>.sql and <engine>.json. For each line of stdin the lake is read
with all engines, whose sessions stay open in between, and what they agree on is printed as one line of JSON.
"""

import hashlib
import json
import sys

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset

import engines
from engines import RESTATEMENTS


def ordered(table, schema):
    """The files' own columns, in the files' types, in one order of rows."""
    table = table.select(schema.names).cast(schema).combine_chunks()
    return table.sort_by([(name, "ascending") for name in schema.names])


def judge(engine, name, table, reference):
    schema = reference.schema
    found = ordered(table, schema)
    if not found.equals(reference):
        for column in schema.names:
            if not found[column].equals(reference[column]):
                sys.exit(
                    f"{engine} {name}: {found.num_rows} rows for {reference.num_rows}; `{column}` differs:\n"
                    f"{found[column][:20]}\nfor\n{reference[column][:20]}"
                )
        sys.exit(f"{engine} {name}: {found.schema}\nfor\n{schema}")
    stands_for = {"stream": lambda: table["stream_id"].cast(pa.string()), "month": lambda: month(table)}
    if set(table.schema.names) - set(schema.names) - set(stands_for) - {"pack"}:
        sys.exit(f"{engine} {name}: more columns than there should be: {table.schema}")
    for folder in stands_for.keys() & set(table.schema.names):
        if pa.types.is_integer(table.schema.field(folder).type) or not pc.all(
            pc.equal(table[folder].cast(pa.string()), stands_for[folder]())
        ).as_py():
            sys.exit(f"{engine} {name}: the folder `{folder}` says something else than the columns")


def month(table):
    """The month under which each row is filed."""
    day = table["period_start" if "period_start" in table.schema.names else "date"].cast(pa.date32())
    if "is_available" in table.schema.names:
        # A period is filed under the month of its last day, and these here are weeks.
        day = pc.add(day.cast(pa.int32()), 6).cast(pa.int32()).cast(pa.date32())
    is_date = pa.types.is_date(table.schema.field("month").type)
    return pc.strftime(day, format="%Y-%m-01" if is_date else "%Y-%m")


def digest(table):
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return hashlib.sha256(sink.getvalue()).hexdigest()


def read(lake, kind, readers):
    found = {}
    for dataset, folder in engines.tables(lake).items():
        files = kind.files(folder)
        schema = files.schema.remove_metadata()
        schema = pa.schema([field.remove_metadata() for field in schema])
        whole = ordered(files.to_table(), schema)
        references = {dataset: whole}
        if dataset != RESTATEMENTS:
            references[f"{dataset}_final"] = whole.filter(whole["is_final"])
        for name, reference in references.items():
            for engine, reader in readers.items():
                judge(engine, name, reader.read(name, schema), reference)
        found[dataset] = {
            "rows": whole.num_rows,
            "final": references.get(f"{dataset}_final", pa.table({})).num_rows,
            "nulls": whole["hour" if dataset == RESTATEMENTS else "unique_users"].null_count,
            "streams": sorted(pc.unique(whole["stream_id"]).to_pylist()),
            "digest": digest(whole),
        }
    of = [("user_engagement_daily", "unique_users"), (RESTATEMENTS, "old_value")]
    comments = {e: [r.comment(*column) for column in of] for e, r in readers.items() if hasattr(r, "comment")}
    return {"datasets": found, "comments": comments}


def main():
    lake, folder, *names = sys.argv[1:]
    kind = engines.kind(lake)
    readers = {name: kind.ENGINES[name](lake, folder) for name in names}
    for _ in sys.stdin:
        for reader in readers.values():
            if hasattr(reader, "refresh"):
                reader.refresh()
        print(json.dumps(read(lake, kind, readers)), flush=True)


main()
