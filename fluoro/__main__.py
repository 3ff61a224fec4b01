"""The command `fluoro`, also as `python -m fluoro`: the application of this package or checkout."""

from __future__ import annotations

import importlib
import sys

import fluoro.command_line.early_stop  # noqa: F401  (before all that takes time)
from fluoro.paths import application_dir

__all__ = ["main"]


def main() -> None:
    """Run app.py as a program, with its operators and configurations beside it.

    Raises:
        SystemExit: Always, with the program's exit code.
    """
    folder = application_dir()
    sys.path.insert(0, str(folder))
    try:
        program = importlib.import_module("app").program
    except ModuleNotFoundError as error:
        sys.exit(f"fluoro: needs the package {error.name}: pip install 'fluoro[app]'")
    program()


if __name__ == "__main__":
    main()
