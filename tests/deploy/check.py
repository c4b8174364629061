"""Checks all that lies in deploy/, without a network: see the modules beside this file.

What needs a program that is not there (promtool, systemd-analyze, kubectl) is left out with a notice; where the
variable CI is set, that is a failure.

Usage: check.py [NAME...]
"""

import sys
import time

import kubernetes
import machines
import monitoring
from common import LEFT_OUT, PROGRAM


def main():
    if not PROGRAM.exists():
        sys.exit("deploy: the program is missing: cargo build")
    problems = []
    for module in (kubernetes, monitoring, machines):
        for check in module.CHECKS:
            if sys.argv[1:] and check.__name__ not in sys.argv[1:]:
                continue
            began, missing = time.monotonic(), len(LEFT_OUT)
            try:
                found = list(check())
            except Exception as error:  # One that cannot be carried out must not hide the others.
                found = [f"{check.__name__}: {type(error).__name__}: {error}"]
            problems += found
            verdict = "WRONG" if found else "NOT CHECKED" if len(LEFT_OUT) > missing else "ok"
            print(f"{verdict:<11} {time.monotonic() - began:4.1f} s  {check.__name__.replace('_', ' ')}", flush=True)
    if problems:
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main()
