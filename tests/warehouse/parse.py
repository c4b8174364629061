"""Parses what `trendlake sql` prints, in each engine's own dialect.

Usage: parse.py FILE...

A file is named <engine>-<anything>.json. What sqlglot takes as a mere command is told, since of that it has read
nothing.
"""

import json
import logging
import sys
from pathlib import Path

import sqlglot

logging.getLogger("sqlglot").setLevel(logging.ERROR)


def main():
    found = {}
    for name in sys.argv[1:]:
        path = Path(name)
        engine = path.name.split("-")[0]
        script = json.loads(path.read_text())
        unread = []
        for statement in script["setup"] + script["after_each_run"]:
            if statement.startswith("\\"):
                unread.append(statement.split()[0])
                continue
            trees = sqlglot.parse(statement, dialect=engine, error_level=sqlglot.ErrorLevel.RAISE)
            if len(trees) != 1:
                sys.exit(f"{path.name}: {len(trees)} statements in one:\n{statement}")
            if isinstance(trees[0], sqlglot.exp.Command):
                unread.append(" ".join(statement.split()[:3]))
        found[path.stem] = {"statements": len(script["setup"] + script["after_each_run"]), "unread": unread}
    json.dump(found, sys.stdout)


main()
