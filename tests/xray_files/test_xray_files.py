"""X-ray images in DICOM, written to the standard's text, become values, geometry and poses."""

import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from fluoro.config import CarmConfig
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.registration.config import load_register_config
from fluoro.registration.register_run import run_register
from fluoro.registration.xray_target import read_xray_target
from fluoro.rendering.renderer import DrrRenderer
from fluoro.xray_files import xray_file
from fluoro.xray_files.carm_config import completed_carm
from fluoro.xray_files.header import is_xray_file
from fluoro.xray_files.report import report_lines
from fluoro.xray_files.subtraction import Subtraction
from fluoro.xray_files.xray_file import XrayFile
from tests import dicom_files
from tests.registration_support import device, thorax
from tests.session_support import QuietReporter
from tests.support import require_program
from tests.xray_dicom import enhanced, item, ramp, saved, xray
from tools.check.fuzz_readers import SharedReader

# isort: split

import app

ISOCENTER = {
    "PositionerIsocenterPrimaryAngle": 30.0,
    "PositionerIsocenterSecondaryAngle": -20.0,
    "PositionerIsocenterDetectorRotationAngle": 0.0,
    "TableXPositionToIsocenter": 0.0,
    "TableYPositionToIsocenter": 0.0,
    "TableZPositionToIsocenter": 0.0,
    "TableHorizontalRotationAngle": 0.0,
    "TableHeadTiltAngle": 0.0,
    "TableCradleTiltAngle": 0.0,
}


@pytest.fixture(scope="module", autouse=True)
def _one_decoder():
    """One decoding process for all tests."""
    with pytest.MonkeyPatch.context() as patch, SharedReader() as shared:
        patch.setattr(xray_file, "FrameReader", lambda: shared)
        yield
        shared.close()


def read(folder, ds, number=1):
    """A frame of a dataset that is written."""
    return XrayFile(saved(folder, ds)).frame(number)


def geometry(folder, ds, number=1):
    """The geometry of a frame of a dataset that is written."""
    return XrayFile(saved(folder, ds)).geometry(number)


def notes(folder, ds, kind=None):
    """What reading every frame of a dataset leaves open."""
    file = XrayFile(saved(folder, ds))
    for _ in file.read(1, file.count):
        pass
    return [text for what, text in file.notes if kind in (None, what)]


def groups(**isocenter):
    """One frame's functional groups."""
    return {
        "IsocenterReferenceSystemSequence": ISOCENTER | isocenter,
        "XRayGeometrySequence": {
            "DistanceSourceToDetector": 1180,
            "DistanceSourceToIsocenter": 765.0,
        },
        "FramePixelDataPropertiesSequence": {
            "ImagerPixelSpacing": [0.4, 0.4],
            "PixelIntensityRelationship": "LIN",
        },
    }


# Values


def test_every_pixel_of_every_frame_is_where_the_file_has_it(tmp_path):
    stored = ramp(frames=3)
    file = XrayFile(saved(tmp_path, xray(stored=stored)))
    for frame, expected in zip(file.read(1, 3), stored, strict=True):
        assert np.array_equal(frame.values, expected)
        assert frame.mask.all()


@pytest.mark.parametrize(
    ("kind", "attributes", "expected"),
    [
        ("XA", {}, ("raw", 1, None)),
        ("XA", {"PixelIntensityRelationship": "DISP"}, ("display", 1, "bone_dark")),
        ("XA", {"PixelIntensityRelationship": "LOG"}, ("log", -1, None)),
        ("DX", {"PixelIntensityRelationship": "LOG", "PixelIntensityRelationshipSign": -1},
         ("log", 1, None)),
        ("DX", {"PixelIntensityRelationship": "LIN", "PixelIntensityRelationshipSign": 1},
         ("raw", 1, None)),
        ("DX", {"PixelIntensityRelationship": "LIN", "PixelIntensityRelationshipSign": -1},
         ("display", 1, "bone_bright")),
        ("CR", {}, ("display", 1, "bone_bright")),
        ("CR", {"PhotometricInterpretation": "MONOCHROME1"}, ("display", 1, "bone_dark")),
        ("XRF", {"PixelIntensityRelationship": "DISP"}, ("display", 1, "bone_dark")),
        ("SC", {}, ("display", 1, "bone_dark")),
    ],
)  # fmt: skip
def test_the_relationship_says_what_the_values_are(tmp_path, kind, attributes, expected):
    meaning = read(tmp_path, xray(kind, **attributes)).meaning
    assert (meaning.kind, meaning.sign, meaning.polarity) == expected


def test_a_logarithm_with_a_modality_lut_is_intensity(tmp_path):
    lut = np.arange(4096, dtype=np.uint16)[::-1] * 3
    sequence = item(LUTDescriptor=[4096, 0, 16], ModalityLUTType="US", LUTData=lut.tobytes())
    ds = xray(PixelIntensityRelationship="LOG", ModalityLUTSequence=sequence)
    frame = read(tmp_path, ds)
    assert frame.meaning.kind == "raw"
    assert np.array_equal(frame.values, lut[ramp()[0]])


def test_rescale_and_unused_bits(tmp_path):
    stored = ramp() | 0xF000
    frame = read(tmp_path, xray(stored=stored, RescaleSlope=2, RescaleIntercept=-10))
    assert np.array_equal(frame.values, ramp()[0] * 2.0 - 10)
    assert frame.saturation == 4095 * 2 - 10


def test_a_lut_that_is_cut_short_is_named(tmp_path):
    sequence = item(LUTDescriptor=[4096, 0, 16], LUTData=bytes(100))
    with pytest.raises(InputError, match=r"xa\.dcm: .*ModalityLUTSequence .*4096 entries"):
        read(tmp_path, xray(PixelIntensityRelationship="LOG", ModalityLUTSequence=sequence))


@pytest.mark.parametrize("name", ["Collimator", "Shutter"])
def test_a_rectangle_leaves_what_lies_between_its_edges(tmp_path, name):
    edges = {
        f"{name}Shape": "RECTANGULAR",
        f"{name}LeftVerticalEdge": 2,
        f"{name}RightVerticalEdge": 8,
        f"{name}UpperHorizontalEdge": 1,
        f"{name}LowerHorizontalEdge": 5,
    }
    mask = read(tmp_path, xray(**edges)).mask
    expected = np.zeros((6, 8), bool)
    expected[1:4, 2:7] = True  # columns 3 to 7 and rows 2 to 4, counted from 1
    assert np.array_equal(mask, expected)


def test_a_circle_and_a_polygon_leave_what_is_inside_both(tmp_path):
    mask = read(
        tmp_path,
        xray(
            stored=ramp(rows=40, columns=50),
            ShutterShape=["CIRCULAR", "POLYGONAL"],
            CenterOfCircularShutter=[20, 25],
            RadiusOfCircularShutter=10,
            VerticesOfThePolygonalShutter=[0, 25, 0, 60, 60, 60, 60, 25],
        ),
    ).mask
    assert mask[19, 30]
    assert not mask[19, 20]  # left of the polygon
    assert not mask[19, 40]  # beyond the circle
    assert abs(mask.sum() - np.pi * 100 / 2) < 15


def test_padding_is_masked(tmp_path):
    stored = ramp()
    stored[0, 2, 3] = 0
    frame = read(tmp_path, xray(stored=stored, PixelPaddingValue=0))
    assert not frame.mask[2, 3]
    assert frame.mask.sum() == frame.mask.size - 1


def test_a_mask_frame_is_subtracted_as_its_module_says(tmp_path):
    stored = np.full((4, 6, 8), 2000, np.uint16)
    stored[3, 2, 5] = 1000  # contrast agent
    sequence = item(MaskOperation="AVG_SUB", MaskFrameNumbers=[1, 2])
    file = XrayFile(saved(tmp_path, xray(stored=stored, MaskSubtractionSequence=sequence)))
    found = Subtraction(file).of(4, file.frame(4))
    assert found[2, 5] == pytest.approx(np.log(2))
    assert np.count_nonzero(found) == 1
    plain = XrayFile(saved(tmp_path, xray()))
    assert Subtraction(plain).of(1, plain.frame(1)) is None


def test_a_mask_that_is_not_there_is_named(tmp_path):
    sequence = item(MaskOperation="AVG_SUB", MaskFrameNumbers=[9, 2])
    file = XrayFile(saved(tmp_path, xray(stored=ramp(3), MaskSubtractionSequence=sequence)))
    with pytest.raises(InputError, match=r"MaskFrameNumbers \(0028,6110\) must be 1 to 3"):
        Subtraction(file).of(3, file.frame(3))


# Times


def test_frame_times(tmp_path):
    three = ramp(3)
    plain = XrayFile(saved(tmp_path, xray(stored=three))).times_s
    assert np.allclose(plain, [0, 0.0667, 0.1334])
    vector = xray(stored=three, FrameTime=None, FrameTimeVector=[0, 50, 100])
    assert np.allclose(XrayFile(saved(tmp_path, vector)).times_s, [0, 0.05, 0.15])
    cine = XrayFile(saved(tmp_path, xray(stored=three, FrameTime=None, CineRate=30))).times_s
    assert np.allclose(cine, [0, 1 / 30, 2 / 30])
    stamps = [
        {"FrameContentSequence": {"FrameReferenceDateTime": f"2026010112000{k}.5"}} | groups()
        for k in (0, 1, 4)
    ]
    assert XrayFile(saved(tmp_path, enhanced(three, frames=stamps))).times_s == (0, 1, 4)


# Geometry


def test_lengths_and_detector_are_the_tags(tmp_path):
    found = geometry(tmp_path, xray(stored=ramp(rows=60, columns=80)))
    assert found.carm() == CarmGeometry(
        source_to_detector_mm=1200,
        source_to_isocenter_mm=780,
        detector_width_px=80,
        detector_height_px=60,
        pixel_spacing_mm=0.308,
    )


@pytest.mark.parametrize(
    ("primary", "secondary", "direction"),
    [
        (0, 0, (0, -1, 0)),  # the detector before the chest
        (90, 0, (1, 0, 0)),  # LAO: at the patient's left
        (-90, 0, (-1, 0, 0)),  # RAO
        (0, 90, (0, 0, 1)),  # cranial: at the head
        (0, -90, (0, 0, -1)),
        (180, 0, (0, 1, 0)),  # behind the back
    ],
)
def test_the_detector_stands_where_the_standard_has_it(tmp_path, primary, secondary, direction):
    ds = xray(PositionerPrimaryAngle=primary, PositionerSecondaryAngle=secondary)
    pose = geometry(tmp_path, ds).pose
    *_, to_source, _ = pose.axes((0, 0, 0))
    assert np.allclose(-np.array(to_source), direction, atol=1e-12)


def test_increments_are_relative_to_the_first_frame(tmp_path):
    ds = xray(
        stored=ramp(3),
        PositionerMotion="DYNAMIC",
        PositionerPrimaryAngleIncrement=[0, 1.5, 3],
        PositionerSecondaryAngleIncrement=[0, -1, -2],
        TableMotion="DYNAMIC",
        TableLongitudinalIncrement=[0, 4, 8],
        TableLateralIncrement=[0, 5, 10],
        TableVerticalIncrement=[0, 6, 12],
    )
    pose = geometry(tmp_path, ds, 3).pose
    # the table moves to the patient's left, to the head and down: the C-arm the other way
    assert pose == CarmPose(lao_deg=33, cra_deg=-22, translation_mm=(-8, -12, -10))


def test_down_is_in_front_of_a_patient_who_lies_prone(tmp_path):
    ds = xray(stored=ramp(2), PatientPosition="HFP", TableVerticalIncrement=[0, 6])
    assert geometry(tmp_path, ds, 2).pose.translation_mm == (0, 6, 0)


@pytest.mark.parametrize(("primary", "secondary"), [(0, 0), (8, 0), (0, -5), (8, -5), (-20, 15)])
def test_detector_angles_are_those_of_the_beam_against_the_panel(tmp_path, primary, secondary):
    ds = xray(DetectorPrimaryAngle=primary, DetectorSecondaryAngle=secondary)
    carm = geometry(tmp_path, ds).carm()
    pose = CarmPose(lao_deg=30, cra_deg=-20)
    view = carm.view(pose, (0, 0, 0))
    u, v = view.column_step_xyz_mm, view.row_step_xyz_mm
    *_, to_source, _ = pose.axes((0, 0, 0))
    beam, normal = -np.array(to_source), -np.cross(u, v) / np.linalg.norm(np.cross(u, v))
    across, up, along = beam @ u / 0.308, -beam @ v / 0.308, beam @ normal
    assert np.degrees(np.arctan2(across, along)) == pytest.approx(primary, abs=1e-9)
    assert np.degrees(np.arctan2(up, along)) == pytest.approx(secondary, abs=1e-9)


def test_the_isocentre_reference_system_gives_the_whole_pose(tmp_path):
    frame = groups(
        PositionerIsocenterDetectorRotationAngle=7.0,
        TableXPositionToIsocenter=3.0,
        TableYPositionToIsocenter=4.0,
        TableZPositionToIsocenter=-5.0,
    )
    found = geometry(tmp_path, enhanced(frames=[frame], PatientPosition="HFS"))
    assert found.pose.lao_deg == pytest.approx(30)
    assert found.pose.cra_deg == pytest.approx(-20)
    assert found.pose.roll_deg == pytest.approx(7)
    assert found.pose.translation_mm == pytest.approx((-3, -4, 5))
    assert (found.source_to_detector_mm, found.source_to_isocenter_mm) == (1180, 765)


def matrices_of_part_17(primary, secondary, rotation):
    """Rows: the positioner's axes in the isocentre's (PS3.17 Z.2, from the text's directions)."""
    (c1, s1), (c2, s2), (c3, s3) = (
        (np.cos(a), np.sin(a)) for a in np.radians([primary, secondary, rotation])
    )
    first = np.array([[c1, s1, 0], [-s1, c1, 0], [0, 0, 1]])
    second = np.array([[1, 0, 0], [0, c2, -s2], [0, s2, c2]])
    third = np.array([[c3, 0, -s3], [0, 1, 0], [s3, 0, c3]])
    return third @ second @ first


@pytest.mark.parametrize("angles", [(30, -20, 7), (-75, 12, -90), (120, 40, 15)])
def test_the_positioners_axes_are_those_of_part_17(tmp_path, angles):
    names = ("Primary", "Secondary", "DetectorRotation")
    given = {f"PositionerIsocenter{n}Angle": float(a) for n, a in zip(names, angles, strict=True)}
    pose = geometry(tmp_path, enhanced(frames=[groups(**given)], PatientPosition="HFS")).pose
    u, v, to_source, _ = pose.axes((0, 0, 0))
    assert np.allclose([u, to_source, -np.array(v)], matrices_of_part_17(*angles), atol=1e-6)


def test_a_table_that_is_turned_turns_the_patient_with_it(tmp_path):
    # head end towards +X of the room by 90 degrees: the patient's head is where the room's left is
    frame = groups(
        PositionerIsocenterPrimaryAngle=90.0,
        PositionerIsocenterSecondaryAngle=0.0,
        TableHorizontalRotationAngle=90.0,
    )
    pose = geometry(tmp_path, enhanced(frames=[frame], PatientPosition="HFS")).pose
    *_, to_source, _ = pose.axes((0, 0, 0))
    assert np.allclose(-np.array(to_source), (0, 0, 1), atol=1e-6)  # the detector is at the head


@pytest.mark.parametrize(
    ("position", "direction"),
    [("HFS", (1, 0, 0)), ("HFP", (-1, 0, 0)), ("FFS", (-1, 0, 0)), ("FFP", (1, 0, 0))],
)
def test_room_angles_become_the_patients_by_how_the_patient_lies(tmp_path, position, direction):
    given = {"PositionerIsocenterPrimaryAngle": 90.0, "PositionerIsocenterSecondaryAngle": 0.0}
    ds = enhanced(frames=[groups(**given)], PatientPosition=position)
    *_, to_source, _ = geometry(tmp_path, ds).pose.axes((0, 0, 0))
    assert np.allclose(-np.array(to_source), direction, atol=1e-6)


def test_patients_angles_that_differ_from_the_rooms_are_contradictory(tmp_path):
    angles = {"PositionerPrimaryAngle": 10, "PositionerSecondaryAngle": 0}
    frame = groups() | {"PositionerPositionSequence": angles}
    reported = notes(tmp_path, enhanced(frames=[frame], PatientPosition="HFS"), "contradictory")
    assert reported == [
        "the isocentre reference system gives 30 / -20, the patient's angles 10 / 0: the former "
        "counts"
    ]


def test_the_isocentres_projection_is_the_detectors_offset(tmp_path):
    # rows first: the ray lands 2 elements below and 1 to the left of the middle of 8 x 6 pixels
    ds = enhanced(frames=[groups()], PositionOfIsocenterProjection=[3 + 2 - 0.5, 4 - 1 - 0.5])
    carm = geometry(tmp_path, ds).carm()
    assert carm.central_pixel_uv == pytest.approx((3, 5))


def test_a_field_of_view_that_was_flipped_and_turned_is_turned_back(tmp_path):
    upright = ramp()[0]
    stored = np.fliplr(np.rot90(upright, -1))  # clockwise, then flipped
    field = {"FieldOfViewRotation": 90, "FieldOfViewHorizontalFlip": "YES"}
    ds = enhanced(stored.copy(), frames=[groups() | {"FieldOfViewSequence": field}])
    frame = read(tmp_path, ds)
    assert np.array_equal(frame.values, upright)
    assert frame.geometry.size_px == (8, 6)


@pytest.mark.parametrize(
    ("letters", "as_stored", "reported"),
    [
        (("L", "F"), lambda image: image, None),
        (("R", "F"), np.fliplr, "mirrored"),
        (("R", "H"), lambda image: np.rot90(image, 2), "turned by 180"),
        (("L", "H"), np.flipud, "mirrored and turned by 180"),
        (("F", "R"), lambda image: np.rot90(image, 1), "turned by 270"),
        (("LP", "FL"), lambda image: image, None),
    ],
)
def test_the_patients_orientation_turns_the_image(tmp_path, letters, as_stored, reported):
    upright = ramp()[0]
    ds = xray(
        stored=as_stored(upright).copy(),
        PatientOrientation=list(letters),
        PositionerPrimaryAngle=10,
        PositionerSecondaryAngle=5,
    )
    assert np.array_equal(read(tmp_path, ds).values, upright)
    assert any(f"the image is {reported}" in text for text in notes(tmp_path, ds)) == bool(reported)


# What is missing, assumed, contradictory


@pytest.mark.parametrize(
    ("attributes", "kind", "reported"),
    [
        ({"DistanceSourceToDetector": None}, "missing",
         "DistanceSourceToDetector (0018,1110); give carm.source_to_detector_mm"),
        ({"DistanceSourceToPatient": None}, "missing",
         "DistanceSourceToPatient (0018,1111); give carm.source_to_isocenter_mm"),
        ({"DistanceSourceToPatient": None, "EstimatedRadiographicMagnificationFactor": 1.6},
         "assumed", "source to isocentre 750 mm, from the magnification"),
        ({"EstimatedRadiographicMagnificationFactor": 1.2}, "contradictory",
         "EstimatedRadiographicMagnificationFactor (0018,1114) is 1.2, the distances give 1.538: "
         "the distances count"),
        ({"DistanceSourceToPatient": 1300}, "contradictory",
         "the isocentre, 1300 mm from the source, is not before the detector at 1200 mm: give "
         "carm.source_to_isocenter_mm"),
        ({"ImagerPixelSpacing": None}, "missing",
         "ImagerPixelSpacing (0018,1164); give carm.pixel_spacing_mm"),
        ({"ImagerPixelSpacing": None, "FieldOfViewDimensions": 200}, "assumed",
         "pixels of 25 mm, from FieldOfViewDimensions (0018,1149)"),
        ({"ImagerPixelSpacing": [0.3, 0.4]}, "contradictory",
         "ImagerPixelSpacing (0018,1164): rows 0.3 mm apart, columns 0.4 mm: only square pixels "
         "are read; resample the image"),
        ({"FieldOfViewDimensions": 200}, "contradictory",
         "FieldOfViewDimensions (0018,1149) gives pixels of 25 mm, ImagerPixelSpacing (0018,1164) "
         "0.308 mm, which counts: is the image binned?"),
        ({"PositionerPrimaryAngle": None}, "missing",
         "PositionerPrimaryAngle (0018,1510); give registration.start.pose, or the pose source's "
         "pose"),
        ({"PositionerPrimaryAngle": 200}, "contradictory",
         "PositionerPrimaryAngle (0018,1510) is 200, beyond 180 degrees: taken as it is"),
        ({"PositionerPrimaryAngleIncrement": [0, 1]}, "contradictory",
         "PositionerPrimaryAngleIncrement (0018,1520) has 2 values for 1 frames: give the poses "
         "by hand"),
        ({"PositionerMotion": "DYNAMIC"}, "contradictory",
         "PositionerMotion (0018,1500) is DYNAMIC, but no increments say how: taken as static"),
        ({"PixelIntensityRelationship": "DISP"}, "assumed",
         "bone_dark, as XA is usually shown; target.polarity says otherwise"),
    ],
)  # fmt: skip
def test_the_report_says_what_is_open(tmp_path, attributes, kind, reported):
    assert reported in notes(tmp_path, xray(**attributes), kind)


def test_the_yaml_counts_more_than_the_file_and_says_what_it_lacks(tmp_path):
    found = geometry(tmp_path, xray(DistanceSourceToPatient=None))
    given = CarmConfig(source_to_isocenter_mm=700, detector_offset_mm=(1, 2))
    carm = completed_carm(Path("xa.dcm"), given, found)
    assert (carm.source_to_detector_mm, carm.source_to_isocenter_mm) == (1200, 700)
    assert carm.detector_offset_mm == (1, 2)
    with pytest.raises(InputError, match=r"xa\.dcm: .* give carm\.source_to_isocenter_mm$"):
        completed_carm(Path("xa.dcm"), CarmConfig(), found)


# Bad input


def test_other_images_are_refused_by_name(tmp_path):
    dicom_files.series(tmp_path / "ct")
    first = min((tmp_path / "ct").iterdir())
    with pytest.raises(InputError, match="is no X-ray image but CT Image Storage; must be XA"):
        XrayFile(first)
    assert not is_xray_file(first)
    with pytest.raises(InputError, match="secondary capture of modality US; an X-ray image has XA"):
        XrayFile(saved(tmp_path, xray("SC", Modality="US")))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"SamplesPerPixel": 3}, r"SamplesPerPixel \(0028,0002\) must be 1 \(no colour\)"),
        ({"Rows": None}, r"Rows \(0028,0010\) is missing"),
        ({"Rows": 7}, r"its pixels cannot be read"),
        ({"BitsStored": 20}, r"BitsStored \(0028,0101\) must be a whole number from 1 to 16"),
    ],
)
def test_bad_pixels_are_one_line(tmp_path, change, match):
    with pytest.raises(InputError, match=rf"xa\.dcm: .*{match}") as refused:
        read(tmp_path, xray(**change))
    assert "\n" not in str(refused.value)


def test_truncated_pixels_are_refused(tmp_path):
    path = saved(tmp_path, xray(stored=ramp(3)))
    path.write_bytes(path.read_bytes()[:-20])
    file = XrayFile(path)
    with pytest.raises(InputError, match=r"xa\.dcm: its pixels cannot be read"):
        list(file.read(1, 3))


def test_a_video_is_refused_with_what_to_do(tmp_path):
    ds = xray()
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"
    ds.PixelData = pydicom.encaps.encapsulate([b"\0" * 100])
    with pytest.raises(InputError, match=r"are a video \(MPEG-4.*export the frames uncompressed"):
        XrayFile(saved(tmp_path, ds))


def test_frames_are_counted_from_1(tmp_path):
    file = XrayFile(saved(tmp_path, xray(stored=ramp(3))))
    for number in (0, 4):
        with pytest.raises(InputError, match=f"numbered 1 to 3; there is no frame {number}"):
            file.frame(number)


# Other programs


PACKAGES = {"dcmc": "dcmtk", "gdcm": "libgdcm-tools"}
REWRITTEN = [
    ("dcmconv", ["--write-xfer-little"]),
    ("dcmconv", ["--write-xfer-implicit"]),
    ("dcmconv", ["--write-xfer-big"]),
    ("dcmconv", ["--write-xfer-deflated"]),
    ("dcmcrle", []),
    ("dcmcjpeg", ["+e1"]),
    ("dcmcjpeg", ["+el"]),
    ("dcmcjpls", ["+el"]),
    ("gdcmconv", ["--raw"]),
    ("gdcmconv", ["--jpeg"]),
    ("gdcmconv", ["--jpegls"]),
    ("gdcmconv", ["--j2k"]),
    ("gdcmconv", ["--rle"]),
]


@pytest.mark.parametrize(("program", "options"), REWRITTEN, ids=lambda value: "".join(value))
def test_what_other_programs_rewrite_reads_the_same(tmp_path, program, options):
    run = require_program(program, package=PACKAGES[program[:4]])
    plain = saved(tmp_path, xray(stored=ramp(2, 32, 40), PositionerPrimaryAngleIncrement=[0, 2]))
    written = tmp_path / "rewritten.dcm"
    subprocess.run([run, *options, str(plain), str(written)], check=True, capture_output=True)
    before, after = XrayFile(plain), XrayFile(written)
    for a, b in zip(before.read(1, 2), after.read(1, 2), strict=True):
        assert np.array_equal(a.values, b.values)
        assert a.geometry == b.geometry


def test_lossy_jpeg_of_8_bits_is_close(tmp_path):
    run = require_program("dcmcjpeg", package="dcmtk")
    # from 0 to 255, because dcmcjpeg stretches the values to the whole range
    smooth = np.tile(np.linspace(0, 255, 40), (1, 32, 1)).astype(np.uint8)
    plain, written = saved(tmp_path, xray(stored=smooth)), tmp_path / "lossy.dcm"
    command = [run, "+eb", "--quality", "95", str(plain), str(written)]
    subprocess.run(command, check=True, capture_output=True)
    assert np.abs(XrayFile(written).frame(1).values - smooth[0]).max() <= 4


@pytest.mark.parametrize("name", ["6154", "6247", "6278"])
def test_the_computed_radiographs_that_pydicom_carries_are_read(name):
    folder = Path(pydicom.__file__).parent / "data/test_files/dicomdirtests"
    (path,) = folder.rglob(name)
    file = XrayFile(path)
    frame = file.frame(1)
    assert file.header.kind == "CR"
    ds = pydicom.dcmread(path)
    assert np.allclose(frame.values, ds.pixel_array * ds.RescaleSlope + ds.RescaleIntercept)
    assert any(kind == "missing" for kind, _ in file.notes)


# Through the programs


def radiograph(folder, pose):
    """An XA file of the thorax: its intensity, seen from the source's side."""
    lengths = {"source_to_detector_mm": 1200.0, "source_to_isocenter_mm": 900.0}
    carm = CarmGeometry(
        **lengths, detector_width_px=96, detector_height_px=80, pixel_spacing_mm=4.0
    )
    volume = thorax()
    view = carm.view(pose, volume.grid.center_xyz_mm)
    integrals = device().to_host(DrrRenderer(volume, device()).render(view))
    stored = np.clip(3800 * np.exp(-integrals), 1, 4095).astype(np.uint16)
    ds = xray(
        stored=stored[:, ::-1].copy(),
        DistanceSourceToPatient=900,
        ImagerPixelSpacing=[4, 4],
        PositionerPrimaryAngle=18,
        PositionerSecondaryAngle=6,
        PatientOrientation=["R", "F"],
    )
    return saved(folder, ds)


def register_config(folder, *overrides):
    """A registration of xa.dcm in the folder."""
    path = folder / "register.yaml"
    path.write_text(
        "volume: {phantom: thorax, spacing_mm: 3}\n"
        "target: {path: xa.dcm}\n"
        "registration: {multi_start: {starts: 8}, widths_px: [24, 48, 96]}\n"
        f"run: {{output_dir: {folder / 'out'}, name: found, animation: false}}\n"
    )
    return load_register_config(path, overrides)


class Silent(QuietReporter):
    def iteration(self, number, step, mtre_mm):
        pass


def test_register_starts_from_a_mirrored_angiogram_alone(tmp_path):
    pose = CarmPose(lao_deg=20, cra_deg=8, roll_deg=3, translation_mm=(6.0, -4.0, 9.0))
    radiograph(tmp_path, pose)
    outcome = run_register(register_config(tmp_path), "xa", Silent())
    found = outcome.facts["pose"]
    assert outcome.facts["converged"]
    assert found["lao_deg"] == pytest.approx(20, abs=0.1)
    assert found["cra_deg"] == pytest.approx(8, abs=0.1)
    assert found["translation_mm"] == pytest.approx([6, -4, 9], abs=0.5)
    assert any("the image is mirrored" in note for note in outcome.facts["target_notes"])


def test_register_says_what_to_give_by_hand(tmp_path):
    saved(tmp_path, xray(PositionerPrimaryAngle=None))
    with pytest.raises(
        InputError, match=r"does not say its angles: give registration\.start\.pose"
    ):
        read_xray_target(register_config(tmp_path))
    saved(tmp_path, xray(stored=ramp(4)))
    with pytest.raises(InputError, match=r"holds 4 frames: give target\.frame"):
        read_xray_target(register_config(tmp_path))
    with pytest.raises(InputError, match="there is no frame 12"):
        read_xray_target(register_config(tmp_path, "target.frame=12"))


def test_what_the_yaml_says_of_the_values_counts(tmp_path):
    saved(tmp_path, xray(stored=ramp(rows=60, columns=80)))
    assert read_xray_target(register_config(tmp_path)).target().i0 is not None
    shown = register_config(tmp_path, "target.kind=display", "target.polarity=bone_dark")
    assert read_xray_target(shown).target().i0 is None


def test_a_dicom_file_without_its_suffix_needs_a_frame(tmp_path):
    saved(tmp_path, xray(), "IM0001")
    given = (f"target.path={tmp_path / 'IM0001'}", 'registration.start.pose={"lao_deg": 0}')
    config = register_config(tmp_path, *given)
    with pytest.raises(InputError, match=r"is a DICOM file: give target\.frame"):
        run_register(config, "xa", Silent())
    assert read_xray_target(register_config(tmp_path, *given, "target.frame=1"))


def test_inspect_shows_facts_and_an_image(tmp_path, capsys):
    path = saved(tmp_path, xray(stored=ramp(2, 32, 40), KVP=80, ShutterShape=["POLYGONAL"],
                                VerticesOfThePolygonalShutter=[0, 0, 0, 20, 40, 20]))  # fmt: skip
    path_png = tmp_path / "frame.png"
    assert app.main(["inspect", str(path), "--frame", "2", "--image", str(path_png)]) == 0
    told = capsys.readouterr().out
    assert "X-ray intensity (LIN)" in told
    assert "LAO 30 / CAU 20" in told
    assert "80 kV" in told
    assert "covered by collimator, shutter or padding" in told
    with Image.open(path_png) as image:
        assert min(image.size) > 500
    for number in ("0", "3"):
        assert app.main(["inspect", str(path), "--frame", number]) == 2
        assert f"there is no frame {number}" in capsys.readouterr().err
    assert app.main(["inspect", str(tmp_path / "none.dcm"), "--frame", "1"]) == 2
    assert "none.dcm: there is no such file" in capsys.readouterr().err


def test_the_report_names_what_moves(tmp_path):
    ds = xray(stored=ramp(2), PositionerPrimaryAngleIncrement=[0, 2], TableLateralIncrement=[0, 5])
    file = XrayFile(saved(tmp_path, ds))
    text = "\n".join(report_lines(file, file.frame(1)))
    assert "LAO 30 / CAU 20 (30, -20 degrees); primary 30 to 32\n" in text
    assert "(0, 0, 0) to (0, 0, -5) mm" in text
