"""Prints a Dockerfile as a shell script, for a root file system without a container engine.

usage: dockerfile_steps.py DOCKERFILE CONTEXT [ARG=VALUE ...]

Understands what this project's Dockerfile uses: ARG, ENV, WORKDIR, SHELL, COPY, RUN, EXPOSE and
CMD. The script runs inside the root, where CONTEXT is the folder with the build context. FROM is
skipped: the root is the base image. The script's last line starts the command of CMD.
"""

import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

HEAD = "set -euo pipefail\nshopt -s nullglob\ncd /\n"


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Return name and value of each instruction, continued lines joined."""
    kept = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n\s*", " ", "\n".join(kept)).splitlines():
        if line.strip():
            name, _, value = line.strip().partition(" ")
            yield name, value.strip()


def copy(value: str, context: str) -> str:
    """Return the shell lines of COPY: contents of folders, and files that match patterns."""
    *sources, target = value.split()
    paths = " ".join(f"{context}/{source}" for source in sources)
    return (
        f'mkdir -p "{target}"\n'
        f"for source in {paths}; do\n"
        f'    if [ -d "$source" ]; then cp -r "$source/." "{target}"\n'
        f'    else cp "$source" "{target}"; fi\n'
        "done"
    )


def shell_lines(name: str, value: str, context: str, given: dict[str, str]) -> str:
    """Return what an instruction does, as shell.

    Raises:
        ValueError: The instruction is not one of those that the project uses.
    """
    if name == "ARG":
        key, _, default = value.partition("=")
        return f"export {key}={shlex.quote(given.get(key, default))}"
    if name == "ENV":
        return f"export {value}"
    if name == "WORKDIR":
        return f"mkdir -p {value}; cd {value}"
    if name == "COPY":
        return copy(value, context)
    if name == "RUN":
        return f'echo "RUN ..."; SECONDS=0\n{value}\necho "RUN done in $SECONDS s"'
    if name == "CMD":
        return f"exec {shlex.join(json.loads(value))}"
    if name in ("FROM", "SHELL", "EXPOSE"):
        return ":"
    raise ValueError(f"unknown instruction {name}: teach it to {Path(__file__).name}")


def main() -> None:
    """Print the script."""
    dockerfile, context, *settings = sys.argv[1:]
    given = dict(setting.split("=", 1) for setting in settings)
    text = Path(dockerfile).read_text(encoding="utf-8")
    lines = [shell_lines(name, value, context, given) for name, value in instructions(text)]
    print(HEAD + "\n".join(lines))


if __name__ == "__main__":
    main()
