"""Writes requirements/constraints.txt: the exact version of every package, direct or not.

Asks pip's resolver, without installing anything, for each set of requirements (CUDA 12 and 13).
Run it with Python 3.11 (`make PYTHON=python3.11 lock`): what resolves there also suits 3.12.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "requirements"
SETS = (ROOT / "requirements.txt", FOLDER / "cu13.txt")
HEADER = "# The exact version of every package, direct or not. Written by `make lock`: no edits.\n"


def resolve(requirements: Path) -> dict[str, str]:
    """Name to version of all that pip would install for `requirements` and the tools."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed"]
    command += ["--quiet", "--report", "-", "-r", str(requirements), "-r", str(FOLDER / "dev.txt")]
    report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    packages = [item["metadata"] for item in report["install"]]
    return {package["name"].lower().replace("_", "-"): package["version"] for package in packages}


def main() -> None:
    """Resolve each set and write their union."""
    versions: dict[str, str] = {}
    for requirements in SETS:
        for name, version in resolve(requirements).items():
            if versions.setdefault(name, version) != version:
                sys.exit(f"{name}: {versions[name]} in one set, {version} in {requirements.name}")
    lines = [f"{name}=={version}\n" for name, version in sorted(versions.items())]
    (FOLDER / "constraints.txt").write_text(HEADER + "".join(lines))


if __name__ == "__main__":
    main()
