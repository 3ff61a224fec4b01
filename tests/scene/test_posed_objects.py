"""Meshes, fragments and other CTs in the YAML: what they become, and what is refused."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from pydantic import TypeAdapter

from fluoro.config import MaterialsConfig, VolumeConfig
from fluoro.config.scene import InclusionConfig
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.closed_surface import edge_flaw, outward, volume_mm3
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.material_renderer import MaterialRenderer
from fluoro.scene import assemble
from fluoro.scene.assemble import material_volume
from fluoro.scene.outlines import centred, grid_box, outline
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.hu_to_mu import mu_water_per_mm
from fluoro.volume.labels.label_volume import LabelVolume
from fluoro.volume.labels.structures import named
from fluoro.volume.rigid_solids import MeshSolid, SampledSolid
from fluoro.volume.volumes import MuVolume
from tests.volume_files import meta_bytes

trimesh = pytest.importorskip("trimesh")

GRID = VolumeGrid(
    shape_zyx=(40, 30, 32),
    spacing_xyz_mm=(1.5, 1.5, 2.0),
    origin_xyz_mm=(3.45, -31.65, -39.0),
    direction=((0.6, -0.8, 0.0), (0.8, 0.6, 0.0), (0.0, 0.0, 1.0)),
)
SOFT, BONE = 1.04 * mu_water_per_mm(70.0), 0.05
"""The filling's attenuation, and bone's [1/mm]."""


KEY = r"volume\.materials\.inclusions"


def section(**given):
    return TypeAdapter(InclusionConfig).validate_python(given)


def volume_config(*inclusions, labels=False):
    return VolumeConfig(
        phantom="thorax",
        materials=MaterialsConfig(inclusions=inclusions),
        labels={} if labels else None,
    )


@pytest.fixture
def bone():
    """A rod of bone in soft tissue, two bones by its labels: the rod, and a plate apart."""
    z, y, x = np.meshgrid(*(np.arange(n) for n in GRID.shape_zyx), indexing="ij")
    rod = np.clip(6 - np.hypot(x - 15.5, y - 14.5) + 0.5, 0, 1) * ((z > 7) & (z < 33))
    mu = (SOFT + (BONE - SOFT) * rod).astype(np.float32)
    return MuVolume(mu_zyx=mu, grid=GRID), (rod > 0.5)


@pytest.fixture
def labelled(bone, monkeypatch):
    """The scene's labels: the rod is `humerus_left`."""
    volume, inside = bone
    structures = tuple(named({1: "humerus_left"}).values())
    labels = LabelVolume(structures=structures, label_zyx=inside.astype(np.uint8), grid=GRID)
    monkeypatch.setattr(assemble, "load_labels", lambda _config, _grid: labels)
    return volume


def test_an_outline_is_closed_and_has_the_volume_of_its_voxels():
    z, y, x = np.meshgrid(*(np.arange(n) for n in GRID.shape_zyx), indexing="ij")
    values = 9 - np.sqrt((1.5 * (x - 15)) ** 2 + (1.5 * (y - 14)) ** 2 + (2 * (z - 20)) ** 2)
    found = outline(values.astype(np.float32), 0.0, GRID)
    assert edge_flaw(found.faces) is None
    volume = volume_mm3(found.vertices_xyz_mm.astype(float), found.faces)
    assert volume == pytest.approx(4 / 3 * np.pi * 9**3, rel=0.03)
    middle = (GRID.world_from_index @ [15, 14, 20, 1])[:3]
    np.testing.assert_allclose(found.vertices_xyz_mm.mean(axis=0), middle, atol=0.1)


@pytest.mark.parametrize("mirrored", [False, True])
def test_every_part_of_a_noisy_outline_faces_outwards_and_every_cavity_inwards(mirrored):
    axes = np.array(GRID.direction) * [1, 1, -1 if mirrored else 1]
    grid = replace(GRID, direction=tuple(map(tuple, axes)))
    noise = np.random.default_rng(7).normal(size=GRID.shape_zyx).astype(np.float32)
    noise[10:30, 8:22, 8:24] += 3  # a body with cavities, and crumbs around it
    found = outline(noise, 1.0, grid)
    corners, faces = found.vertices_xyz_mm.astype(float), found.faces.astype(np.int64)
    assert volume_mm3(corners, faces) > 0
    assert outward(corners, faces)[1] == 0


def test_an_outline_of_everything_is_the_box_of_the_volume():
    whole = outline(np.ones(GRID.shape_zyx, np.float32), 0.5, GRID)
    box = grid_box(GRID)
    for surface in (whole, box):
        assert edge_flaw(surface.faces) is None
        volume = volume_mm3(surface.vertices_xyz_mm.astype(float), surface.faces)
        assert volume == pytest.approx(np.prod(GRID.size_xyz_mm), rel=1e-3)


def test_a_mesh_has_its_material_density_and_pose(tmp_path, bone):
    path = tmp_path / "plate.stl"
    mesh = trimesh.creation.box((10, 4, 2))
    mesh.apply_translation((30, 0, 0))
    mesh.export(path)
    one = section(
        kind="mesh", path=path, material="titanium", density_g_per_cm3=4.2, origin="middle",
        name="plate", poses=[{"time_s": 0}, {"time_s": 2, "position_mm": [0, 0, 8]}],
    )  # fmt: skip
    (solid,) = material_volume(volume_config(one), bone[0]).posed
    assert isinstance(solid, MeshSolid)
    assert solid.name == "plate"
    assert solid.materials[0].density_g_per_cm3 == 4.2
    np.testing.assert_allclose(solid.surface.vertices_xyz_mm.max(axis=0), (5, 2, 1), atol=1e-5)
    np.testing.assert_allclose(solid.track.at(1.0)[:3, 3], (0, 0, 4), atol=1e-9)


def test_a_missing_mesh_is_named(tmp_path, bone):
    one = section(kind="mesh", path=tmp_path / "none.stl", material="steel")
    with pytest.raises(InputError, match=r"none\.stl"):
        material_volume(volume_config(one), bone[0])


CUT = {"point_mm": [0, 0, 0], "normal": [0.1, 0.0, 1.0]}


def fragments(**given):
    other = {**CUT, "normal": [-0.1, 0.0, -1.0]}
    return (
        section(kind="fragment", name="upper", structures=["humerus_left"], cuts=[CUT], **given),
        section(kind="fragment", name="lower", structures=["humerus_left"], cuts=[other]),
    )


def images(scene, *times):
    carm = CarmGeometry(detector_width_px=40, detector_height_px=60, pixel_spacing_mm=2.4)
    view = carm.view(CarmPose(lao_deg=20), (0, 0, 0))
    device = CpuDevice(2)
    renderer = MaterialRenderer(scene, device)
    found = [renderer.render(view, time_s=time_s) for time_s in times]
    device.close()
    return found


def test_fragments_at_rest_show_what_the_ct_shows(labelled):
    scene = material_volume(volume_config(*fragments(), labels=True), labelled)
    whole = material_volume(volume_config(), labelled)
    assert all(isinstance(each, SampledSolid) for each in scene.posed)
    (found,), (expected,) = images(scene, 0.0), images(whole, 0.0)
    bone_mm = expected[4]
    assert bone_mm.max() > 10
    assert np.abs(found - expected).max() < 0.15 * bone_mm.max()  # along the cut, a voxel wide
    assert np.abs(found - expected).mean() < 0.03


def test_a_fragment_that_moves_away_leaves_soft_tissue(labelled):
    poses = [{"time_s": 0}, {"time_s": 1, "position_mm": [0, 0, 300]}]
    upper, _ = fragments(poses=poses)
    scene = material_volume(volume_config(upper, labels=True), labelled)
    at_rest, gone = images(scene, 0.0, 1.0)
    assert at_rest[4].sum() > 1.9 * gone[4].sum()
    top, bottom = gone[4][:25], gone[4][-25:]
    assert top.max() < 0.02 * bottom.max()
    np.testing.assert_allclose(gone.sum(axis=0), at_rest.sum(axis=0), atol=0.5)


def test_the_bone_of_fragments_is_that_of_the_ct_wherever_they_are(labelled):
    poses = [{"time_s": 0, "position_mm": [4, -3, 6], "rotation_deg": [10, 0, 15]}, {"time_s": 2}]
    scene = material_volume(volume_config(*fragments(poses=poses), labels=True), labelled)
    apart, reduced = images(scene, 0.0, 2.0)
    assert np.abs(apart - reduced)[4].max() > 3
    assert apart[4].sum() == pytest.approx(reduced[4].sum(), rel=0.03)


def test_a_fragment_without_labels_or_behind_its_cuts_is_refused(bone, labelled, monkeypatch):
    nothing = {**CUT, "point_mm": [0, 0, 500]}
    far = section(kind="fragment", structures=["humerus_left"], cuts=[nothing])
    with pytest.raises(InputError, match=rf"^{KEY}\.0\.cuts: must leave voxels"):
        material_volume(volume_config(far, labels=True), labelled)
    unknown = section(kind="fragment", structures=["humerus_leftt"])
    with pytest.raises(InputError, match=rf"^{KEY}\.0\.structures: there is no structure"):
        material_volume(volume_config(unknown, labels=True), labelled)
    monkeypatch.setattr(assemble, "load_labels", lambda _config, _grid: None)
    with pytest.raises(InputError, match=rf"^{KEY}\.0: a fragment needs volume\.labels$"):
        material_volume(volume_config(far), labelled)


@pytest.mark.parametrize(
    "given",
    [
        {"kind": "mesh", "material": "steel", "parent": "base"},
        {"kind": "volume", "parent": "base"},
        {"kind": "labels", "materials": {1: "steel"}},
    ],
)
def test_an_error_of_an_objects_file_names_its_key(bone, tmp_path, given):
    """By its place in the list, also where a parent that stands behind it is made before."""
    path = tmp_path / "none.stl"
    base = section(kind="tool", preset="needle", name="base")
    objects = (section(kind="tool", preset="needle"), section(path=path, **given), base)
    with pytest.raises(InputError, match=rf"^{KEY}\.1\.path: {re.escape(str(path))}: "):
        material_volume(volume_config(*objects), bone[0])


def test_another_ct_moves_as_tissue_or_as_one_material(tmp_path, bone):
    path = tmp_path / "implant.mha"
    hu = np.full((12, 10, 8), -1000, np.int16)
    hu[3:9, 2:8, 2:6] = 900
    path.write_bytes(meta_bytes(hu, DimSize="8 10 12", ElementSpacing="1 1 1"))
    as_tissue = section(kind="volume", path=path, origin="middle")
    as_metal = section(kind="volume", path=path, above_hu=0.0, material="titanium")
    tissue, metal = material_volume(volume_config(as_tissue, as_metal), bone[0]).posed
    assert isinstance(tissue, SampledSolid)
    assert isinstance(metal, MeshSolid)
    np.testing.assert_allclose(centred(tissue.surface)[1], 0, atol=1e-5)
    size = np.ptp(metal.surface.vertices_xyz_mm, axis=0)
    np.testing.assert_allclose(size, (4, 6, 6), atol=1.0)
    nothing = section(kind="volume", path=path, above_hu=2000.0)
    with pytest.raises(InputError, match="must be above 2000 HU somewhere"):
        material_volume(volume_config(nothing), bone[0])
