"""Runs pieces of Python on the stand-in, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from fluoro.paths import cache_dir
from tests.stand_in.build import environment, real_nvrtc
from tests.support import require_program

ROOT = Path(__file__).parents[2]


def require_stand_in() -> None:
    """Skip, or fail in continuous integration, where the stand-in cannot be built."""
    require_program("cc")
    require_program("g++")
    if real_nvrtc() is None:
        pytest.skip("needs NVRTC: pip install -r requirements.txt")


def make_cache(folder: Path, *, cuda: bool = True) -> Path:
    """Return a cache that has the compiled kernels of the user's, those of CUDA where asked."""
    folder.mkdir(exist_ok=True)
    for name in ("kernels", "kernels-cuda") if cuda else ("kernels",):
        (cache_dir() / name).mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(cache_dir() / name)
    return folder


def on_stand_in(code: str, cache: Path, *arguments: str, **settings: str) -> str:
    """Return what code prints on the stand-in.

    Args:
        code: Of Python.
        cache: Folder of its own for FLUORO_CACHE_DIR.
        arguments: For sys.argv.
        settings: Of the stand-in, as `fault="idle"`.
    """
    done = run_on_stand_in(
        [sys.executable, "-c", textwrap.dedent(code), *arguments], cache, settings
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_on_stand_in(
    command: list[str], cache: Path, settings: dict[str, str], **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command on the stand-in from the root of the project."""
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment(**settings) | {"FLUORO_CACHE_DIR": str(cache)} | variables,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
