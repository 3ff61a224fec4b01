"""Annotations of objects with a pose: mask, thickness, box, centre line, tip, depth of entry."""

from __future__ import annotations

import numpy as np
import pytest

from fluoro.annotations.instruments import (
    FIRST_CATEGORY,
    InstrumentAnnotator,
    depth_of_entry_mm,
)
from fluoro.annotations.truth import TruthMaker
from fluoro.config.scene import ToolInclusion, WireInclusion
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.parts.parts_reference import tube_reference
from fluoro.scene.setup import SceneSetup
from fluoro.volume.volumes import MuVolume
from tests.rendering.test_tubes import GRID, VIEW

VOLUME = MuVolume(mu_zyx=np.full(GRID.shape_zyx, 0.0193, np.float32), grid=GRID)
WIRE = {
    "kind": "wire",
    "name": "wire",
    "preset": "k_wire",
    "spline": False,
    "path_mm": [(-80, 0, 2), (10, 5, 4)],
    "inserted": [{"time_s": 0, "inserted_mm": 60}, {"time_s": 2, "inserted_mm": 80}],
}


@pytest.fixture(scope="module")
def frame():
    (wire,) = WireInclusion(**WIRE).posed(SceneSetup())
    (screw,) = ToolInclusion(kind="tool", preset="screw", length_mm=20, diameter_mm=4).posed(
        SceneSetup()
    )
    maker = TruthMaker(
        {"instruments": InstrumentAnnotator([wire, screw], VOLUME, CpuDevice())}, CpuDevice()
    )
    truth = maker.begin(VIEW, 2.0)
    return wire, screw, truth.parts["instruments"], maker


def test_thickness_and_mask_are_each_object_alone(frame):
    wire, screw, found, _ = frame
    for number, solid in enumerate((wire, screw)):
        _, union = tube_reference(solid.tubes(2.0), VIEW, len(solid.materials))
        # a wire's point is thinner than two pixels: the mean over the width of a pixel
        off = np.abs(found.lengths_mm[number] - union)
        assert (off > 2e-3).mean() < 0.01
        assert off.max() < 0.4
        assert union.max() > 1
        np.testing.assert_array_equal(found.mask(number), found.lengths_mm[number] > 0)


def test_the_box_holds_the_mask_and_the_line_begins_at_the_tip(frame):
    wire, _, found, maker = frame
    fields = found.coco()[FIRST_CATEGORY]
    left, top, width, height = fields["bbox"]
    inner = found.mask(0)[top : top + height, left : left + width]
    assert inner.sum() == found.mask(0).sum() == fields["area"]
    assert inner.any(axis=0).all()
    np.testing.assert_allclose(fields["tip"], VIEW.project(wire.center_line(2.0)[0]), atol=1e-3)
    assert fields["center_line"][0] == fields["tip"]
    along = np.diff(np.array(fields["center_line"]), axis=0)
    assert (along @ along.sum(axis=0) > 0).all()
    assert [each["name"] for each in maker.categories()] == ["wire", "tool"]


def test_the_depth_of_entry_is_the_way_from_the_skin(frame):
    wire, _, found, _ = frame
    line = wire.center_line(2.0)
    way = line[0] - line[-1]
    skin = GRID.origin_xyz_mm[0] - 2  # half of water's attenuation, between the last voxel and air
    wanted = (line[0, 0] - skin) / way[0] * np.linalg.norm(way)
    assert found.coco()[FIRST_CATEGORY]["depth_mm"] == pytest.approx(wanted, abs=2.5)
    assert depth_of_entry_mm(line + np.array([500, 0, 0]), VOLUME) == 0.0
