"""Plants mistakes into a copy of the sources, one at a time, and sees that the suite catches each.

A suite that stays green whatever is broken proves nothing. Every mistake of `defects.toml` is a piece
of the source and what takes its place; all are put into one copy under target/planted/, each behind a
switch in the environment, so that it is compiled once. Without a switch, the tests that shall catch them
must pass; with one, at least one of its tests must fail.

Usage: run.py [NAME...]
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLANTED = ROOT / "target" / "planted"
TREE = PLANTED / "tree"
TARGET = PLANTED / "target"
SWITCH = "TRENDLAKE_PLANTED"
# As `make features` has built the dependencies.
FEATURES = "otlp,delta"
HELPER = f"""
/// Whether this mistake is switched on.
#[expect(clippy::disallowed_methods, reason = "made for tests, and nowhere else")]
pub(crate) fn planted(name: &str) -> bool {{
    std::env::var("{SWITCH}").is_ok_and(|on| on == name)
}}
"""


def plant(defects):
    """Copies the sources as they are and puts every mistake in."""
    shutil.rmtree(TREE, ignore_errors=True)
    files = subprocess.run(
        ["git", "ls-files", "-coz", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    for name in filter(None, files.split("\0")):
        if (ROOT / name).is_file():
            (TREE / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, TREE / name)
    for defect in defects:
        name, find, put = defect["name"], defect["find"], defect["put"]
        path = TREE / defect["file"]
        text = path.read_text()
        if text.count(find) != 1:
            found = f"stands {text.count(find)} times in {defect['file']}"
            sys.exit(f"{name}: `{find}` {found}: bring defects.toml up to date")
        path.write_text(text.replace(find, put.replace("PLANTED", f'crate::planted("{name}")')))
    for package in (TREE, TREE / "codec"):
        with (package / "src" / "lib.rs").open("a") as lib:
            lib.write(HELPER)
    support = TREE / "tests" / "it" / "support.rs"
    clean = "env_clear()"
    assert support.read_text().count(clean) == 1
    passed_on = f'{clean}.envs(std::env::var_os("{SWITCH}").map(|on| ("{SWITCH}", on)))'
    support.write_text(support.read_text().replace(clean, passed_on))
    # The tests find their Python by the package's own target/.
    (TREE / "target").mkdir()
    (TREE / "target" / "venv").symlink_to(ROOT / "target" / "venv")


def borrow_dependencies():
    """What has been compiled of the dependencies serves here too."""
    if TARGET.exists():
        return
    for part in ("deps", "build", ".fingerprint"):
        source = ROOT / "target" / "debug" / part
        if source.is_dir():
            TARGET.joinpath("debug").mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "-al", source, TARGET / "debug" / part], check=True)


def cargo(arguments, switch=None):
    environment = dict(os.environ, CARGO_TARGET_DIR=str(TARGET), INSTA_UPDATE="no", TRENDLAKE_SEEDS="0..16")
    environment.pop(SWITCH, None)
    if switch:
        environment[SWITCH] = switch
    return subprocess.run(
        ["cargo", "test", "--locked", "--quiet", "--features", FEATURES, *arguments],
        cwd=TREE,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def main():
    defects = tomllib.loads((pathlib.Path(__file__).parent / "defects.toml").read_text())["defect"]
    plant(defects)
    borrow_dependencies()
    wanted = [d for d in defects if not sys.argv[1:] or d["name"] in sys.argv[1:]]
    built = cargo(["--no-run"])
    if built.returncode != 0:
        sys.exit(built.stdout + built.stderr)
    missed = []
    for test in sorted({tuple(d["test"]) for d in wanted}):
        sound = cargo(test)
        if sound.returncode != 0:
            missed.append(f"{' '.join(test)} fails without any mistake:\n{sound.stdout}{sound.stderr}")
        elif not any(int(passed) for passed in re.findall(r"(\d+) passed", sound.stdout)):
            missed.append(f"{' '.join(test)}: there is no such test")
    for defect in wanted:
        began = time.monotonic()
        caught = cargo(defect["test"], defect["name"]).returncode != 0
        took = f"{time.monotonic() - began:.0f} s"
        print(f"{'caught' if caught else 'MISSED'}  {took:>5}  {defect['name']:<24} {defect['about']}", flush=True)
        if not caught:
            missed.append(f"{defect['name']}: nothing of `{' '.join(defect['test'])}` failed")
    if missed:
        sys.exit("\n".join(missed))
    print(f"{len(wanted)} mistakes planted, {len(wanted)} caught")


if __name__ == "__main__":
    main()
