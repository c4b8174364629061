"""Alerts and the dashboard: sound, tested, about metrics that exist, and explained."""

import json
import pathlib
import re
import tempfile

import yaml

from common import DEPLOY, ROOT, documents, exit_codes, hopeless_codes, run, shown, tool

ALERTS = DEPLOY / "prometheus" / "alerts.yaml"
TESTS = DEPLOY / "prometheus" / "alerts_test.yaml"
DASHBOARD = DEPLOY / "grafana" / "trendlake.json"
METRIC = r"\btrendlake_\w+"


def rules():
    (content,) = documents(ALERTS.read_text())
    return [rule for group in content["groups"] for rule in group["rules"]]


def expressions():
    """Every expression of the dashboard."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def exported():
    """The metrics that the program exports."""
    return set(re.findall(rf'"({METRIC[2:]})"', (ROOT / "src" / "serve" / "meter.rs").read_text()))


def metrics_exist():
    if len(exported()) < 20:
        yield f"src/serve/meter.rs names few metrics: {sorted(exported())}"
    used = {name for rule in rules() for name in re.findall(METRIC, rule["expr"])}
    for name in sorted(used - exported()):
        yield f"{shown(ALERTS)}: the program exports no `{name}`"
    used = {name for _, text in expressions() for name in re.findall(METRIC, text)}
    for name in sorted(used - exported()):
        yield f"{shown(DASHBOARD)}: the program exports no `{name}`"
    for name in sorted(exported() - used):
        yield f"{shown(DASHBOARD)}: `{name}` is nowhere shown"


def labels_exist():
    """Values that a selector asks for stand in the sources, such as `refused` or `suspect`."""
    sources = "".join(path.read_text() for path in (ROOT / "src").rglob("*.rs"))
    texts = [rule["expr"] for rule in rules()] + [text for _, text in expressions()]
    for text in texts:
        for value in re.findall(r'\w+="([^"$]+)"', text):
            if f'"{value}"' not in sources:
                yield f"`{text}` asks for `{value}`, which no source names"


def exit_codes_are_those_of_the_program():
    codes = {int(code) for rule in rules() for code in re.findall(r"exit_code == (\d+)", rule["expr"])}
    if sorted(codes) != hopeless_codes() or not codes < set(exit_codes().values()):
        yield f"alerts are given on {sorted(codes)}, not on {hopeless_codes()}"


def copies_are_the_same():
    pairs = [
        (DEPLOY / "helm/trendlake/files/alerts.yaml", ALERTS),
        (DEPLOY / "helm/trendlake/files/dashboard.json", DASHBOARD),
    ]
    for copy, original in pairs:
        if copy.read_text() != original.read_text():
            yield f"{shown(copy)} differs from {shown(original)}: cp {shown(original)} {shown(copy)}"
    path = DEPLOY / "kubernetes/monitoring/prometheusrule.yaml"
    (rule,) = documents(path.read_text())
    if rule["spec"] != documents(ALERTS.read_text())[0]:
        yield f"{shown(path)} differs from {shown(ALERTS)}"


def alerts_are_tested_and_explained():
    names = {rule["alert"] for rule in rules()}
    (content,) = documents(TESTS.read_text())
    fired, quiet = set(), set()
    for test in content["tests"]:
        for case in test["alert_rule_test"]:
            (fired if case.get("exp_alerts") else quiet).add(case["alertname"])
    for name in sorted((names ^ fired) | (names - quiet)):
        yield f"{shown(TESTS)}: `{name}` is not tested both ways, or is no alert"
    text = (ROOT / "docs" / "OPERATING.md").read_text()
    told = set(re.findall(r"\bTrendlake[A-Z]\w+", text))
    for name in sorted(names ^ told):
        yield f"docs/OPERATING.md: `{name}` is not explained, or is no alert"


def promtool_agrees():
    promtool = tool("promtool")
    if not promtool:
        return
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "dashboard.yaml"
        recorded = [
            {"record": f"panel:{number}", "expr": text.replace("$__rate_interval", "5m")}
            for number, (_, text) in enumerate(expressions())
        ]
        path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}))
        for command in (["check", "rules", ALERTS], ["test", "rules", TESTS], ["check", "rules", path]):
            code, said = run(promtool, *command)
            if code != 0:
                yield f"promtool {' '.join(map(str, command))}: {said}"


def panels_do_not_overlap():
    taken = {}
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                if x >= 24 or taken.setdefault((x, y), panel["id"]) != panel["id"]:
                    yield f"{shown(DASHBOARD)}: `{panel['title']}` lies over another panel"
                    return


CHECKS = [
    metrics_exist,
    labels_exist,
    exit_codes_are_those_of_the_program,
    copies_are_the_same,
    alerts_are_tested_and_explained,
    promtool_agrees,
    panels_do_not_overlap,
]
