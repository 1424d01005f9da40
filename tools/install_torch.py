"""Install the pinned torch into the environment that runs this script, and say which build it is.

TORCH_INDEX may name the address of a package index that has CPU builds (small). The default build
on Linux may bring gigabytes of CUDA libraries along: then this says so before it begins.
"""

import importlib.metadata
import json
import os
import subprocess
import sys

PINNED = "torch==2.13.0"


def main() -> None:
    try:
        have = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        have = ""
    if have.split("+")[0] == PINNED.partition("==")[2]:
        print(f"torch {have} is here")
        return
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    index = ["--index-url", os.environ["TORCH_INDEX"]] if os.environ.get("TORCH_INDEX") else []
    report = subprocess.run(
        [*pip, "install", "--quiet", "--dry-run", "--report", "-", *index, PINNED],
        stdout=subprocess.PIPE,
    )
    if report.returncode == 0:
        names = [entry["metadata"]["name"] for entry in json.loads(report.stdout)["install"]]
        heavy = [name for name in names if name.startswith(("nvidia-", "triton", "cuda"))]
        if heavy:
            print(
                f"This build of torch brings {len(heavy)} CUDA packages: far more than 500 MB.\n"
                "For a small CPU build stop here (Ctrl-C) and give the address of torch's CPU "
                "package index:\n    make install TORCH_INDEX=ADDRESS",
                flush=True,
            )
    subprocess.run([*pip, "install", "--quiet", *index, PINNED], check=True)
    print(f"torch {importlib.metadata.version('torch')} installed")


main()
