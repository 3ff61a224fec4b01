"""The block of memory that kernels read their uniforms from."""

import struct

import numpy as np
import pytest

from fluoro.rendering.devices.uniforms import UniformBlock

LAYOUT = {
    "count": (8, "i"),
    "array": (0, "Q"),
    "spacing_mm": (16, "3f"),
    "size": (28, "3i"),
    "step_mm": (40, "f"),
}
VALUES = {"array": "there", "count": 3, "spacing_mm": (1, 2.5, 3), "size": (4, 5, 6), "step_mm": 1}


@pytest.fixture
def block():
    return UniformBlock(LAYOUT, {"there": 1 << 40}.__getitem__)


def test_each_value_lies_at_its_place(block):
    wanted = struct.pack("=Qi4x3f3if", 1 << 40, 3, 1.0, 2.5, 3.0, 4, 5, 6, 1.0)
    assert block.pack(VALUES) == wanted
    assert block.pack(dict(reversed(VALUES.items()))) == wanted


def test_numpy_numbers_are_taken_for_what_the_kernel_has(block):
    changed = VALUES | {"count": np.int64(3), "step_mm": np.float32(1)}
    assert block.pack(changed) == block.pack(VALUES)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"count": 1.5}, TypeError),
        ({"count": 1 << 31}, TypeError),
        ({"size": (1, 2)}, TypeError),
        ({"size": (1.0, 2.0, 3.0)}, TypeError),
        ({"more": 1}, KeyError),
    ],
)
def test_values_of_another_kind_are_refused(block, changes, error):
    with pytest.raises(error):
        block.pack(VALUES | changes)


def test_other_names_are_refused(block):
    renamed = {"step": 1} | {name: value for name, value in VALUES.items() if name != "step_mm"}
    with pytest.raises(KeyError, match="step_mm"):
        block.pack(renamed)
