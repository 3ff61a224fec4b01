"""Every room lists its public names, and gives each of them without importing the rest."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import fluoro

ROOMS = sorted(each.parent.name for each in Path(fluoro.__file__).parent.glob("*/__init__.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_lists_its_public_names_and_has_them(room):
    package = importlib.import_module(f"fluoro.{room}")
    names = [name for name in package.__all__ if name != "__version__"]
    assert names
    assert set(names) <= set(dir(package))
    if room != "torch":  # needs PyTorch
        for name in names:
            assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'no_such_name'"):
        package.no_such_name  # noqa: B018


def test_a_room_imports_nothing_heavy_before_a_name_is_used():
    rooms = ", ".join(f"fluoro.{room}" for room in ROOMS)
    code = f"import sys, {rooms}; print(sorted({{'numpy', 'slangpy', 'torch'}} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
