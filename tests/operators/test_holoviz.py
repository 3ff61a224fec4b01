"""What Holoviz gets, seen by an operator in its place; Holoviz itself needs a GPU."""

import numpy as np
import pytest

from tests.session_support import (
    HEIGHT_PX,
    WIDTH_PX,
    images_of,
    run_small,
    small_ct,
    small_document,
    use_cache,
)

# isort: split

import holoscan.operators
from holoscan.core import Operator

from operators.sinks import holoviz

MADE = []


class WindowOp(Operator):
    """Keeps what comes in at Holoviz's port."""

    def __init__(self, fragment, *args, tensors, headless, window_title, **kwargs):
        self.tensors, self.headless, self.title = tensors, headless, window_title
        self.shown = []
        MADE.append(self)
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec):
        spec.input("receivers")

    def compute(self, input_, _output, _context):
        (name, tensor), *others = input_.receive("receivers").items()
        assert (name, others) == (self.tensors[0]["name"], [])
        self.shown.append(np.array(tensor))


@pytest.fixture
def window(tmp_path, monkeypatch):
    """Runs a small stream with the operator in Holoviz's place; returns outcome and operator."""
    use_cache(tmp_path, monkeypatch)
    monkeypatch.setattr(holoviz, "require_holoviz", lambda: None)
    monkeypatch.setitem(holoscan.operators.__dict__, "HolovizOp", WindowOp)
    sections = {"holoviz": {"enabled": True, "headless": True}, "run": {"pacing": "paced"}}
    outcome = run_small(small_document(small_ct(tmp_path), tmp_path / "out", **sections))
    return outcome, MADE.pop()


def test_holoviz_gets_one_colour_in_an_axis_of_its_own(window):
    outcome, shown_by = window
    recorded = images_of(outcome.folder)
    assert shown_by.shown
    assert shown_by.headless
    for image in shown_by.shown:
        assert (image.shape, image.dtype) == ((HEIGHT_PX, WIDTH_PX, 1), np.float32)
        assert image.strides[-1] == image.itemsize
        assert any(np.allclose(image[..., 0], frame, atol=1e-6) for frame in recorded)
