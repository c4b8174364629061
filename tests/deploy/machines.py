"""The image, compose, and the units of systemd."""

import os
import pathlib
import re
import shlex
import shutil
import sys
import tempfile
import tomllib

from common import (
    DEPLOY,
    PROGRAM,
    ROOT,
    bad_arguments,
    bad_configuration,
    documents,
    hopeless_codes,
    run,
    shown,
    tool,
)

DOCKERFILE = DEPLOY / "Dockerfile"
COMPOSE = DEPLOY / "compose.yaml"
UNITS = DEPLOY / "systemd"
INSTALLED = "/usr/local/bin/trendlake"


def the_image_holds_one_program():
    code, said = run(pathlib.Path(sys.executable).with_name("hadolint"), DOCKERFILE)
    if code != 0:
        yield said
    last = DOCKERFILE.read_text().split("\nFROM ")[-1]
    for line in ("scratch", "USER 65532:65532", 'ENTRYPOINT ["/trendlake"]', 'CMD ["serve"]'):
        if line not in last.splitlines():
            yield f"{shown(DOCKERFILE)}: the image has no `{line}`"
    if "ca-certificates.crt" not in DOCKERFILE.read_text():
        yield f"{shown(DOCKERFILE)}: without certificates, no client can be built"
    # What is copied in is not kept out, and all that the sources include is copied in.
    kept = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    copied = " ".join(re.findall(r"^COPY (?!--)(.*) \S+$", DOCKERFILE.read_text(), re.M)).split()
    for name in copied:
        if f"!{name}" not in kept:
            yield f"{shown(DOCKERFILE)}: `{name}` is copied, and ignored by Dockerfile.dockerignore"
    for name in tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["members"]:
        if name not in copied:
            yield f"{shown(DOCKERFILE)}: the package `{name}` is not copied into the image's build"
    for path in sorted((ROOT / "src").rglob("*.rs")):
        for name in re.findall(r'include_(?:str|bytes)!\("([^"]+)"\)', path.read_text()):
            top = shown((path.parent / name).resolve()).parts[0]
            # Sources include files of tests/ in their own tests alone.
            if top not in [*copied, "tests"]:
                yield f"{shown(path)} includes `{name}`, which is not copied into the image's build"


def the_image_starts():
    """The Dockerfile's last stage, on the program as it is here, as the image's user, with compose's configuration."""
    buildah = tool("buildah")
    if not buildah:
        return
    last = DOCKERFILE.read_text()[DOCKERFILE.read_text().rindex("FROM scratch") :]
    (content,) = documents(COMPOSE.read_text())
    service = content["services"]["trendlake"]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "Dockerfile").write_text(f"FROM scratch AS build\nCOPY image /image\n{last}")
        certificates = folder / "image/etc/ssl/certs"
        certificates.mkdir(parents=True)
        shutil.copy("/etc/ssl/certs/ca-certificates.crt", certificates)
        shutil.copy(PROGRAM, folder / "image/trendlake")
        (folder / "config").mkdir()
        shutil.copy(DEPLOY / "compose" / "trendlake.toml", folder / "config")

        def build(*arguments):
            storage = ("--root", folder / "root", "--runroot", folder / "run", "--storage-driver", "vfs")
            return run(buildah, *storage, *arguments, env={**os.environ, "BUILDAH_ISOLATION": "chroot"})

        code, said = build("bud", "--quiet", "--tag", "trendlake", folder)
        if code != 0:
            yield f"the image cannot be built: {said}"
            return
        _, container = build("from", "trendlake")
        container = container.strip()
        mount = f"type=bind,source={folder}/config,target=/etc/trendlake/config,ro=true"
        variables = [f"--env={name}={value}" for name, value in service["environment"].items()]
        version = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
        for arguments, wanted in [(["--version"], version), (["validate"], "is valid")]:
            code, said = build("run", *variables, f"--mount={mount}", container, "/trendlake", *arguments)
            if code != 0 or wanted not in said:
                yield f"in the image, `trendlake {' '.join(arguments)}` ends with {code}: {said}"


def compose_is_sound():
    (content,) = documents(COMPOSE.read_text())
    services = content["services"]
    for name, service in services.items():
        if ":" not in service["image"] or service["image"].endswith(":latest"):
            yield f"{name}: the image `{service['image']}` has no version"
        for port in service.get("ports", []):
            if not port.startswith("127.0.0.1:"):
                yield f"{name}: port `{port}` is open to the network"
        needed = {**service.get("depends_on", {}), service.get("network_mode", f":{name}").split(":")[1]: {}}
        for other in needed.keys() - services.keys():
            yield f"{name}: there is no service `{other}`"
        if "build" in service:
            folder = (DEPLOY / service["build"]["context"]).resolve()
            if not (folder / service["build"]["dockerfile"]).is_file():
                yield f"{name}: nothing to build"
            for problem in bad_arguments(service["command"]):
                yield f"{name}: {problem}"
            (mount,) = service["volumes"]
            source, _, _ = mount.split(":")
            config = (DEPLOY / source / "trendlake.toml").read_text()
            for problem in bad_configuration(config, "", service["environment"]):
                yield f"{name}: {problem}"


def systemd_agrees():
    analyze = tool("systemd-analyze")
    units = sorted(UNITS.iterdir())
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for unit in units:
            # It looks whether the program is there.
            (folder / unit.name).write_text(unit.read_text().replace(INSTALLED, str(PROGRAM)))
        for unit in units if analyze else []:
            # It says what is wrong, and ends with 0 all the same.
            code, said = run(analyze, "verify", "--man=no", folder / unit.name)
            if code != 0 or said.strip():
                yield f"{unit.name}: {said}"
            if unit.suffix == ".service":
                code, said = run(analyze, "security", "--offline=true", "--threshold=20", folder / unit.name)
                if code != 0:
                    yield f"{unit.name} is too open: {said}"


def units_know_the_program():
    for unit in sorted(UNITS.glob("*.service")):
        settings = dict(re.findall(r"^(\w+)=(.*)$", unit.read_text(), re.M))
        program, *arguments = shlex.split(settings["ExecStart"])
        if program != INSTALLED:
            yield f"{unit.name}: the program is `{program}`"
        for problem in bad_arguments([a.replace("/etc/trendlake/trendlake.toml", "none.toml") for a in arguments]):
            yield f"{unit.name}: {problem}"
        codes = sorted(map(int, settings["RestartPreventExitStatus"].split()))
        if codes != hopeless_codes():
            yield f"{unit.name}: {codes} prevent a restart, not {hopeless_codes()}"
    for unit in UNITS.glob("*.timer"):
        if not unit.with_suffix(".service").is_file():
            yield f"{unit.name}: there is no service of this name"


CHECKS = [the_image_holds_one_program, the_image_starts, compose_is_sound, systemd_agrees, units_know_the_program]
