"""Holds events of OpenLineage, one per line, against the published schemas: the event itself, and each of its facets
against the schema that it names. Says what is wrong, and ends with 1 if anything is."""

import json
import pathlib
import sys

from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = [ROOT / "tests" / "data" / "openlineage", ROOT / "docs" / "openlineage"]


def registry():
    schemas = [json.loads(path.read_text()) for folder in FOLDERS for path in sorted(folder.rglob("*.json"))]
    return Registry().with_resources((schema["$id"], Resource.from_contents(schema)) for schema in schemas)


def facets(event):
    """Every facet of an event, with its place."""
    holders = [("run", event["run"]), ("job", event["job"])]
    holders += [(f"{side} {d['name']}", d) for side in ("inputs", "outputs") for d in event.get(side, [])]
    for place, holder in holders:
        for kind in ("facets", "inputFacets", "outputFacets"):
            for name, facet in holder.get(kind, {}).items():
                yield f"{place}: {name}", facet


def problems(event, known, formats):
    def against(schema, what, place):
        validator = Draft202012Validator({"$ref": schema}, registry=known, format_checker=formats)
        for error in validator.iter_errors(what):
            yield f"{place}: {error.json_path}: {error.message}"

    yield from against(event.get("schemaURL", "https://openlineage.io/spec/2-0-2/OpenLineage.json"), event, "event")
    for place, facet in facets(event):
        if "_schemaURL" not in facet:
            yield f"{place}: it names no schema"
            continue
        yield from against(facet["_schemaURL"], facet, place)


def main(path):
    formats = FormatChecker()
    missing = {"date-time", "uri", "uuid"} - set(formats.checkers)
    if missing:
        raise SystemExit(f"formats that cannot be checked: {missing}")
    known = registry()
    found = []
    for number, line in enumerate(pathlib.Path(path).read_text().splitlines(), 1):
        found += [f"line {number}: {text}" for text in problems(json.loads(line), known, formats)]
    print("\n".join(found))
    sys.exit(1 if found else 0)


main(sys.argv[1])
