"""A recording in DICOM: valid by dciodvfy, opened by others, and back to the same poses."""

import dataclasses
import subprocess

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from fluoro.config import Config, RecorderConfig
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.imaging.exposure.dose_meter import DoseTotal, Exposure, Pulse
from fluoro.imaging.exposure.tube import TubeSetting
from fluoro.imaging.frame import FluoroFrame
from fluoro.recording.formats import dicom_frames
from fluoro.recording.formats.dicom_frames import DicomFrames
from fluoro.recording.recorder import Recorder
from fluoro.xray_files import xray_file
from fluoro.xray_files.recorded import Recording
from fluoro.xray_files.tilt import detector_angles_deg, tilt_from_detector_angles_deg
from fluoro.xray_files.xray_file import XrayFile
from tests.support import require_program
from tools.check.fuzz_readers import SharedReader

OBJECTS = ("XA", "XRF", "enhanced_xa")
CENTER_MM = (10.0, -20.0, 1234.5)
GEOMETRY = CarmGeometry(
    source_to_detector_mm=1198.7,
    source_to_isocenter_mm=785.25,
    detector_width_px=40,
    detector_height_px=30,
    pixel_spacing_mm=0.616,
    detector_offset_mm=(3.1, -2.2),
    detector_tilt_deg=(1.5, -2.5),
)
POSES = [
    CarmPose(lao_deg=-31.2345 + 2 * k, cra_deg=12.3456 - k, roll_deg=-4.5 + k,
             translation_mm=(11.111 + k, -22.222, 33.333 - 2 * k))
    for k in range(4)
]  # fmt: skip
TUBE = TubeSetting(tube_voltage_kv=82, charge_mas=0.4, pulse_width_ms=8.0)


@pytest.fixture(scope="module", autouse=True)
def _one_decoder():
    """One decoding process for all tests."""
    with pytest.MonkeyPatch.context() as patch, SharedReader() as shared:
        patch.setattr(xray_file, "FrameReader", lambda: shared)
        yield
        shared.close()


def config(**sections):
    """A run's configuration, with the keys that the writers read."""
    recorder = {"formats": ["dicom"], "dicom": sections.pop("dicom", {})}
    document = {
        "volume": {"phantom": "thorax"} | sections.pop("volume", {}),
        "pose_source": {"kind": "static"},
        "recorder": recorder,
    }
    return Config.model_validate(document | sections)


def image(number=0, geometry=GEOMETRY):
    """An image that is neither its mirror image nor its inverse."""
    y, x = np.mgrid[: geometry.detector_height_px, : geometry.detector_width_px]
    values = 0.1 + 0.8 * np.exp(-((x - 9 - number) ** 2 + (y - 20) ** 2) / 40)
    return values.astype(np.float32)


def frames(poses=POSES, geometry=GEOMETRY, tube=TUBE):
    """Frames of a run, 15 a second."""
    for number, pose in enumerate(poses):
        total = DoseTotal(
            pulses=number + 1,
            beam_s=(number + 1) / 15,
            kerma_area_mgycm2=2.5 * (number + 1),
            reference_kerma_mgy=0.03,
        )
        yield FluoroFrame(
            image=image(number, geometry),
            number=number,
            pose=pose,
            geometry=geometry,
            stamps_ns={},
            exposure=Exposure(pulse=Pulse(dose_ngy=5, tube=tube), total=total) if tube else None,
        )


def record(folder, given, recorded, center=CENTER_MM):
    """The files of a run."""
    recording = Recording.of(given, "run", center)
    writer = DicomFrames(folder, recording, 15, dose_report=given.recorder.dicom.dose_report)
    for frame in recorded:
        writer.write(frame)
    writer.close()
    return folder / "frames.dcm"


def complaints(path):
    """Errors of dciodvfy."""
    program = require_program("dciodvfy", package="dicom3tools")
    done = subprocess.run([program, "-new", str(path)], capture_output=True, text=True)
    assert "Image" in done.stderr or "SR" in done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith(("Error", "Abort"))]


def same_pose(found, pose, *, mm=1e-2):
    """Whether two poses agree to 1e-3 degrees and a number of millimetres."""
    angles = np.subtract((found.lao_deg, found.cra_deg, found.roll_deg),
                         (pose.lao_deg, pose.cra_deg, pose.roll_deg))  # fmt: skip
    moved = np.subtract(found.translation_mm, pose.translation_mm)
    return np.abs(angles).max() < 1e-3 and np.abs(moved).max() < mm


@pytest.mark.parametrize(
    ("kind", "bits"), [("XA", 8), ("XA", 12), ("XA", 16), ("XRF", 8), ("enhanced_xa", 12)]
)
def test_a_recording_comes_back_with_its_pixels_geometry_and_poses(tmp_path, kind, bits):
    given = config(dicom={"object": kind, "bits": bits})
    file = XrayFile(record(tmp_path, given, frames()))
    assert file.count == len(POSES)
    assert np.allclose(file.times_s, np.arange(4) / 15, atol=1e-5)
    for number, frame in enumerate(file.read(1, 4)):
        assert same_pose(frame.geometry.pose, POSES[number])
        assert frame.geometry.isocenter_xyz_mm == CENTER_MM
        back = frame.geometry.carm()
        for field in dataclasses.fields(CarmGeometry):
            if field.name != "flex":
                expected = getattr(GEOMETRY, field.name)
                tilted = field.name == "detector_tilt_deg" and kind == "enhanced_xa"
                expected = (0, 0) if tilted else expected  # it has no attribute there
                assert getattr(back, field.name) == pytest.approx(expected, abs=1e-3)
        shown = frame.values / (2**bits - 1)
        assert np.abs(shown - image(number)).max() <= 0.51 / (2**bits - 1)
        assert frame.meaning.kind == "display"
        assert frame.meaning.polarity == given.image_chain.polarity
    assert not [text for kind_, text in file.notes if kind_ != "assumed"]


@pytest.mark.parametrize("kind", OBJECTS)
def test_standard_attributes_alone_give_the_pose_as_far_as_they_go(tmp_path, kind):
    path = record(tmp_path, config(dicom={"object": kind}), frames())
    ds = pydicom.dcmread(path)
    ds.remove_private_tags()
    ds.save_as(path)
    file = XrayFile(path)
    for number, pose in enumerate(POSES, 1):
        found = file.geometry(number).pose
        if kind != "enhanced_xa":  # no roll, and translations from the first frame
            moved = np.subtract(pose.translation_mm, POSES[0].translation_mm)
            pose = dataclasses.replace(pose, roll_deg=0.0, translation_mm=tuple(moved))
        assert same_pose(found, pose)


@pytest.mark.parametrize("position", ["HFP", "FFS", "FFP", "HFDL", "HFDR"])
def test_however_the_patient_lies_the_pose_is_the_patients(tmp_path, position):
    given = config(dicom={"object": "enhanced_xa"}, volume={"patient_position": position})
    path = record(tmp_path, given, frames())
    ds = pydicom.dcmread(path)
    ds.remove_private_tags()
    ds.save_as(path)
    file = XrayFile(path)
    for number, pose in enumerate(POSES, 1):
        assert same_pose(file.geometry(number).pose, pose)
    assert not complaints(path)


@pytest.mark.parametrize("change", ["mirrored", "inverted", "upside down"])
def test_the_round_trip_tells_a_mirrored_or_inverted_image(tmp_path, change):
    path = record(tmp_path, config(), frames())
    ds = pydicom.dcmread(path)
    values = ds.pixel_array
    changed = {
        "mirrored": values[:, :, ::-1],
        "inverted": 4095 - values,
        "upside down": values[:, ::-1],
    }[change]
    ds.PixelData = changed.tobytes()
    ds.save_as(path)
    back = XrayFile(path).frame(1).values / 4095
    assert np.abs(back - image(0)).max() > 0.5


@pytest.mark.parametrize("kind", OBJECTS)
@pytest.mark.parametrize("run", ["rotating", "static", "one frame", "no dose", "beam and blades"])
def test_dciodvfy_finds_no_error(tmp_path, kind, run):
    static = [dataclasses.replace(POSES[0], translation_mm=(0, 0, 0))] * 3
    chain = {
        "xray": {"tube_voltage_kv": 82, "copper_mm": 0.1},
        "collimator": {"kind": "iris", "diameter_mm": 15},
        "dsa": {"first_frame": 0},
    }
    given = config(
        dicom={"object": kind},
        **({"image_chain": chain} if run == "beam and blades" else {}),
    )
    recorded = {
        "static": frames(static),
        "one frame": frames(POSES[:1]),
        "no dose": frames(tube=None),
    }.get(run, frames())
    path = record(tmp_path, given, recorded)
    assert complaints(path) == []
    report = tmp_path / "dose.dcm"
    assert report.exists() == (run != "no dose")
    if report.exists():
        assert complaints(report) == []


def test_what_is_written_says_that_it_is_simulated(tmp_path):
    ds = pydicom.dcmread(record(tmp_path, config(), frames()))
    assert ds.ImageType[0] == "DERIVED"
    assert "Simulated" in ds.DerivationDescription
    assert "Simulated" in str(ds.PatientName)
    assert ds.KVP == 82
    assert ds.XRayTubeCurrent == 50
    assert ds.AveragePulseWidth == 8
    assert ds.Exposure == 2
    assert ds.ImageAndFluoroscopyAreaDoseProduct == pytest.approx(0.1)  # 10 mGy cm2
    assert ds.EntranceDoseInmGy == pytest.approx(0.03)


def test_intensity_shown_as_it_is_is_linear(tmp_path):
    chain = {"log": False, "window": {"level": 0.5, "width": 1.0}, "polarity": "bone_dark"}
    file = XrayFile(record(tmp_path, config(image_chain=chain), frames()))
    assert file.frame(1).meaning.kind == "raw"


def numbers(ds):
    """Values of a report's numbers by the code of their concept."""
    found = {}
    for each in ds.get("ContentSequence", []):
        if each.ValueType == "NUM":
            measured = each.MeasuredValueSequence[0]
            unit = measured.MeasurementUnitsCodeSequence[0].CodeValue
            found[each.ConceptNameCodeSequence[0].CodeValue] = (float(measured.NumericValue), unit)
        found |= numbers(each)
    return found


def test_the_dose_report_has_the_runs_dose(tmp_path):
    path = record(tmp_path, config(dicom={"object": "XRF"}), frames())
    report, first = pydicom.dcmread(tmp_path / "dose.dcm"), pydicom.dcmread(path)
    assert report.StudyInstanceUID == first.StudyInstanceUID
    found = numbers(report)
    assert found["113722"] == pytest.approx((10e-7, "Gy.m2"))
    assert found["113725"] == (3e-5, "Gy")
    assert found["113730"] == (pytest.approx(4 / 15), "s")
    assert found["113733"] == (82, "kV")
    assert found["113734"] == (50, "mA")
    assert found["112011"] == (pytest.approx(-31.2345), "deg")
    assert found["113750"] == (1198.7, "mm")


def test_other_programs_open_it(tmp_path):
    for kind in OBJECTS:
        folder = tmp_path / kind
        folder.mkdir()
        path = record(folder, config(dicom={"object": kind}), frames())
        array = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        assert np.array_equal(array, pydicom.dcmread(path).pixel_array)
        dump = require_program("dcmdump", package="dcmtk")
        subprocess.run([dump, "-q", str(path)], check=True, capture_output=True)
        image = require_program("dcmj2pnm", package="dcmtk")
        grey = folder / "frame.pgm"
        command = [image, "--frame", "2", "+Wm", "+op", str(path), str(grey)]
        subprocess.run(command, check=True, capture_output=True)
        assert grey.stat().st_size > 40 * 30
    reader = require_program("dsrdump", package="dcmtk")
    done = subprocess.run([reader, str(tmp_path / "XA/dose.dcm")], capture_output=True, text=True)
    assert "X-Ray Radiation Dose Report" in done.stdout
    assert done.returncode == 0


def test_what_a_file_cannot_say_begins_another(tmp_path, monkeypatch):
    zoomed = GEOMETRY.magnified(2)
    both = [*frames(), *frames(geometry=zoomed)]
    record(tmp_path, config(), both)
    files = [XrayFile(tmp_path / name) for name in ("frames.dcm", "frames-2.dcm")]
    assert [file.geometry(1).pixel_spacing_mm for file in files] == [0.616, 0.308]
    assert complaints(tmp_path / "frames-2.dcm") == []
    assert not list(tmp_path.glob("*.raw"))
    folder = tmp_path / "enhanced"
    folder.mkdir()
    whole = XrayFile(record(folder, config(dicom={"object": "enhanced_xa"}), both))
    assert whole.count == 8
    assert whole.geometry(8).pixel_spacing_mm == pytest.approx(0.308)
    assert whole.geometry(8).detector_offset_mm == pytest.approx((3.1, -2.2), abs=1e-3)
    monkeypatch.setattr(dicom_frames, "MOST_FRAMES", 3)
    short = tmp_path / "short"
    short.mkdir()
    record(short, config(), frames())
    assert [XrayFile(short / n).count for n in ("frames.dcm", "frames-2.dcm")] == [3, 1]


@pytest.mark.parametrize("tilt", [(0, 0), (3, 0), (0, -7), (12, 20), (-30, 45)])
def test_tilt_and_detector_angles_are_each_others_inverse(tilt):
    assert tilt_from_detector_angles_deg(*detector_angles_deg(tilt)) == pytest.approx(tilt)


def test_the_recorder_writes_the_format(tmp_path):
    given = config()
    recording = Recording.of(given, "run", CENTER_MM)
    with Recorder(tmp_path, given.recorder, 15, drop_when_full=False, dicom=recording) as recorder:
        for frame in frames():
            recorder.put(frame)
    assert XrayFile(tmp_path / "frames.dcm").count == 4


def test_keys_without_effect_are_refused():
    with pytest.raises(ValueError, match="has no effect without dicom in formats"):
        RecorderConfig(formats=("mp4",), dicom={"bits": 8})
