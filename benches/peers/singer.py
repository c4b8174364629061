"""The tap's output into the target.

    singer.py CONFIG FROM TO GRAINS FOLDER
"""

import json
import pathlib
import subprocess
import sys

config, first, last, grains, folder = sys.argv[1:]
here, folder = pathlib.Path(__file__).parent, pathlib.Path(folder)
folder.mkdir(parents=True, exist_ok=True)
(folder / "tap.json").write_text(json.dumps({"config": config, "first": first, "last": last, "grains": grains}))
(folder / "target.json").write_text(json.dumps({"folder": str(folder / "data")}))
tap = subprocess.Popen([sys.executable, here / "tap.py", "--config", folder / "tap.json"], stdout=subprocess.PIPE)
target = subprocess.Popen(
    [sys.executable, here / "target.py", "--config", folder / "target.json"], stdin=tap.stdout, stdout=subprocess.DEVNULL
)
tap.stdout.close()
sys.exit(target.wait() or tap.wait())
