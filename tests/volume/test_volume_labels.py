"""Labels beside a volume: names, files on any grid, what they change, and what is refused."""

from __future__ import annotations

import stat
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import app
from fluoro.config import LabelsConfig, VolumeConfig, load_config, volume_config
from fluoro.errors import InputError
from fluoro.physics.materials import material
from fluoro.scene.assemble import material_volume
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.inspect import label_lines
from fluoro.volume.labels.label_volume import LabelVolume, nearest_on_grid
from fluoro.volume.labels.load import load_labels, shaped_by_labels
from fluoro.volume.labels.structures import named, read_names, selected, totalsegmentator
from fluoro.volume.phantom.thorax import thorax_landmarks
from fluoro.volume.volumes import MuVolume
from tests.volume_files import meta_bytes

ROOT = Path(__file__).parents[2]
SHAPE = (6, 8, 10)


def write_labels(folder, numbers, name="labels.mha"):
    path = folder / name
    path.write_bytes(meta_bytes(numbers.astype("<i2"), DimSize="10 8 6"))
    return path


def two_blocks():
    """Label 5 (the liver) in front, 92 (a rib) behind."""
    numbers = np.zeros(SHAPE, np.int16)
    numbers[1:3, 2:4, 2:6] = 5
    numbers[4:5, 5:7, 1:9] = 92
    return numbers


def grid_of(path):
    from fluoro.volume.open_ct import open_ct

    return open_ct(path).grid


def config_of(path, **keys):
    keys.setdefault("names", "totalsegmentator")
    return VolumeConfig(path=path, labels=LabelsConfig(path=path, **keys))


def test_totalsegmentator_has_117_classes_by_number_and_name():
    known = totalsegmentator()
    assert sorted(known) == list(range(1, 118))
    assert len({each.name for each in known.values()}) == 117
    names = {n: known[n].name for n in (1, 5, 31, 50, 52, 79, 92, 103, 104, 117)}
    assert names == {
        1: "spleen", 5: "liver", 31: "vertebrae_L1", 50: "vertebrae_C1", 52: "aorta",
        79: "spinal_cord", 92: "rib_left_1", 103: "rib_left_12", 104: "rib_right_1",
        117: "costal_cartilages",
    }  # fmt: skip
    assert len({each.colour for each in known.values()}) == 117
    for each in known.values():
        material(each.material)


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        ([5, "spleen"], [5, 1]),
        (["rib_left_*"], list(range(92, 104))),
        (["bone"], [*range(25, 51), *range(69, 79), 91, *range(92, 117)]),
        (["heart", 51], [51]),
    ],
)
def test_structures_are_selected_by_number_name_pattern_and_group(wanted, numbers):
    assert [each.number for each in selected(wanted, totalsegmentator(), "k")] == numbers


def test_names_come_from_yaml_and_csv(tmp_path):
    (tmp_path / "a.yaml").write_text("3: liver\n4: my screw\n")
    (tmp_path / "b.csv").write_text("id,structure\n3,liver\n4,my screw\n")
    for name in ("a.yaml", "b.csv"):
        found = read_names(tmp_path / name)
        assert {n: each.name for n, each in found.items()} == {3: "liver", 4: "my screw"}
        assert found[3].group == "organ"


def test_labels_lie_on_the_grid_of_the_volume(tmp_path):
    path = write_labels(tmp_path, two_blocks())
    labels = load_labels(config_of(path), grid_of(path))
    assert [each.name for each in labels.structures] == ["liver", "rib_left_1"]
    np.testing.assert_array_equal(labels.label_zyx, (two_blocks() == 5) + 2 * (two_blocks() == 92))
    np.testing.assert_allclose(labels.volumes_mm3(), [16 * 6, 16 * 6])


def test_a_voxel_takes_the_label_of_the_nearest_voxel_of_another_grid():
    rng = np.random.default_rng(3)
    values = rng.integers(0, 200, (5, 6, 7)).astype(np.uint8)
    grid = VolumeGrid(
        shape_zyx=(5, 6, 7), spacing_xyz_mm=(1.5, 2.0, 2.5), origin_xyz_mm=(3.0, -4.0, 5.0),
        direction=((0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, -1.0)),
    )  # fmt: skip
    wanted = VolumeGrid(
        shape_zyx=(9, 8, 9), spacing_xyz_mm=(1.1, 1.3, 1.7), origin_xyz_mm=(-9.0, -4.0, -6.0)
    )
    found = nearest_on_grid(values, grid, wanted)
    index = np.stack(np.indices(wanted.shape_zyx)[::-1]).reshape(3, -1)
    placed = wanted.world_from_index @ np.vstack([index, np.ones(index.shape[1])])
    x, y, z = np.floor((grid.index_from_world @ placed)[:3] + 0.5).astype(int)
    inside = (x >= 0) & (x < 7) & (y >= 0) & (y < 6) & (z >= 0) & (z < 5)
    expected = np.zeros(inside.shape, np.uint8)
    expected[inside] = values[z[inside], y[inside], x[inside]]
    np.testing.assert_array_equal(found.ravel(), expected)
    assert inside.sum() > 100


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"names": None}, "volume.labels.names: must say what the numbers of"),
        ({"structures": ["livre"]}, "there is no structure 'livre'; is liver meant?"),
        ({"structures": [5, 300]}, "volume.labels.structures: there is no label 300; there are 1"),
        ({"structures": ["spleen"]}, "volume.labels: no voxel of the volume has a label"),
        ({"structures": ["spleen", 5]}, "spleen (label 1) has no voxel in the volume"),
        ({"names": {7: "screw"}}, "none of the labels of"),
    ],
)
def test_labels_that_cannot_be_used_are_refused_in_one_line(tmp_path, keys, line):
    path = write_labels(tmp_path, two_blocks())
    with pytest.raises(InputError) as caught:
        load_labels(config_of(path, **keys), grid_of(path))
    assert line in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_labels_elsewhere_are_refused(tmp_path):
    path = write_labels(tmp_path, two_blocks())
    far = replace(grid_of(path), origin_xyz_mm=(500.0, 0.0, 0.0))
    with pytest.raises(InputError, match=r"does not overlap with the volume: it lies from \("):
        load_labels(config_of(path), far)


def test_more_than_255_structures_are_refused(tmp_path):
    numbers = np.arange(480).reshape(SHAPE)
    path = write_labels(tmp_path, numbers)
    names = {n: f"part {n}" for n in range(1, 480)}
    with pytest.raises(InputError, match=r"must be at most 255 of the 479"):
        load_labels(config_of(path, names=names), grid_of(path))
    some = load_labels(config_of(path, names=names, structures=list(range(1, 256))), grid_of(path))
    assert len(some.structures) == 255
    assert some.counts().tolist() == [1] * 255


def test_values_that_are_no_labels_are_refused(tmp_path):
    path = write_labels(tmp_path, two_blocks() - 1)
    with pytest.raises(InputError, match=r"must be whole numbers from 0 to 65535, got -1"):
        load_labels(config_of(path), grid_of(path))


def volume_of(path, mu=0.02):
    grid = grid_of(path)
    return MuVolume(mu_zyx=np.full(grid.shape_zyx, mu, np.float32), grid=grid)


def test_structures_alone_are_in_the_beam_and_bone_attenuates_more(tmp_path):
    path = write_labels(tmp_path, two_blocks())
    volume = volume_of(path)
    shaped = shaped_by_labels(
        volume, config_of(path, render=["rib_*"], bone_attenuation_multiplier=2.0)
    )
    np.testing.assert_allclose(shaped.mu_zyx, np.where(two_blocks() == 92, 0.04, 0.0), rtol=1e-6)
    assert shaped_by_labels(volume, config_of(path)) is volume


def test_edges_of_what_is_rendered_are_soft_on_request(tmp_path):
    path = write_labels(tmp_path, two_blocks())
    volume = volume_of(path)
    crisp, soft = (
        shaped_by_labels(volume, config_of(path, render=["rib_*"], soft_edge_mm=edge)).mu_zyx
        for edge in (0.0, 3.0)
    )
    assert set(np.unique(crisp)) == {np.float32(0), np.float32(0.02)}
    between = (soft > 0.001) & (soft < 0.019)
    assert between.sum() > 20
    assert soft[crisp > 0].mean() > soft[crisp == 0].mean()
    with pytest.raises(ValueError, match="has no effect without render"):
        LabelsConfig(path=path, names="totalsegmentator", soft_edge_mm=3.0)


def test_a_structure_of_another_material_keeps_its_ct_number(tmp_path):
    path = write_labels(tmp_path, two_blocks())
    volume = volume_of(path, mu=float(material("water").mu_per_mm(70.0)))
    config = VolumeConfig(
        path=path,
        labels=LabelsConfig(path=path, names="totalsegmentator", materials={"bone": "titanium"}),
    )
    made = material_volume(config, volume)
    (solid,) = made.inclusions
    inside = two_blocks() == 92
    left = made.volume.mu_zyx / volume.mu_zyx
    np.testing.assert_allclose(left, np.where(inside, 0.0, 1.0), atol=1e-6)
    mu = solid.share_zyx.max() * solid.material.mu_per_mm(70.0)
    water = material("water").mu_per_mm(70.0) / volume.water_mu_per_mm
    assert mu == pytest.approx(float(volume.mu_zyx[0, 0, 0]) * water, rel=1e-5)
    assert solid.filled_zyx().sum() == inside.sum()


def test_the_thorax_phantom_names_its_parts_and_landmarks():
    config = VolumeConfig(phantom="thorax", spacing_mm=(4.0, 4.0, 4.0), labels=LabelsConfig())
    from fluoro.volume.load import load_volume

    volume = load_volume(config)
    labels = load_labels(config, volume.grid)
    names = {each.name: n for n, each in enumerate(labels.structures, 1)}
    assert {"heart", "aorta", "liver", "vertebrae_T5", "rib_left_3", "lung_right"} <= set(names)
    hu = 1000 * (volume.mu_zyx / volume.water_mu_per_mm - 1)
    mean = {name: float(hu[labels.label_zyx == n].mean()) for name, n in names.items()}
    assert mean["lung_left"] < -700
    assert mean["vertebrae_T8"] > 200
    assert 0 < mean["liver"] < 100
    index = volume.grid.index_from_world @ [*thorax_landmarks()["T8 body"], 1.0]
    x, y, z = np.rint(index[:3]).astype(int)
    assert labels.label_zyx[z, y, x] == names["vertebrae_T8"]


def test_inspect_lists_structures_with_volume_and_box(tmp_path):
    path = write_labels(tmp_path, two_blocks())
    head, liver, _ = label_lines(load_labels(config_of(path), grid_of(path)))
    assert head.startswith("labels:")
    assert "5  liver" in liver
    assert "0.1 ml" in liver
    matrix = grid_of(path).world_from_index
    ends = [(matrix @ [*index, 1])[:3].round(1) for index in ((1.5, 1.5, 0.5), (5.5, 3.5, 2.5))]
    text = " to ".join("(" + ", ".join(f"{v:.5g}" for v in end) + ")" for end in ends)
    assert text in liver


STAND_IN = """#!{python}
import sys
import SimpleITK as sitk
image = sitk.ReadImage(sys.argv[1])
labels = sitk.Cast(image > 300, sitk.sitkUInt8) * {number}
{more}
sitk.WriteImage(labels, sys.argv[2])
"""


def stand_in(folder, number=92, more=""):
    """A program that calls dense voxels a rib, in the place of a network."""
    program = folder / "labeller"
    program.write_text(STAND_IN.format(python=sys.executable, number=number, more=more))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return f"{program} {{ct}} {{labels}}"


def ct_file(folder):
    hu = np.full(SHAPE, -1000, "<i2")
    hu[2:4, 3:5, 2:7] = 700
    path = folder / "ct.mha"
    path.write_bytes(meta_bytes(hu, DimSize="10 8 6"))
    return path


def test_segment_keeps_what_a_program_labels_for_auto(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FLUORO_CACHE_DIR", str(tmp_path / "cache"))
    path = ct_file(tmp_path)
    config = volume_config({"path": str(path), "labels": "auto"})
    with pytest.raises(InputError, match=r"there are no labels of .* yet; run `app.py segment"):
        load_labels(config, grid_of(path))
    assert app.main(["segment", str(path), "--command", stand_in(tmp_path)]) == 0
    assert "volume.labels: auto" in capsys.readouterr().out
    labels = load_labels(config, grid_of(path))
    assert [each.name for each in labels.structures] == ["rib_left_1"]
    assert labels.counts().tolist() == [20]


@pytest.mark.parametrize(
    ("number", "more", "line"),
    [
        (200, "", "labels must be classes 1 to 117 of TotalSegmentator, got 200"),
        (92, "labels = labels[1:]", "its labels must be on the grid of the CT"),
        (92, "sys.exit('no weights')", "failed with exit code 1: no weights"),
        (0, "", "labels must be classes 1 to 117 of TotalSegmentator, got none"),
    ],
)
def test_what_a_program_labels_wrong_is_not_kept(tmp_path, monkeypatch, number, more, line):
    from fluoro.volume.labels.segment import segment, segmented_path

    monkeypatch.setenv("FLUORO_CACHE_DIR", str(tmp_path / "cache"))
    config = VolumeConfig(path=ct_file(tmp_path))
    with pytest.raises(InputError) as caught:
        segment(config, stand_in(tmp_path, number, more))
    assert line in str(caught.value)
    with pytest.raises(InputError, match="there are no labels"):
        segmented_path(config)


def test_a_program_that_pip_has_installed_is_found_beside_the_interpreter(tmp_path, monkeypatch):
    from fluoro.volume.labels.segment import segment, segmented_path

    stand_in(tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("FLUORO_CACHE_DIR", str(tmp_path / "cache"))
    config = VolumeConfig(path=ct_file(tmp_path))
    segment(config, "labeller {ct} {labels}")
    assert segmented_path(config).is_file()


def test_a_program_that_is_not_installed_is_named(tmp_path):
    from fluoro.volume.labels.segment import segment

    with pytest.raises(InputError, match=r"no-such-program: there is no such program; install it"):
        segment(VolumeConfig(path=ct_file(tmp_path)), "no-such-program {ct} {labels}")


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("volume.labels={}", "volume.labels.path: must name a file"),
        ("volume.labels={names: totalsegmentator}", "volume.labels.names: has no effect without"),
        ("volume.labels={path: x.nii, materials: {5: steel}}", "needs image_chain.xray"),
        ("volume.labels={path: x.nii, structures: []}", "volume.labels.structures"),
        ("volume.labels={path: x.nii, materials: {5: cheese}}", "must be one of air, lung"),
    ],
)
def test_errors_in_the_section_are_one_line(setting, line):
    with pytest.raises(InputError) as caught:
        load_config(ROOT / "configs" / "chest_ct.yaml", [setting])
    assert line in str(caught.value)


def test_a_label_volume_refuses_labels_without_a_structure():
    grid = VolumeGrid(shape_zyx=(1, 1, 2), spacing_xyz_mm=(1.0, 1.0, 1.0))
    with pytest.raises(InputError, match=r"label_zyx must lie in \[0, 1\], got 2"):
        LabelVolume(
            structures=tuple(named({1: "a"}).values()),
            label_zyx=np.array([[[1, 2]]], np.uint8),
            grid=grid,
        )
