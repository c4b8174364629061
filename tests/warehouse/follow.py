"""Reads a lake over and over until stdin ends, with one engine after the other: no row may ever stand twice, none may
go, and what one engine has found, the next one finds too.

A query of plain files that runs just when one of them is replaced may fail: an engine may have read its end before, and
the rest after. Such a query is asked again, as anyone would; of a table none may fail. The restatements of a lake of
tables are plain files, and asked for by themselves.

Usage: follow.py LAKE SCRIPTS ENGINE...
"""

import json
import select
import sys
from pathlib import Path

import yaml

import engines


def main():
    lake, folder, *names = sys.argv[1:]
    readers = [engines.kind(lake).ENGINES[name](lake, folder) for name in names]
    source = yaml.safe_load(Path(folder, "dbt.sql").read_text())["sources"][0]
    keys_of = {table["name"]: ", ".join(table["config"]["meta"]["key"]) for table in source["tables"]}
    figure_of = {engines.RESTATEMENTS: "new_value"}
    queries = {False: [], True: []}
    for dataset, key in keys_of.items():
        queries[engines.is_table(engines.tables(lake)[dataset])].append(
            f"SELECT '{dataset}' AS dataset, count(*) AS found, count(DISTINCT ({key})) AS keys,"
            f" sum({figure_of.get(dataset, 'unique_users')}) AS users"
            f" FROM trendlake.{dataset}"
        )
    seen = dict.fromkeys(keys_of, 0)
    sums = {dataset: set() for dataset in keys_of}
    rounds = failures = 0
    print("reading", flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        found = []
        try:
            for is_of_tables, parts in queries.items():
                if parts:
                    found += readers[rounds % len(readers)].query(" UNION ALL ".join(parts)).to_pylist()
        except Exception as error:
            failures += 1
            if is_of_tables or failures > 1 + rounds // 10:
                raise
            print(f"asked again: {error}", file=sys.stderr)
            continue
        for row in found:
            dataset, rows = row["dataset"], row["found"]
            if rows != row["keys"] or rows < seen[dataset]:
                sys.exit(f"{dataset}: {rows} rows with {row['keys']} keys, and {seen[dataset]} rows before")
            seen[dataset] = rows
            sums[dataset].add(row["users"])
        rounds += 1
    print(json.dumps({"rounds": rounds, "states": {d: len(s) for d, s in sums.items()}, "rows": seen}))


main()
