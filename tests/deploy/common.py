"""What the checks share. A check is a function that gives one text per problem, and none if all is well."""

import functools
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import tomllib

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
PROGRAM = ROOT / "target" / "debug" / "trendlake"
# Programs that were missing.
LEFT_OUT = set()


class Strict(yaml.SafeLoader):
    """YAML in which a key that stands twice is a mistake, as it is for Kubernetes."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.MarkedYAMLError(problem=f"`{key}` stands twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


def documents(text):
    return [document for document in yaml.load_all(text, Strict) if document is not None]


def shown(path):
    return path.relative_to(ROOT)


def run(*command, **more):
    """Runs a program to its end, and gives its code and all that it said."""
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, **more
    )
    return done.returncode, done.stdout + done.stderr


def tool(name):
    """A program that may be missing, if no CI counts on it."""
    local = ROOT / "target" / name
    found = str(local) if local.exists() else shutil.which(name)
    if not found:
        missing = f"{name} is missing: what it would check is NOT CHECKED"
        if os.environ.get("CI"):
            raise SystemExit(f"deploy: {missing}")
        print(f"\n*** {missing} ***\n", flush=True)
        LEFT_OUT.add(name)
    return found


@functools.cache
def exit_codes():
    """The exit codes by the names of src/report/mod.rs."""
    text = (ROOT / "src" / "report" / "mod.rs").read_text()
    return {name: int(code) for name, code in re.findall(r"pub const (\w+): u8 = (\d+);", text)}


def hopeless_codes():
    """Exit codes that no repetition mends."""
    names = ["USAGE", "INTEGRITY", "DATA", "BUG", "PERMISSION", "CONFIG"]
    return sorted(exit_codes()[name] for name in names)


def bad_arguments(arguments):
    """What the program says against arguments. It finds no configuration (78), if it reads that far."""
    with tempfile.TemporaryDirectory() as empty:
        code, said = run(PROGRAM, *arguments, cwd=empty, env={"TRENDLAKE_CONFIG": f"{empty}/none.toml"})
    if code != exit_codes()["CONFIG"]:
        yield f"`trendlake {' '.join(arguments)}` ends with {code}: {said}"


def bad_configuration(text, secrets, environment=()):
    """What the program says against a configuration, whose secrets lie in the folder `secrets`."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        parsed = tomllib.loads(text)
        for stream in [parsed.get("defaults", {}), *parsed["streams"].values()]:
            if "client_secret_file" in stream:
                name = pathlib.PurePath(stream["client_secret_file"])
                if str(name.parent) != secrets:
                    yield f"the secret `{name}` does not lie in `{secrets}`"
                (folder / name.name).write_text("made-up")
        (folder / "trendlake.toml").write_text(text.replace(f'"{secrets}/', f'"{folder}/'))
        code, said = run(PROGRAM, "validate", "--config", folder / "trendlake.toml", env=dict(environment))
    if code != 0:
        yield f"`trendlake validate` ends with {code}: {said}"
