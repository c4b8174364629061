"""Holds answers of the API against its own document.

Reads {"document": ..., "answers": [{"path": ..., "status": ..., "body": ...}]} from stdin, and tells what
does not fit, one line each. The last line is the number of answers that were held against a schema.
"""

import json
import re
import sys

from jsonschema import Draft202012Validator
from jsonschema.validators import validator_for


def template_of(document, path):
    """The documented path that a real one stands for; one without parameters comes first."""
    fits = [
        template
        for template in document["paths"]
        if re.fullmatch(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template)), path.split("?")[0])
    ]
    return min(fits, key=lambda template: template.count("{"), default=None)


def main():
    asked = json.load(sys.stdin)
    document = asked["document"]
    held = 0
    for name, schema in document["components"]["schemas"].items():
        validator_for(schema, default=Draft202012Validator).check_schema(schema)
        # What is not documented is not to be answered; where schemas are put together, each part has only some.
        if schema.get("type") == "object" and not name == "UnitReport" and "properties" in schema:
            schema.setdefault("additionalProperties", name in ("Failure", "Outcome"))
    for answer in asked["answers"]:
        where = f"{answer['path']} {answer['status']}"
        template = template_of(document, answer["path"])
        responses = document["paths"].get(template, {}).get("get", {}).get("responses", {})
        response = responses.get(str(answer["status"]))
        if response is None:
            print(f"{where}: not in the document")
            continue
        schema = {**response["content"]["application/json"]["schema"], "components": document["components"]}
        validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
        for error in validator.iter_errors(answer["body"]):
            print(f"{where}: {'/'.join(map(str, error.absolute_path))}: {error.message[:300]}")
        held += 1
    print(held)


main()
