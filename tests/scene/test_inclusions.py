"""Metal, contrast and labels in a patient: their amount, their place, and what they displace."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fluoro.config import (
    BallInclusion,
    LabelInclusion,
    RodInclusion,
    VolumeConfig,
    load_config,
)
from fluoro.config.scene import SCENE_OBJECTS
from fluoro.errors import InputError
from fluoro.physics.materials import material
from fluoro.physics.tissues import tissue_map
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.material_renderer import MaterialRenderer
from fluoro.rendering.parts import PARTS
from fluoro.scene.assemble import displaced
from fluoro.scene.setup import ScenePatient, SceneSetup
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.labels.label_volume import LabelVolume
from fluoro.volume.labels.structures import named
from fluoro.volume.material_volume import LabelledInclusion, MaterialVolume
from fluoro.volume.volumes import MuVolume
from tests import volumes
from tests.volume_files import meta_bytes

ROOT = Path(__file__).parents[2]
ROD = RodInclusion(
    kind="rod",
    from_mm=(40.0, 20.0, 30.0),
    to_mm=(70.0, 60.0, 90.0),
    diameter_mm=8.0,
    material="steel",
)
BALL = BallInclusion(
    kind="ball", center_mm=(50.0, 40.0, 60.0), diameter_mm=20.0, material="titanium"
)


def amount_mm3(inclusion):
    return inclusion.share_zyx.sum(dtype=float) * np.prod(inclusion.grid.spacing_xyz_mm)


def middle_xyz_mm(inclusion):
    index = np.stack(np.indices(inclusion.share_zyx.shape)[::-1]).reshape(3, -1)
    weight = inclusion.share_zyx.ravel().astype(float)
    mean = index @ weight / weight.sum()
    return (inclusion.grid.world_from_index @ [*mean, 1.0])[:3]


def test_a_ball_has_its_volume_and_place():
    (ball,) = BALL.solids()
    assert amount_mm3(ball) == pytest.approx(4 / 3 * np.pi * 10**3, rel=0.02)
    np.testing.assert_allclose(middle_xyz_mm(ball), BALL.center_mm, atol=1e-6)


def test_a_rod_has_its_volume_place_and_direction():
    (rod,) = ROD.solids()
    length = np.linalg.norm(np.subtract(ROD.to_mm, ROD.from_mm))
    assert amount_mm3(rod) == pytest.approx(np.pi * 16 * length, rel=0.01)
    np.testing.assert_allclose(middle_xyz_mm(rod), np.add(ROD.from_mm, ROD.to_mm) / 2, atol=1e-6)
    along = np.array(rod.grid.direction)[:, 2]
    np.testing.assert_allclose(along, np.subtract(ROD.to_mm, ROD.from_mm) / length, atol=1e-12)


def test_density_may_be_given():
    thin = RodInclusion(**{**ROD.model_dump(), "material": "iodine", "density_g_per_cm3": 0.02})
    (rod,) = thin.solids()
    assert rod.material.density_g_per_cm3 == 0.02
    ratio = rod.material.mu_per_mm(60.0) / material("iodine").mu_per_mm(60.0)
    assert ratio == pytest.approx(0.02 / 4.93)


def test_tissue_makes_room(tmp_path):
    volume = volumes.constant()
    (ball,) = BALL.solids()
    left = displaced(volume, [ball])
    gone = (volume.mu_zyx - left.mu_zyx).sum(dtype=float) / 0.02
    gone_mm3 = gone * np.prod(volume.grid.spacing_xyz_mm)
    assert gone_mm3 == pytest.approx(4 / 3 * np.pi * 10**3, rel=0.02)
    index = np.round((volume.grid.index_from_world @ [50.0, 40.0, 60.0, 1.0])[:3]).astype(int)
    assert left.mu_zyx[tuple(index[::-1])] == 0
    assert displaced(volume, []) is volume


def test_an_inclusion_outside_the_volume_displaces_nothing():
    far = BallInclusion(**{**BALL.model_dump(), "center_mm": (900.0, 0.0, 0.0)})
    volume = volumes.constant()
    np.testing.assert_array_equal(displaced(volume, far.solids()).mu_zyx, volume.mu_zyx)


def test_the_ball_shows_where_geometry_says_and_as_thick_as_it_is():
    (ball,) = BALL.solids()
    body = MaterialVolume(
        volume=displaced(volumes.constant(), [ball]),
        tissues=tissue_map("tissues"),
        inclusions=(ball,),
    )
    view = volumes.DETECTOR.view(volumes.POSES["LAO 37 CRA 21"], BALL.center_mm)
    thicknesses = MaterialRenderer(body, CpuDevice()).render(view)
    metal = thicknesses[-1]
    assert metal.max() == pytest.approx(20, rel=0.03)
    row, column = np.unravel_index(metal.argmax(), metal.shape)
    place = view.pixel_from_world @ [*BALL.center_mm, 1.0]
    assert abs(column + 0.5 - place[0] / place[2]) <= 1
    assert abs(row + 0.5 - place[1] / place[2]) <= 1


def test_outline_of_a_large_ball_is_round():
    large = BallInclusion(**{**BALL.model_dump(), "diameter_mm": 46.0})
    (ball,) = large.solids()
    body = MaterialVolume(
        volume=volumes.constant(), tissues=tissue_map("tissues"), inclusions=(ball,)
    )
    view = volumes.DETECTOR.view(volumes.POSES["LAO 37 CRA 21"], large.center_mm)
    metal = MaterialRenderer(body, CpuDevice()).render(view)[-1]
    pixels = np.stack(np.meshgrid(*(np.arange(n) + 0.5 for n in metal.shape[::-1])), axis=-1)
    rays = view.back_project(pixels.reshape(-1, 2)) - view.source_xyz_mm
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    to_center = np.subtract(large.center_mm, view.source_xyz_mm)
    off_mm = np.linalg.norm(np.cross(rays, to_center), axis=1).reshape(metal.shape)
    assert metal[off_mm < 23.0 - 0.75].min() > 2.0
    assert metal[off_mm > 23.0 + 0.75].max() < 2.0
    inside = off_mm < 20.0
    chord_mm = 2 * np.sqrt(23.0**2 - off_mm[inside] ** 2)
    np.testing.assert_allclose(metal[inside], chord_mm, atol=0.5)


def labels_file(folder):
    voxels = np.zeros((4, 5, 6), "<i2")
    voxels[1:3, 1:4, 2:5] = 7
    voxels[3, 4, 5] = 9
    path = folder / "labels.mha"
    path.write_bytes(meta_bytes(voxels))
    return path


def test_labels_are_materials_in_their_own_boxes(tmp_path):
    given = LabelInclusion(
        kind="labels", path=labels_file(tmp_path), materials={7: "titanium", 9: "soft_tissue"}
    )
    titanium, soft = given.solids()
    assert (titanium.material.name, soft.material.name) == ("titanium", "soft_tissue")
    assert titanium.share_zyx.sum() == 18
    assert titanium.share_zyx.shape == (4, 5, 5)
    from fluoro.volume.open_ct import open_ct

    whole = open_ct(given.path).planes.grid
    expected = whole.world_from_index @ [3.0, 2.0, 1.5, 1.0]
    np.testing.assert_allclose(middle_xyz_mm(titanium), expected[:3], atol=1e-9)
    np.testing.assert_allclose(
        middle_xyz_mm(soft), (whole.world_from_index @ [5.0, 4.0, 3.0, 1.0])[:3], atol=1e-9
    )


def test_a_label_that_is_not_there_is_named(tmp_path):
    given = LabelInclusion(kind="labels", path=labels_file(tmp_path), materials={3: "steel"})
    with pytest.raises(InputError, match=r"labels\.mha: must have voxels of label 3, has only"):
        given.solids()


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ("{kind: rod, from_mm: [0, 0, 0], to_mm: [0, 0, 9], diameter_mm: 2, material: gold}",
         "volume.materials.inclusions.0.material: must be one of air, lung, fat"),
        ("{kind: rod, from_mm: [0, 0, 0], to_mm: [0, 0, 0], diameter_mm: 2, material: steel}",
         "volume.materials.inclusions.0.to_mm: must be at least 0.01 mm away"),
        ("{kind: cube}", "inclusions.0.kind: must be one of labels, rod, ball"),
        ("{kind: ball, center_mm: [0, 0, 0], diameter_mm: -1, material: steel}",
         "volume.materials.inclusions.0.diameter_mm: must be at least 0.05, got -1"),
    ],
)  # fmt: skip
def test_errors_are_one_line_with_the_key(entry, line):
    with pytest.raises(InputError) as caught:
        load_config(
            ROOT / "configs" / "polychromatic.yaml", [f"volume.materials.inclusions=[{entry}]"]
        )
    assert line in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_paths_of_labels_are_relative_to_the_yaml_file(tmp_path):
    labels_file(tmp_path)
    text = (ROOT / "configs" / "polychromatic.yaml").read_text()
    entry = "{kind: labels, path: labels.mha, materials: {7: steel}}"
    kinds = "materials: {kind: tissues}"
    assert kinds in text
    (tmp_path / "run.yaml").write_text(
        text.replace(kinds, f"materials: {{kind: tissues, inclusions: [{entry}]}}")
    )
    config = load_config(tmp_path / "run.yaml")
    assert config.volume.materials.inclusions[0].path == tmp_path / "labels.mha"


def test_grids_of_inclusions_need_not_be_the_volumes():
    """A half transparent box on a coarse, shifted grid takes half of each voxel that it covers."""
    from fluoro.volume.material_volume import Inclusion

    volume = MuVolume(
        mu_zyx=np.full((10, 10, 10), 0.02, np.float32),
        grid=VolumeGrid(shape_zyx=(10, 10, 10), spacing_xyz_mm=(1.0, 1.0, 1.0)),
    )
    share = np.pad(np.full((2, 2, 2), 0.5, np.float32), 1)
    coarse = VolumeGrid(
        shape_zyx=(4, 4, 4), spacing_xyz_mm=(2.0, 2.0, 2.0), origin_xyz_mm=(1.5, 1.5, 1.5)
    )
    half = Inclusion(material=material("iodine"), share_zyx=share, grid=coarse)
    left = displaced(volume, [half]).mu_zyx / 0.02
    assert left[4, 4, 4] == pytest.approx(0.5)
    assert left[0, 0, 0] == 1
    assert (1 - left).sum() == pytest.approx(0.5 * 8 * 8, rel=1e-5)


def _rod_through_the_ball(priority):
    """A rod along the axis of the ball's middle; the part inside the ball is 20 mm long."""
    ends = {"from_mm": (50.0, 40.0, 40.0), "to_mm": (50.0, 40.0, 80.0)}
    return RodInclusion(**{**ROD.model_dump(), **ends, "priority": priority})


def test_of_overlapping_objects_the_one_of_higher_priority_stays():
    from fluoro.scene.assemble import scene_solids

    (_, ball), (_, rod) = scene_solids([BALL, _rod_through_the_ball(1)])
    assert amount_mm3(rod) == pytest.approx(np.pi * 16 * 40, rel=0.01)
    lost = 4 / 3 * np.pi * (10**3 - (10**2 - 4**2) ** 1.5)  # a drilled ball
    alone = amount_mm3(BALL.solids()[0])
    assert alone - amount_mm3(ball) == pytest.approx(lost, rel=0.08)


def test_objects_of_equal_priority_both_count():
    from fluoro.scene.assemble import scene_solids

    (_, ball), (_, rod) = scene_solids([BALL, _rod_through_the_ball(0)])
    assert amount_mm3(ball) == amount_mm3(BALL.solids()[0])
    assert amount_mm3(rod) == pytest.approx(np.pi * 16 * 40, rel=0.01)


def test_labels_lose_voxels_of_which_others_take_half():
    number = np.zeros((2, 3, 3), np.uint8)
    number[:, 1, 1], number[:, 2, 1] = 1, 2
    solid = LabelledInclusion(
        materials=(material("titanium"), material("steel")),
        label_zyx=number,
        grid=VolumeGrid(shape_zyx=(2, 3, 3), spacing_xyz_mm=(1.0, 1.0, 1.0)),
    )
    taken = np.zeros(number.shape, np.float32)
    taken[1], taken[0] = 0.5, 0.49
    np.testing.assert_array_equal(solid.without(taken).filled_zyx().sum(axis=(1, 2)), [2, 0])


def mesh_file(folder):
    """An STL of a tetrahedron."""
    corners = np.array([(0, 0, 0), (9, 0, 0), (0, 9, 0), (0, 0, 9)], "<f4")
    path = folder / "tetrahedron.stl"
    triangles = np.zeros(4, [("normal", "<f4", 3), ("at", "<f4", (3, 3)), ("more", "<u2")])
    triangles["at"] = corners[[(0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3)]]
    path.write_bytes(bytes(80) + np.uint32(4).tobytes() + triangles.tobytes())
    return path


def patient():
    """A volume of bone with one structure."""
    grid = VolumeGrid(shape_zyx=(6, 6, 6), spacing_xyz_mm=(2.0, 2.0, 2.0))
    inside = np.zeros(grid.shape_zyx, np.uint8)
    inside[1:5, 1:5, 1:5] = 1
    labels = LabelVolume(structures=tuple(named({7: "bone"}).values()), label_zyx=inside, grid=grid)
    bone = MuVolume(mu_zyx=np.full(grid.shape_zyx, 0.05, np.float32), grid=grid)
    return ScenePatient(
        config=VolumeConfig(phantom="thorax"),
        tissues=tissue_map("tissues"),
        labels=lambda: labels,
        volume=bone,
        rest=bone,
    )


@pytest.mark.parametrize("section", SCENE_OBJECTS, ids=lambda each: each.__name__)
def test_every_kind_of_object_makes_solids_that_the_renderer_takes(section, tmp_path):
    examples = {
        "labels": {"path": labels_file(tmp_path), "materials": {7: "titanium"}},
        "rod": ROD.model_dump(),
        "ball": BALL.model_dump(),
        "wire": {"preset": "catheter", "path_mm": [(0, 0, 0), (50, 0, 0)]},
        "tool": {"preset": "screw"},
        "mesh": {"path": mesh_file(tmp_path), "material": "steel"},
        "fragment": {"structures": [7]},
        "volume": {"path": labels_file(tmp_path)},
    }
    (kind,) = section.model_fields["kind"].annotation.__args__
    made = section(**{**examples[kind], "kind": kind})
    found = made.posed(SceneSetup(known_patient=patient()))
    for posed in found:
        assert any(isinstance(posed, each) for each in PARTS)
    assert made.solids() or found
    for solid in made.solids():
        part = solid.layer()
        assert part.samples_zyx.shape == solid.grid.shape_zyx
        assert part.mix.shape == (len(solid.materials), len(part.ramps))
        filled = solid.filled_zyx()
        assert 0 <= filled.min() < filled.max() <= 1


def test_many_labels_are_grouped_by_material(tmp_path):
    """100 labels of two materials are two solids at most, and it takes no time."""
    voxels = np.zeros((4, 5, 6), "<i2")
    voxels.ravel()[:100] = np.arange(1, 101)
    path = tmp_path / "many.mha"
    path.write_bytes(meta_bytes(voxels))
    materials = {n: ("titanium", "steel")[n % 2] for n in range(1, 101)}
    solids = LabelInclusion(kind="labels", path=path, materials=materials).solids()
    assert len(solids) <= 2
    assert sum(int(each.filled_zyx().sum()) for each in solids) == 100
