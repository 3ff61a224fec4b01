"""Wires and tools: where they are by time, what they are made of, how they are steered."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fluoro.config import load_config
from fluoro.config.scene import ToolInclusion, WireInclusion
from fluoro.errors import InputError
from fluoro.geometry.se3 import rotation_z, translation
from fluoro.scene.assemble import posed_solids
from fluoro.scene.cross_sections import WIRES
from fluoro.scene.setup import SceneSetup
from fluoro.scene.tool_solid import TOOLS
from fluoro.scene.wire_solid import PIECE_S
from fluoro.volume.posed_solid import LiveInsertion, LivePoints, LivePose
from tests.scene.test_inclusions import ROOT

PATH_MM = [(0, 0, 0), (100, 0, 0), (100, 100, 0)]


def wire(**given):
    made = WireInclusion(**{"kind": "wire", "preset": "guide_wire", "path_mm": PATH_MM, **given})
    (solid,) = made.posed(SceneSetup())
    return solid


def tool(preset="k_wire", **given):
    made = ToolInclusion(kind="tool", preset=preset, **given)
    (solid,) = made.posed(SceneSetup())
    return solid


def test_a_wire_is_as_long_as_it_is_inserted():
    solid = wire(
        spline=False,
        inserted=[{"time_s": 1, "inserted_mm": 20}, {"time_s": 3, "inserted_mm": 120}],
    )
    for time_s, length in ((0, 20), (1, 20), (2, 70), (3, 120), (9, 120)):
        line = solid.center_line(time_s)
        steps = np.linalg.norm(np.diff(line, axis=0), axis=1)
        assert steps.sum() == pytest.approx(length, abs=1e-6)
    np.testing.assert_allclose(solid.center_line(2)[0], [70, 0, 0], atol=1e-9)
    np.testing.assert_allclose(solid.center_line(3)[0], [100, 20, 0], atol=1e-9)


def test_a_spline_goes_through_its_points():
    points = np.array([(0, 0, 0), (30, 10, 0), (50, 40, 10), (40, 80, 20)], float)
    line = wire(path_mm=points.tolist(), piece_mm=0.2).center_line(0)
    for point in points:
        assert np.linalg.norm(line - point, axis=1).min() < 0.15
    turns = np.diff(line, axis=0)
    turns /= np.linalg.norm(turns, axis=1, keepdims=True)
    assert (turns[1:] * turns[:-1]).sum(axis=1).min() > 0.999


def test_parts_lie_along_the_wire_from_the_tip_on():
    tubes = wire(spline=False, preset="catheter").tubes(0)
    names = [each.name for each in wire(preset="catheter").materials]
    outer = [names[number] for number in tubes.materials[:, 0]]
    assert outer[:4] == ["catheter_nylon", "platinum", "catheter_nylon", "platinum"]
    lengths = np.linalg.norm(np.diff(tubes.ends_xyz_mm, axis=1)[:, 0], axis=1)
    np.testing.assert_allclose(lengths[:4], [1, 1, 18, 1], atol=1e-9)


def test_a_bent_tip_turns_with_the_roll():
    straight = wire(path_mm=[(0, 0, 0), (80, 0, 0)])
    bent = [
        wire(
            path_mm=[(0, 0, 0), (80, 0, 0)],
            tip_angle_deg=90,
            tip_length_mm=10,
            inserted=[{"time_s": 0, "inserted_mm": 80, "roll_deg": roll}],
        ).center_line(0)
        for roll in (0, 90)
    ]
    radius = 10 / (np.pi / 2)
    for line in bent:
        assert np.linalg.norm(np.diff(line, axis=0), axis=1).sum() == pytest.approx(80, rel=1e-3)
        tip = line[0] - [70, 0, 0]
        assert tip[0] == pytest.approx(radius, rel=1e-6)
        assert np.hypot(*tip[1:]) == pytest.approx(radius, rel=1e-6)
    assert bent[0][0, 1:] @ bent[1][0, 1:] == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(straight.center_line(0)[0], [80, 0, 0], atol=1e-6)


def test_a_wire_goes_where_it_is_steered():
    solid = wire(spline=False)
    solid.steer(LiveInsertion(inserted_mm=30))
    np.testing.assert_allclose(solid.center_line(0)[0], [30, 0, 0], atol=1e-9)
    solid.steer(LivePoints(points_xyz_mm=np.array([[0.0, 0, 0], [0, 0, 50]])))
    np.testing.assert_allclose(solid.center_line(0)[0], [0, 0, 30], atol=1e-9)


@pytest.mark.parametrize(
    ("sample", "line"),
    [
        (LivePoints(points_xyz_mm=np.array([[0.0, 0, 0]])), "points of wire must be at least 2"),
        (LivePoints(points_xyz_mm=np.full((3, 3), np.nan)), "point 0 must be finite"),
        (LivePoints(points_xyz_mm=np.zeros((3, 3))), "2 points apart"),
        (LiveInsertion(inserted_mm=-1), "inserted_mm of wire must be at least 0, got -1"),
        (LiveInsertion(roll_deg=np.inf), "must be finite"),
        (LivePose(matrix=np.eye(4)), "wire cannot be steered by LivePose"),
    ],
)
def test_a_bad_sample_is_refused_and_the_wire_stays(sample, line):
    solid = wire()
    before = solid.center_line(0)
    with pytest.raises(InputError, match=line):
        solid.steer(sample)
    np.testing.assert_array_equal(solid.center_line(0), before)


@pytest.mark.parametrize("name", TOOLS)
def test_a_tool_has_its_tip_at_its_place_and_runs_back_along_its_axis(name):
    solid = tool(name, poses=[{"position_mm": (5, 6, 7), "axis": (1, 0, 0)}])
    tubes = solid.tubes(0)
    _, length, diameter = TOOLS[name]
    relative = tubes.ends_xyz_mm - [5, 6, 7]
    assert relative[..., 0].min() >= -1e-9
    assert relative[..., 0].max() == pytest.approx(length, rel=0.25)
    reach = np.hypot(relative[..., 1], relative[..., 2]) + tubes.radii_mm[:, :1]
    assert reach.max() == pytest.approx(diameter / 2, rel=0.7)


def test_a_pose_is_interpolated_and_replaced_by_a_live_one():
    keys = [
        {"time_s": 0, "position_mm": (0, 0, 0)},
        {"time_s": 2, "position_mm": (0, 0, 20), "rotation_deg": (0, 0, 90)},
    ]
    solid = tool(poses=keys)
    np.testing.assert_allclose(solid.track.at(1), translation((0, 0, 10)) @ rotation_z(np.pi / 4))
    live = translation((1, 2, 3))
    solid.steer(LivePose(matrix=live))
    np.testing.assert_allclose(solid.track.at(1), live)
    with pytest.raises(InputError, match="must be rigid"):
        solid.steer(LivePose(matrix=2 * np.eye(4)))
    np.testing.assert_allclose(solid.track.at(1), live)


def test_a_child_moves_with_its_parent_wherever_it_stands_in_the_list():
    child = ToolInclusion(
        kind="tool", preset="needle", parent="base", poses=[{"position_mm": (0, 0, 5)}]
    )
    base = ToolInclusion(
        kind="tool", preset="screw", name="base", poses=[{"position_mm": (10, 0, 0)}]
    )
    solids = posed_solids([child, base])
    np.testing.assert_allclose(solids[0].center_line(0)[0], [10, 0, 5])
    solids[1].steer(LivePose(matrix=translation((0, 7, 0))))
    np.testing.assert_allclose(solids[0].center_line(0)[0], [0, 7, 5])


PLACED = "kind: tool, preset: needle"


@pytest.mark.parametrize(
    ("entries", "line"),
    [
        ("{kind: wire, preset: needle, path_mm: [[0, 0, 0]]}", "path_mm: must be a list of at"),
        ("{kind: wire, preset: needle, path_mm: [[0, 0, 0], [.nan, 0, 0]]}", "path_mm.1"),
        ("{kind: wire, path_mm: [[0, 0, 0], [9, 0, 0]]}", "must have either preset or parts"),
        (f"{{{PLACED}, name: a, parent: b}}, {{{PLACED}, name: b, parent: a}}",
         "inclusions.0.parent: must not go in a circle, got b"),
        (f"{{{PLACED}, name: a}}, {{{PLACED}, name: a}}",
         "inclusions.1.name: must differ from other objects' names, got a"),
        (f"{{{PLACED}, parent: unknown}}",
         "inclusions.0.parent: must be an object with poses, got unknown"),
        (f"{{{PLACED}, poses: [{{time_s: 2}}, {{time_s: 1}}]}}", "must be greater than 2, got 1"),
    ],
)  # fmt: skip
def test_errors_are_one_line(entries, line):
    with pytest.raises(InputError) as caught:
        load_config(
            ROOT / "configs" / "polychromatic.yaml", [f"volume.materials.inclusions=[{entries}]"]
        )
    assert line in str(caught.value), caught.value
    assert len(str(caught.value).splitlines()) <= 2


def test_too_many_pieces_are_refused():
    points = np.zeros((1_000_002, 3))
    points[:, 0] = np.arange(len(points)) * 1e-3
    solid = wire()
    with pytest.raises(
        InputError, match="must have at most 1000000 pieces, which take 1 s a frame"
    ):
        solid.steer(LivePoints(points_xyz_mm=points))


def test_pieces_of_all_wires_of_a_scene_count_together():
    def wires(path):
        return [WireInclusion(kind="wire", preset="guide_wire", path_mm=path, piece_mm=0.05)] * 40

    curve = [(0.0, 0.0, 0.0), (1000.0, 0.0, 10.0), (2000.0, 0.0, 0.0)]
    line = curve[::2]
    assert len(posed_solids(wires(curve)[:20])) == 20
    assert len(posed_solids(wires(line))) == 40  # a straight wire is one piece for each part
    with pytest.raises(InputError, match="the wires of the scene must have at most 1000000 pieces"):
        posed_solids(wires(curve))


def test_the_limit_of_pieces_follows_from_the_measured_cost():
    measured = json.loads((ROOT / "benchmarks/results/instruments_cpu.json").read_text())
    assert 0.5 < measured["microseconds_per_piece"] / (1e6 * PIECE_S) < 2


@pytest.mark.parametrize("name", WIRES)
def test_presets_have_shells_that_fall(name):
    for part in WIRES[name]:
        widths = [each.diameter_mm for each in part.shells]
        assert widths == sorted(widths, reverse=True)


def test_a_point_that_is_no_number_is_one_line(tmp_path):
    path = tmp_path / "wire.yaml"
    path.write_text(
        "pose_source: {kind: static}\n"
        "volume:\n"
        "  phantom: thorax\n"
        "  materials:\n"
        "    inclusions:\n"
        "      - {kind: wire, preset: guide_wire, path_mm: [[0, 0, .nan], [1, 2, 3]]}\n"
        "image_chain: {xray: {}}\n"
    )
    with pytest.raises(InputError) as refused:
        load_config(path)
    (line,) = str(refused.value).splitlines()
    assert line.endswith("inclusions.0.path_mm.0.2: must be a finite number, got nan")
