"""Asks the package index whether every requirement has a wheel for Linux on ARM (aarch64).

usage: python tools/check/arm_wheels.py        (from the root of the project; installs nothing)

Requirements whose marker leaves ARM out are skipped and named. Exit code 1 when a wheel is missing.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent.parent
FILES = ("requirements.txt", "requirements/common.txt", "requirements/cu13.txt")
PYTHONS = ("3.11", "3.12", "3.13")
TAGS = [f"manylinux_2_{minor}_aarch64" for minor in range(39, 16, -1)] + ["manylinux2014_aarch64"]


def pinned() -> list[Requirement]:
    """Every requirement of the application, once."""
    lines = [line for name in FILES for line in (ROOT / name).read_text().splitlines()]
    texts = [line.partition("#")[0].strip() for line in lines if not line.startswith("-r")]
    return [Requirement(text) for text in dict.fromkeys(filter(None, texts))]


def on_arm(requirement: Requirement) -> bool:
    """Whether it is installed on ARM at all."""
    marker = requirement.marker
    return marker is None or marker.evaluate({"platform_machine": "aarch64"})


def has_wheel(requirement: Requirement, python: str) -> bool:
    """Whether pip finds a wheel for a Python on ARM."""
    platforms = [word for tag in TAGS for word in ("--platform", tag)]
    with tempfile.TemporaryDirectory() as target:
        command = [
            *(sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--no-deps"),
            *("--only-binary", ":all:", "--python-version", python, "--target", target),
            *(*platforms, f"{requirement.name}{requirement.specifier}"),
        ]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


def main() -> None:
    """Print a line for each requirement and Python without a wheel."""
    missing = 0
    for requirement in pinned():
        if not on_arm(requirement):
            print(f"{requirement.name}: not for ARM ({requirement.marker})")
            continue
        for python in PYTHONS:
            if not has_wheel(requirement, python):
                missing += 1
                print(f"{requirement.name}{requirement.specifier}: no wheel for Python {python}")
    print(f"{len(pinned())} requirements on Python {', '.join(PYTHONS)}: {missing} wheels missing")
    sys.exit(missing > 0)


if __name__ == "__main__":
    main()
