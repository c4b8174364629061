"""Reads a lake with DuckDB over and over until stdin ends: no row may ever stand twice, and none may go.

Usage: follow.py LAKE SCRIPTS
"""

import json
import select
import sys
from pathlib import Path

import yaml

import engines



def main():
    lake, folder = sys.argv[1:]
    reader = engines.Duckdb(lake, folder)
    source = yaml.safe_load(Path(folder, "dbt.sql").read_text())["sources"][0]
    keys_of = {table["name"]: ", ".join(table["config"]["meta"]["key"]) for table in source["tables"]}
    seen = dict.fromkeys(keys_of, 0)
    sums = {dataset: set() for dataset in keys_of}
    rounds = 0
    print("reading", flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        for dataset, key in keys_of.items():
            figure = "new_value" if dataset == engines.RESTATEMENTS else "unique_users"
            rows, keys, users = reader.db.execute(
                f"SELECT count(*), count(DISTINCT ({key})), sum({figure}) FROM trendlake.{dataset}"
            ).fetchall()[0]
            if rows != keys or rows < seen[dataset]:
                sys.exit(f"{dataset}: {rows} rows with {keys} keys, and {seen[dataset]} rows before")
            seen[dataset] = rows
            sums[dataset].add(users)
        rounds += 1
    print(json.dumps({"rounds": rounds, "states": {d: len(s) for d, s in sums.items()}, "rows": seen}))


main()
