"""Distributions in the place of values: what they draw, and what is refused in one line."""

import json
import math
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import yaml

from fluoro.config.section import given_on_command_line
from fluoro.config.yaml_text import read_mapping
from fluoro.datasets.training.chance import Chance
from fluoro.datasets.training.config import is_dataset_file, load_dataset_file
from fluoro.datasets.training.distributions import DISTRIBUTIONS
from fluoro.datasets.training.sampling import Sampler, checked_config
from fluoro.datasets.training.schema import dataset_schema
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.converters.diffdrr import DiffdrrPose
from fluoro.paths import config_path

MANY = 4000


def draws(word, given, count=MANY):
    """Values of a distribution in as many frames."""
    kind = DISTRIBUTIONS[word].model_validate(given)
    return [kind.drawn(Chance(3, n, "key"), lambda value, _: value) for n in range(count)]


def written(folder, **sections):
    """A training set's file of the phantom."""
    document = {
        "dataset": {"frames": 12, "frames_per_case": 4, "frames_per_shard": 4},
        "volume": {"phantom": "thorax"},
        "pose_source": {"kind": "static"},
        **sections,
    }
    path = folder / "set.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def spec(folder, index, **sections):
    return Sampler(load_dataset_file(written(folder, **sections))).spec(index)


def test_uniform_numbers_fill_their_range_evenly():
    found = np.array(draws("$uniform", [-2, 6]))
    assert found.min() >= -2
    assert found.max() <= 6
    share, _ = np.histogram(found, bins=8, range=(-2, 6))
    assert share.min() > 0.85 * MANY / 8


def test_orders_of_magnitude_are_equally_likely():
    found = np.log10(draws("$log_uniform", [1, 1000]))
    assert np.mean(found) == pytest.approx(1.5, abs=0.05)
    assert np.std(found) == pytest.approx(3 / math.sqrt(12), abs=0.03)


def test_whole_numbers_include_both_ends():
    found = draws("$integer", [60, 63])
    assert all(isinstance(value, int) for value in found)
    assert {value: found.count(value) > 0.22 * MANY for value in set(found)} == dict.fromkeys(
        range(60, 64), True
    )


def test_normal_numbers_have_their_sigma_and_stay_within_their_ends():
    free = draws("$normal", {"mean": 10, "sigma": 2})
    assert np.mean(free) == pytest.approx(10, abs=0.1)
    assert np.std(free) == pytest.approx(2, abs=0.1)
    cut = draws("$normal", {"mean": 10, "sigma": 2, "within": [9, 10.5]})
    assert min(cut) >= 9
    assert max(cut) <= 10.5


def test_choices_come_as_often_as_their_weights_say():
    found = draws("$choice", {"of": ["a", "b", "c"], "weights": [6, 0, 2]})
    assert found.count("a") / MANY == pytest.approx(0.75, abs=0.03)
    assert "b" not in found


def test_files_come_each_in_its_turn(tmp_path):
    for name in ("b.nii", "a.nii", "c.txt"):
        (tmp_path / name).touch()
    volume = {"path": {"$files": "*.nii"}}
    paths = [spec(tmp_path, n, volume=volume).document["volume"]["path"] for n in range(0, 12, 4)]
    assert paths == ["a.nii", "b.nii", "a.nii"]


def test_directions_fill_a_cone_evenly():
    found = draws("$direction", {"lao_deg": 30, "cra_deg": 20, "within_deg": 40})

    def beam(lao_deg, cra_deg):
        lao, cra = math.radians(lao_deg), math.radians(cra_deg)
        return [math.sin(lao) * math.cos(cra), -math.cos(lao) * math.cos(cra), math.sin(cra)]

    cosines = np.array([beam(**each) for each in found]) @ beam(30, 20)
    assert cosines.min() >= math.cos(math.radians(40)) - 1e-12
    assert cosines.mean() == pytest.approx((1 + math.cos(math.radians(40))) / 2, abs=0.003)


def test_beam_of_the_angles_is_that_of_the_c_arm():
    view = CarmGeometry().view(CarmPose(lao_deg=30, cra_deg=20), (0, 0, 0))
    beam = -view.source_xyz_mm / np.linalg.norm(view.source_xyz_mm)
    (found,) = draws("$direction", {"lao_deg": 30, "cra_deg": 20, "within_deg": 1e-6}, 1)
    assert [found["lao_deg"], found["cra_deg"]] == pytest.approx([30, 20], abs=1e-5)
    assert beam[0] > 0  # to the patient's left, which the closed form above says too


def test_euler_angles_give_diffdrrs_view():
    rotation, shift = (20.0, -11.0, 7.0), (3.0, -4.0, 5.0)
    given = {
        "rotation_deg": [[a, a] for a in rotation],
        "shift_mm": [[s, s] for s in shift],
    }
    (found,) = draws("$euler", given, 1)
    carm = CarmGeometry(source_to_detector_mm=1000, source_to_isocenter_mm=700)
    pose = CarmPose(**{**found, "translation_mm": tuple(found["translation_mm"])})
    theirs = DiffdrrPose(
        rotation_deg=rotation,
        translation_mm=(shift[0], shift[1] - 700, shift[2]),
        orientation="PA",
        sdd_mm=1000,
        height_px=512,
        width_px=512,
        delx_mm=0.5,
        dely_mm=0.5,
    ).view()
    ours = carm.view(pose, (0, 0, 0))
    for name in ("source_xyz_mm", "corner_xyz_mm", "column_step_xyz_mm", "row_step_xyz_mm"):
        assert np.allclose(getattr(ours, name), getattr(theirs, name), atol=1e-9), name


def test_another_key_changes_no_other_draw(tmp_path):
    pose = {"kind": "static", "lao_deg": {"$uniform": [0, 90]}}
    alone = spec(tmp_path, 3, pose_source=pose).document
    chain = {"dose_ngy": {"$uniform": [1, 9]}}
    both = spec(tmp_path, 3, pose_source=pose, image_chain=chain).document
    assert alone["pose_source"] == both["pose_source"]
    assert alone["run"] == both["run"]


def test_frames_of_a_case_share_its_patient_and_spectrum_but_no_pose(tmp_path):
    sections = {
        "volume": {"phantom": "thorax", "spacing_mm": {"$uniform": [2, 4]}},
        "pose_source": {"kind": "static", "lao_deg": {"$uniform": [0, 90]}},
        "image_chain": {"xray": {"tube_voltage_kv": {"$integer": [60, 120]}}},
    }
    first, second, other = (spec(tmp_path, n, **sections).document for n in (4, 7, 8))
    for same in ("volume", "image_chain"):
        assert first[same] == second[same] != other[same]
    assert first["pose_source"] != second["pose_source"]
    assert first["run"] != second["run"]


def test_keys_beside_a_choice_belong_to_what_is_drawn(tmp_path):
    volume = {"$choice": [{"phantom": "thorax"}], "spacing_mm": 5}
    assert spec(tmp_path, 0, volume=volume).document["volume"] == {
        "phantom": "thorax",
        "spacing_mm": 5,
    }


def test_a_list_has_a_drawn_length_and_values_of_its_own(tmp_path):
    ball = {"kind": "ball", "center_mm": [{"$uniform": [0, 9]}, 0, 0]}
    found = spec(
        tmp_path,
        0,
        volume={"phantom": "thorax", "balls": {"$repeat": {"count": [3, 3], "of": ball}}},
    ).document["volume"]["balls"]
    assert len({each["center_mm"][0] for each in found}) == 3


def test_values_of_a_repeat_stand_beside_the_others_of_a_list(tmp_path):
    balls = ["first", {"$repeat": {"count": [2, 2], "of": {"$choice": ["x"]}}}, "last"]
    document = spec(tmp_path, 0, volume={"phantom": "thorax", "balls": balls}).document
    assert document["volume"]["balls"] == ["first", "x", "x", "last"]


def test_drawn_document_is_a_streams_file(tmp_path):
    file = load_dataset_file(written(tmp_path, carm={"pixel_spacing_mm": {"$uniform": [0.2, 2]}}))
    found = Sampler(file).spec(5)
    json.dumps(found.document)
    config = checked_config(found, tmp_path)
    assert config.run.frames == 1
    assert config.carm.pixel_spacing_mm == found.document["carm"]["pixel_spacing_mm"]


def test_time_may_be_drawn(tmp_path):
    dataset = {"frames": 3, "time_s": {"$uniform": [2, 3]}}
    assert 2 <= spec(tmp_path, 1, dataset=dataset).time_s <= 3


@pytest.mark.parametrize(
    ("sections", "line"),
    [
        ({"console": {}}, "console: has no effect on a training set"),
        ({"carm": {"pixel_spacing_mm": {"$uniforms": [1, 2]}}}, "unknown distribution $uniforms"),
        ({"carm": {"pixel_spacing_mm": {"$uniform": [2, 1]}}}, "carm.pixel_spacing_mm.$uniform"),
        ({"carm": {"binning": {"$integer": [1, 2.5]}}}, "carm.binning.$integer.high"),
        ({"carm": {"binning": {"$choice": []}}}, "carm.binning.$choice"),
        ({"carm": {"binning": {"$choice": [1], "$uniform": [1, 2]}}}, "one distribution"),
        ({"volume": {"path": {"$files": "*.nii"}}}, "no file matches *.nii"),
        ({"dataset": {"frames": 0}}, "dataset.frames: must be at least 1, got 0"),
        ({"dataset": {"frames": 9, "frames_per_case": 4, "frames_per_shard": 6}}, "a multiple"),
    ],
)
def test_bad_file_is_refused_in_one_line(tmp_path, sections, line):
    with pytest.raises(InputError) as error:
        load_dataset_file(written(tmp_path, **sections))
    assert line in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("sections", "line"),
    [
        ({"carm": {"pixel_spacing_mm": {"$uniform": [-2, -1]}}}, "carm.pixel_spacing_mm: must be"),
        ({"pose_source": {"kind": "console"}}, "console has no pose for a single frame"),
        ({"carm": {"$uniform": [1, 2], "binning": 1}}, "cannot have keys beside it"),
        ({"carm": {"$choice": [{"binning": 2}], "binning": 1}}, "stands beside it"),
    ],
)
def test_bad_draw_is_refused_in_one_line(tmp_path, sections, line):
    file = load_dataset_file(written(tmp_path, **sections))
    with pytest.raises(InputError) as error:
        checked_config(Sampler(file).spec(0), tmp_path)
    assert line in str(error.value)


def test_command_line_path_is_relative_to_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ct.nii").touch()
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    path = written(folder)
    file = load_dataset_file(path, ["volume.phantom=null", "volume.path=ct.nii"])
    assert file.document["volume"]["path"] == str(tmp_path / "ct.nii")
    assert given_on_command_line("x") == "x"


@pytest.mark.parametrize("key", ["dataset.frames=0", "carm.binning.$integer=[1, 2.5]", "sinks=1"])
def test_error_of_the_command_line_is_placed_there(tmp_path, key):
    with pytest.raises(InputError, match=f"^command line: {key.split('=')[0].split('.$')[0]}"):
        load_dataset_file(written(tmp_path), [key])


@pytest.mark.parametrize(
    ("sections", "fits"),
    [
        ({}, True),
        ({"carm": {"binning": {"$choice": [1, {"$integer": [2, 4]}]}}}, True),
        (
            {"carm": {"$choice": {"of": [{}, {"binning": 2}], "weights": [1, 2]}, "rows": None}},
            True,
        ),
        ({"dataset": {"frames": 3, "time_s": {"$uniform": [0, 3]}}}, True),
        ({"volume": {"path": {"$files": "*.nii"}}}, True),
        ({"carm": {"binning": {"$uniforms": [1, 2]}}}, False),
        ({"carm": {"binning": {"$integer": [1, 2, 3]}}}, False),
        ({"carm": {"binning": {"$choice": []}}}, False),
        ({"carm": {"binning": {"$choice": [{"$normal": {"mean": 3}}]}}}, False),
        ({"dataset": {"frames": 3, "time_s": {"$sometimes": 1}}}, False),
        ({"console": {}}, False),
    ],
)
def test_schema_knows_where_distributions_may_stand(sections, fits):
    validator = jsonschema.Draft202012Validator(dataset_schema())
    base = {
        "dataset": {"frames": 3},
        "volume": {"phantom": "thorax"},
        "pose_source": {"kind": "static"},
    }
    assert validator.is_valid({**base, **sections}) is fits


def test_shipped_file_fits_the_schema():
    jsonschema.validate(read_mapping(config_path(Path("dataset"))), dataset_schema())


def test_dataset_file_is_known_by_its_section(tmp_path):
    assert is_dataset_file(written(tmp_path))
