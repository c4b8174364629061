"""The manifests and the chart: valid for several versions of Kubernetes, safe, and the same."""

import copy
import json
import re
import shutil

import helm_python
import kubernetes_validate
import yaml

from common import DEPLOY, bad_arguments, bad_configuration, documents, hopeless_codes, run, shown

VERSIONS = ["1.31", "1.34", "1.37"]
FOLDER = DEPLOY / "kubernetes"
CHART = DEPLOY / "helm" / "trendlake"
OPERATOR_KINDS = {"ServiceMonitor", "PrometheusRule"}
PORT = 8080
# The chart's values under which each kind of manifest is made.
VALUES = {
    "serve": {"monitoring": {"enabled": True, "dashboard": True}},
    "cronjob": {"mode": "cronjob"},
    "backfill": {"mode": "cronjob", "backfill": {"enabled": True}},
    "one": {"replicas": 1, "networkPolicy": {"enabled": False}},
    "much": {
        "image": {"tag": "1"},
        "imagePullSecrets": [{"name": "x"}],
        "serviceAccount": {"annotations": {"a/b": "c"}},
        "podLabels": {"a": "b"},
        "podAnnotations": {"a": "b"},
        "nodeSelector": {"a": "b"},
        "tolerations": [{"operator": "Exists"}],
        "cronjob": {"schedule": "0 3 * * 1", "timeZone": "Europe/Berlin"},
    },
}
REFUSED = [
    {"mode": "daemon"},
    {"replica": 3},
    {"replicas": 0},
    {"config": ""},
    {"secrets": {"streams": ""}},
    {"cronjob": {"schedule": "hourly"}},
    {"backfill": {"from": "2025-13"}},
    {"backfill": {"shards": 0}},
    {"image": {"pullPolicy": "Sometimes"}},
    {"monitoring": {"enabled": "yes"}},
    {"resources": {"limits": {"memory": 128}}},
]


def manifests():
    """Every manifest with the file that it stands in."""
    for path in sorted(FOLDER.rglob("*.yaml")):
        if path.name != "kustomization.yaml":
            for document in documents(path.read_text()):
                yield shown(path), document


def rendered(values):
    with helm_python.Chart.load(str(CHART)) as chart:
        files = chart.render(values, name="trendlake", namespace="default")
    for name, text in sorted(files.items()):
        if name.endswith(".yaml"):
            for document in documents(text):
                yield name, document


def all_objects():
    yield from manifests()
    for case, values in VALUES.items():
        for name, document in rendered(values):
            yield f"{name} ({case})", document


def valid_for_every_version():
    for where, document in all_objects():
        if document["kind"] in OPERATOR_KINDS:
            continue
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except Exception as error:  # Also a kind without a schema, which is only warned of on the command line.
                yield f"{where}: {document['kind']} in {version}: {error}"


def kustomizations_name_every_file():
    named = set()
    for path in FOLDER.rglob("kustomization.yaml"):
        (content,) = documents(path.read_text())
        for resource in content["resources"]:
            target = (path.parent / resource).resolve()
            named.add(target)
            if not (target.is_file() or (target / "kustomization.yaml").is_file()):
                yield f"{shown(path)}: there is no `{resource}`"
    for path in sorted(FOLDER.rglob("*.yaml")):
        if path.name not in ("kustomization.yaml", "secret.example.yaml") and path not in named:
            yield f"{shown(path)}: no kustomization names it"
    # An old kubectl does not know all of it, and none is needed.
    kubectl = shutil.which("kubectl")
    if kubectl and re.search(r"Kustomize Version: v[5-9]", run(kubectl, "version", "--client")[1]):
        for path in sorted(FOLDER.rglob("kustomization.yaml")):
            code, said = run(kubectl, "kustomize", path.parent)
            if code != 0:
                yield f"{shown(path)}: {said}"


def pods():
    """Every pod's specification, with where it stands and the object around it."""
    for where, document in all_objects():
        spec = document.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            yield f"{where}: {document['kind']}", document["kind"], spec, spec["template"]["spec"]


def pods_are_restricted():
    wanted = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    for where, kind, _, pod in pods():
        context = pod["securityContext"]
        if context.get("runAsNonRoot") is not True or context.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{where}: the pod may be root, or call what it likes"
        if pod.get("automountServiceAccountToken") is not False or pod.get("enableServiceLinks") is not False:
            yield f"{where}: the pod is given a token or variables that it does not need"
        if any("hostPath" in volume for volume in pod["volumes"]) or pod.keys() & {"hostNetwork", "hostPID", "hostIPC"}:
            yield f"{where}: the pod reaches its node"
        (container,) = pod["containers"]
        if container["securityContext"] != wanted:
            yield f"{where}: the container may do more than it has to"
        resources = container["resources"]
        if set(resources.get("requests", {})) != {"cpu", "memory"} or set(resources.get("limits", {})) != {"memory"}:
            yield f"{where}: resources are requested of CPU and memory, and limited of memory alone"
        if re.search(r":(latest)?$|/[^:]*$", container["image"]):
            yield f"{where}: the image `{container['image']}` has no version"
        if kind != "Deployment" and pod.get("restartPolicy") != "Never":
            yield f"{where}: a failure policy needs pods that are never restarted in place"
    for where, document in all_objects():
        if document["kind"] == "ServiceAccount" and document.get("automountServiceAccountToken") is not False:
            yield f"{where}: the account's pods are given a token"
        if "namespace" in document["metadata"]:
            yield f"{where}: it is bound to a namespace"


def jobs_end_on_what_no_repetition_mends():
    for where, kind, spec, pod in pods():
        if kind == "Deployment":
            continue
        ignore, fail = spec["podFailurePolicy"]["rules"]
        codes = fail["onExitCodes"]
        if ignore != {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}:
            yield f"{where}: a pod that was evicted counts as failed"
        if codes["values"] != hopeless_codes() or codes["operator"] != "In":
            yield f"{where}: {codes['values']} ends the job, not {hopeless_codes()}"
        if codes["containerName"] != pod["containers"][0]["name"]:
            yield f"{where}: the failure policy is about another container"
        if fail["action"] != ("FailIndex" if spec.get("completionMode") == "Indexed" else "FailJob"):
            yield f"{where}: the failure policy does `{fail['action']}`"
        if spec["podReplacementPolicy"] != "Failed":
            yield f"{where}: a pod that is being stopped is replaced before it has ended"
    for where, document in all_objects():
        if document["kind"] == "CronJob":
            spec = document["spec"]
            if spec["concurrencyPolicy"] != "Forbid" or "startingDeadlineSeconds" not in spec:
                yield f"{where}: runs would overlap, or starts that were missed never be given up"
            # Their validity is not a matter of the schema.
            if len(spec["schedule"].split()) != 5 or "/" not in spec["timeZone"]:
                yield f"{where}: the schedule is no cron expression in a zone"


def arguments_are_understood():
    for where, _, spec, pod in pods():
        arguments = pod["containers"][0]["args"]
        text = " ".join(arguments)
        if spec.get("completionMode") == "Indexed":
            count = spec["completions"]
            if f"--shard $(JOB_COMPLETION_INDEX)/{count} " not in text or spec["parallelism"] != count:
                yield f"{where}: the pods do not divide the streams between them: {text}"
            arguments = [argument.replace("$(JOB_COMPLETION_INDEX)", str(count - 1)) for argument in arguments]
        for problem in bad_arguments(arguments):
            yield f"{where}: {problem}"


def configurations_are_valid():
    for where, document in all_objects():
        for name, text in document.get("data", {}).items():
            if name.endswith(".toml"):
                for problem in bad_configuration(text, "/etc/trendlake/secrets"):
                    yield f"{where}: {problem}"
                if f'listen = "0.0.0.0:{PORT}"' not in text:
                    yield f"{where}: the daemon is out of reach of probes"


def parts_fit_together():
    """Names, labels and ports: Kubernetes takes any, and nothing happens."""
    groups = {"manifests": list(manifests())}
    groups |= {f"chart ({case})": list(rendered(values)) for case, values in VALUES.items()}
    for group, objects in groups.items():
        of_kind = {}
        for _, document in objects:
            of_kind.setdefault(document["kind"], []).append(document)
        deployments = of_kind.get("Deployment", [])
        labels = [d["spec"]["template"]["metadata"]["labels"] for d in deployments]
        for kind in ("Service", "PodDisruptionBudget"):
            for document in of_kind.get(kind, []):
                selector = document["spec"]["selector"]
                selector = selector.get("matchLabels", selector)
                if not any(selector.items() <= given.items() for given in labels):
                    yield f"{group}: {kind} selects no pod"
        for document in of_kind.get("NetworkPolicy", []):
            spec = document["spec"]
            if not all(spec["podSelector"]["matchLabels"].items() <= given.items() for given in labels):
                yield f"{group}: NetworkPolicy does not select the daemon"
            if [p["port"] for rule in spec["ingress"] for p in rule["ports"]] != [PORT]:
                yield f"{group}: NetworkPolicy lets in more or less than port {PORT}"
            if sorted({p["port"] for rule in spec["egress"] for p in rule["ports"]}) != [53, 443]:
                yield f"{group}: NetworkPolicy lets out more or less than names and TLS"
        for monitor in of_kind.get("ServiceMonitor", []):
            fitting = [
                service
                for service in of_kind["Service"]
                if monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
            ]
            names = [port["name"] for service in fitting for port in service["spec"]["ports"]]
            if [endpoint["port"] for endpoint in monitor["spec"]["endpoints"]] != names:
                yield f"{group}: ServiceMonitor finds no port"
        for deployment in deployments:
            (container,) = deployment["spec"]["template"]["spec"]["containers"]
            (port,) = container["ports"]
            probes = {container[probe]["httpGet"]["path"] for probe in ("readinessProbe", "livenessProbe")}
            if (port["containerPort"], probes) != (PORT, {"/readyz", "/healthz"}):
                yield f"{group}: Deployment is probed at {port['containerPort']}, {sorted(probes)}"
        made = {(d["kind"], d["metadata"]["name"]) for _, d in objects} | {("Secret", "trendlake-streams")}
        for _, document in objects:
            spec = document.get("spec", {})
            spec = spec.get("jobTemplate", {}).get("spec", spec)
            pod = spec.get("template", {}).get("spec", {"volumes": []})
            for volume in pod["volumes"]:
                config = volume.get("configMap", {}).get("name")
                secret = volume.get("secret", {}).get("secretName")
                if not {("ConfigMap", config), ("Secret", secret)} & made:
                    yield f"{group}: {document['kind']} mounts `{volume['name']}`, which nothing makes"


def plain(document):
    """An object without what only the chart says."""
    document = copy.deepcopy(document)
    for container in (document.get("spec", {}).get("template") or {}).get("spec", {}).get("containers", []):
        container.pop("imagePullPolicy", None)
    text = json.dumps(document, sort_keys=True)
    text = re.sub(r'"(app.kubernetes.io/(instance|version|managed-by)|helm.sh/chart)": "[^"]*",? ?', "", text)
    text = re.sub(r'"imagePullPolicy": "[^"]*", ', "", text)
    text = text.replace(", }", "}")
    document = json.loads(text)
    labels = document["metadata"].get("labels", {})
    if document["kind"] in ("CronJob", "Job"):
        document["metadata"]["name"] = document["kind"]
        document["spec"].get("jobTemplate", {}).pop("metadata", None)
    labels.pop("grafana_dashboard", None)
    return document


def the_chart_says_what_the_manifests_say():
    ours = {d["kind"]: plain(d) for _, d in manifests() if d["kind"] != "Secret"}
    theirs = {}
    for case in ("serve", "cronjob", "backfill"):
        for _, document in rendered(VALUES[case]):
            if not document["metadata"]["name"].endswith("-dashboard"):
                theirs[document["kind"]] = plain(document)
    for kind in sorted(ours.keys() | theirs.keys()):
        if kind not in ours or kind not in theirs:
            yield f"{kind} is only in the {'manifests' if kind in ours else 'chart'}"
        elif ours[kind] != theirs[kind]:
            texts = [yaml.safe_dump(each[kind]).splitlines() for each in (ours, theirs)]
            mine, other = (sorted(set(a) - set(b)) for a, b in (texts, reversed(texts)))
            yield f"{kind} differs: in the manifests {mine}, in the chart {other}"


def the_chart_refuses_wrong_values():
    for case in REFUSED:
        try:
            list(rendered(case))
        except helm_python.errors.HelmValuesError:
            continue
        yield f"the chart takes {case}"
    for message in helm_python.lint(str(CHART))["messages"]:
        if message["error"] != "icon is recommended":
            yield f"{message['path']}: {message['error']}"
    # Values and schema know the same keys.
    values = documents((CHART / "values.yaml").read_text())[0]
    known = json.loads((CHART / "values.schema.json").read_text())["properties"].keys() - {"global"}
    if known != values.keys():
        yield f"values.yaml and its schema differ in {sorted(known ^ values.keys())}"


CHECKS = [
    valid_for_every_version,
    kustomizations_name_every_file,
    pods_are_restricted,
    jobs_end_on_what_no_repetition_mends,
    arguments_are_understood,
    configurations_are_valid,
    parts_fit_together,
    the_chart_says_what_the_manifests_say,
    the_chart_refuses_wrong_values,
]
