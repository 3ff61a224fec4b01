"""Slices of two acquisitions, phases or reconstructions never become one volume in silence."""

import logging
from dataclasses import replace

import numpy as np
import pytest

import app
from fluoro.config import ReadOptions, VolumeConfig
from fluoro.errors import InputError
from fluoro.volume.ct import Ct
from fluoro.volume.open_ct import open_ct
from tests import dicom_files as dicom
from tests.dicom_files import VolumeGrid

SHAPE = (12, 5, 6)
STEP_MM = 2.0
VESSEL, ENHANCED = 40, 400
"""CT numbers of the vessel without and with contrast agent."""


def phase(hu, z_mm=0.0, shape=SHAPE, step_mm=STEP_MM, **attributes):
    """Images of one set, from z_mm on; a list of values has one for each image."""
    grid = VolumeGrid(shape_zyx=shape, spacing_xyz_mm=(1, 1, step_mm), origin_xyz_mm=(0, 0, z_mm))
    images = dicom.slices(np.full(shape, hu, np.int16), grid)
    for z, image in enumerate(images):
        for keyword, value in attributes.items():
            setattr(image, keyword, value[z] if isinstance(value, list) else value)
    return images


def refusal(path, **options):
    """The line that refuses a folder, which is the same in both ways of reading."""
    lines = []
    for read in (Ct.volume, lambda ct: ct.planes):
        with pytest.raises(InputError) as caught:
            read(open_ct(path, ReadOptions(**options)))
        lines.append(str(caught.value))
    assert lines[0] == lines[1]
    assert "\n" not in lines[0]
    return lines[0]


def vessel(path, **options):
    """CT numbers along the vessel."""
    return open_ct(path, ReadOptions(**options)).volume().hu_zyx[:, 2, 2].tolist()


@pytest.mark.parametrize("gaps", ["refuse", "interpolate"])
@pytest.mark.parametrize("offset_mm", [0.03, 0.5, 0.7, 1.0, 1.3])
def test_two_acquisitions_between_each_others_slices_are_refused_and_chosen(
    tmp_path, offset_mm, gaps
):
    first = phase(VESSEL, AcquisitionNumber=1)
    second = phase(ENHANCED, offset_mm, AcquisitionNumber=2)
    folder = dicom.written(tmp_path, first + second)
    assert refusal(folder, gaps=gaps) == (
        f"{folder}: the images of several sets interleave along the patient; choose by "
        "AcquisitionNumber: 2 (12 images), 1 (12 images); for example volume.select: "
        "{AcquisitionNumber: '2'}"
    )
    assert vessel(folder, select={"AcquisitionNumber": "1"}) == [VESSEL] * 12
    assert vessel(folder, select={"AcquisitionNumber": "2"}) == [ENHANCED] * 12


@pytest.mark.parametrize(
    ("keyword", "first", "second"),
    [
        ("AcquisitionNumber", 1, 2),
        ("TemporalPositionIdentifier", 1, 2),
        ("NominalPercentageOfCardiacPhase", 30.0, 75.0),
        ("TriggerTime", "300", "750"),
        ("ImageType", ["ORIGINAL", "PRIMARY", "AXIAL"], ["DERIVED", "PRIMARY", "AXIAL"]),
        ("ConvolutionKernel", "B30f", "B70f"),
        ("SliceThickness", "2", "2.5"),
        ("KVP", "80", "140"),
        ("AcquisitionTime", "100000", "100035"),
        ("ImageComments", "30 %", "75 %"),
    ],
)
def test_every_attribute_that_distinguishes_sets_is_named_with_its_values(
    tmp_path, keyword, first, second
):
    def set_all(images, value):
        for image in images:
            setattr(image, keyword, value)
        return images

    images = set_all(phase(VESSEL), first) + set_all(phase(ENHANCED, 1.0), second)
    folder = dicom.written(tmp_path, images)
    values = ["\\".join(v) if isinstance(v, list) else str(v) for v in (first, second)]
    line = refusal(folder)
    assert f"interleave along the patient; choose by {keyword}: " in line
    assert all(f"{value} (12 images)" in line for value in values)
    assert vessel(folder, select={keyword: values[1]}) == [ENHANCED] * 12


def test_a_contrast_agent_that_only_one_set_names_distinguishes_them(tmp_path):
    images = phase(VESSEL) + phase(ENHANCED, 1.0, ContrastBolusAgent="IOHEXOL")
    folder = dicom.written(tmp_path, images)
    assert (
        "choose by ContrastBolusAgent: IOHEXOL (12 images), no value (12 images); for example "
        "volume.select: {ContrastBolusAgent: 'IOHEXOL'}" in refusal(folder)
    )
    assert vessel(folder, select={"ContrastBolusAgent": "IOHEXOL"}) == [ENHANCED] * 12
    assert vessel(folder, select={"ContrastBolusAgent": ""}) == [VESSEL] * 12


@pytest.mark.parametrize("offset_mm", [0.0, 1.5])
def test_two_multi_frame_files_of_one_series_are_chosen_by_file(tmp_path, offset_mm):
    """Only the file distinguishes them."""
    grid = replace(dicom.GRID, origin_xyz_mm=(10, 20, 30 + offset_mm))
    dicom.enhanced(tmp_path / "a.dcm", np.full((4, 5, 6), VESSEL))
    file = dicom.enhanced(tmp_path / "b.dcm", np.full((4, 5, 6), ENHANCED), grid)
    line = refusal(tmp_path)
    assert "choose by SOPInstanceUID: " in line
    uid = dicom.dcmread(file).SOPInstanceUID
    assert f"{uid} (4 images)" in line
    assert vessel(tmp_path, select={"SOPInstanceUID": uid}) == [ENHANCED] * 4


def test_many_time_points_are_listed_in_part(tmp_path):
    images = []
    for number in range(10):
        images += phase(number, 0.2 * number, (4, 3, 3), TemporalPositionIdentifier=number + 1)
    folder = dicom.written(tmp_path, images)
    line = refusal(folder)
    assert "choose by TemporalPositionIdentifier: 10 (4 images)" in line
    assert "and 2 more values" in line
    chosen = open_ct(folder, ReadOptions(select={"TemporalPositionIdentifier": "7"})).volume()
    assert (chosen.hu_zyx == 6).all()


def test_the_attribute_with_the_longest_sets_is_named(tmp_path):
    """Two phases in three acquisitions each: an acquisition is a third of the volume."""
    images = []
    for number, hu in enumerate((VESSEL, ENHANCED)):
        acquisitions = [1 + 3 * number + z // 4 for z in range(12)]
        cardiac = (30, 75)[number]
        images += phase(hu, 1.0 * number, AcquisitionNumber=acquisitions,
                        NominalPercentageOfCardiacPhase=cardiac)  # fmt: skip
    folder = dicom.written(tmp_path, images)
    assert "choose by NominalPercentageOfCardiacPhase: " in refusal(folder)
    select = {"NominalPercentageOfCardiacPhase": "75"}
    assert vessel(folder, select=select) == [ENHANCED] * 12


def test_one_slice_of_another_acquisition_among_those_of_a_whole_one_is_refused(tmp_path):
    images = phase(VESSEL) + phase(ENHANCED, 9.0, (1, 5, 6), AcquisitionNumber=2)
    folder = dicom.written(tmp_path, images)
    assert "choose by AcquisitionNumber: " in refusal(folder)
    assert vessel(folder, select={"AcquisitionNumber": "1"}) == [VESSEL] * 12


def test_a_thick_reconstruction_among_thin_slices_is_refused(tmp_path):
    images = phase(VESSEL) + phase(ENHANCED, 0.9, (5, 5, 6), 5.0, SliceThickness=5)
    assert "choose by SliceThickness: " in refusal(dicom.written(tmp_path, images))


@pytest.mark.parametrize(
    "attributes",
    [
        {"AcquisitionNumber": [1] * 4 + [2] * 4 + [3] * 4},
        {"AcquisitionNumber": list(range(12))},
        {"AcquisitionNumber": [1] * 6 + [2] + [1] * 5},
        {"AcquisitionTime": [f"1000{z:02}.5" for z in range(12)]},
        {"AcquisitionTime": [f"1000{z // 4:02}" for z in range(12)]},
        {"TriggerTime": [602] * 4 + [598] * 4 + [602] * 4},
        {"TriggerTime": [600, 611, 604, 600, 607, 602, 611, 609, 604, 606, 608, 601]},
        {"IrradiationEventUID": [f"1.2.{z // 3}" for z in range(12)]},
        {"PatientID": [], "ImageComments": [f"slice {z}" for z in range(12)]},
    ],
    ids=["blocks", "each", "one repeated", "own times", "times of blocks", "heart beats", "jitter",
         "events", "comments"],
)  # fmt: skip
def test_sets_that_follow_each_other_are_one_volume(tmp_path, caplog, attributes):
    attributes = {keyword: values for keyword, values in attributes.items() if values}
    folder = dicom.written(tmp_path, phase(VESSEL, **attributes))
    assert vessel(folder) == [VESSEL] * 12
    assert not caplog.records


def test_positions_rounded_in_the_orientation_are_no_sets(tmp_path):
    turned = [["1", "0", "0", "0", "1", f"{z % 2 * 1e-6:.7f}"] for z in range(12)]
    folder = dicom.written(tmp_path, phase(VESSEL, ImageOrientationPatient=turned))
    assert vessel(folder) == [VESSEL] * 12


def test_a_stretch_with_another_contrast_is_read_and_reported(tmp_path, caplog):
    agent = [""] * 7 + ["IOHEXOL"] * 5
    folder = dicom.written(tmp_path, phase(VESSEL, ContrastBolusAgent=agent))
    assert vessel(folder) == [VESSEL] * 12
    line = "the images differ in ContrastBolusAgent: no value (7 images), IOHEXOL (5 images)"
    assert line in caplog.text


def test_several_values_may_be_taken_as_one_volume(tmp_path):
    images = phase(VESSEL, AcquisitionNumber=1) + phase(ENHANCED, 1.0, AcquisitionNumber=2)
    images += phase(0, 0.5, AcquisitionNumber=3)
    folder = dicom.written(tmp_path, images)
    config = VolumeConfig(path=folder, select={"AcquisitionNumber": [1, 2.0]})
    assert config.select == {"AcquisitionNumber": ("1", "2.0")}
    hu = open_ct(folder, config).volume()
    assert hu.hu_zyx[:, 2, 2].tolist() == [VESSEL, ENHANCED] * 12


@pytest.mark.parametrize(
    ("given", "line"), [([], "got []"), (None, "got null"), (True, "got true")]
)
def test_what_cannot_be_selected_is_one_error(tmp_path, capsys, given, line):
    path = tmp_path / "a.yaml"
    text = {None: "null", True: "true"}.get(given if given != [] else 0, "[]")
    path.write_text(f"volume: {{path: x, select: {{KVP: {text}}}}}\npose_source: {{kind: static}}")
    assert app.main(["validate", str(path)]) == 2
    (complaint,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("fluoro: ")]
    assert complaint.endswith(
        f"volume.select.KVP: must be text, a number, or a list of these, {line}"
    )


@pytest.mark.parametrize("gaps", ["refuse", "interpolate"])
def test_alternating_slices_without_any_attribute_are_refused(tmp_path, gaps):
    folder = dicom.written(tmp_path, phase(VESSEL) + phase(ENHANCED, 0.7))
    assert "slices are 0.700 and 1.300 mm apart alternately" in refusal(folder, gaps=gaps)


def test_the_commands_refuse_two_phases_and_read_the_chosen_one(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FLUORO_OUTPUT_DIR", str(tmp_path / "out"))
    folder = tmp_path / "ct"
    images = phase(VESSEL, AcquisitionNumber=1) + phase(ENHANCED, 1.0, AcquisitionNumber=2)
    dicom.written(folder, images)
    assert app.main(["inspect", str(folder)]) == 2
    assert "choose by AcquisitionNumber" in " ".join(capsys.readouterr().err.split())
    chosen = ["--set", "volume.select={AcquisitionNumber: 2}"]
    assert app.main(["inspect", str(folder), *chosen]) == 0
    assert f"{ENHANCED} to {ENHANCED} HU" in capsys.readouterr().out


def test_the_log_is_quiet_for_one_set(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        open_ct(dicom.written(tmp_path, phase(VESSEL))).volume()
    assert not caplog.records
