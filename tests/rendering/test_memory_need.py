"""The memory that a run needs is logged before it is taken; what does not fit is rejected."""

from __future__ import annotations

import logging

import pytest

from fluoro.config import Config
from fluoro.errors import InputError
from fluoro.rendering import memory_need, renderer
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.memory_need import memory_parts, report_memory
from fluoro.volume import host_memory
from fluoro.volume.grid import VolumeGrid

LARGE = VolumeGrid(
    shape_zyx=(800, 512, 512), spacing_xyz_mm=(0.8, 0.8, 0.8), origin_xyz_mm=(0.0, 0.0, 0.0)
)
GIB = 2**30


def config(projector="slab", **volume):
    return Config.model_validate(
        {
            "volume": {"phantom": "thorax", "materials": {"kind": "tissues"}, **volume},
            "renderer": {"projector": projector},
            "pose_source": {"kind": "sweep"},
            "image_chain": {"xray": {}},
        }
    )


@pytest.fixture
def machine(monkeypatch):
    """Sets the memory that is available."""

    def has(gib):
        for module in (memory_need, renderer, host_memory):
            monkeypatch.setattr(module, "available_memory_bytes", lambda: int(gib * GIB))

    return has


def test_a_large_ct_with_tissues_and_labels_needs_less_than_6_gib(machine):
    machine(24)
    for projector in ("slab", "joseph"):
        parts = memory_parts(config(projector, labels={}), LARGE, CpuDevice())
        assert sum(parts.values()) < 6 * GIB, projector
        assert parts["volume"] == 4 * 800 * 512 * 512
    assert parts["copies"] > parts["volume"]


def test_the_need_is_logged_with_what_there_is(machine, caplog):
    machine(24)
    report_memory(config(), LARGE, CpuDevice())
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    total = sum(memory_parts(config(), LARGE, CpuDevice()).values()) / GIB
    assert record.message.startswith(
        f"memory: up to {total:.2f} GiB (program 0.39 GiB, volume 0.78"
    )
    assert record.message.endswith("24.00 GiB are available")


def test_a_volume_that_does_not_stay_in_memory_is_a_warning(machine, caplog):
    machine(1.5)
    report_memory(config(), LARGE, CpuDevice())
    assert "frames wait for the disk" in caplog.text


def test_copies_that_do_not_fit_are_refused(machine):
    machine(0.5)
    with pytest.raises(InputError, match="copies and labels: does not fit in memory: needs"):
        report_memory(config(), LARGE, CpuDevice())


def test_a_small_volume_is_no_news(machine, caplog):
    machine(1)
    small = VolumeGrid(shape_zyx=(64, 64, 64), spacing_xyz_mm=(1, 1, 1), origin_xyz_mm=(0, 0, 0))
    report_memory(config(), small, CpuDevice())
    assert not caplog.records
