"""DICOM series are read right whatever their order, encoding and orientation, or refused."""

import logging
import shutil
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread, dcmwrite
from pydicom.data import get_testdata_file
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from fluoro.config import ReadOptions
from fluoro.errors import InputError
from fluoro.volume.formats.dicom import pixels
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.open_ct import open_ct
from tests import dicom_files as dicom
from tests.volume_files import ramp

LARGE = (np.arange(4 * 36 * 40).reshape(4, 36, 40) - 1000).astype(np.int16)
"""JPEG 2000's encoder needs 32 pixels."""
LARGE_GRID = VolumeGrid(shape_zyx=LARGE.shape, spacing_xyz_mm=(1.0, 2.0, 3.0))
COMPRESSED = [JPEGLossless, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless, RLELossless]


def refused(path, match, **options):
    with pytest.raises(InputError, match=match) as caught:
        open_ct(path, ReadOptions(**options)).volume()
    assert "\n" not in str(caught.value)


def same(hu, expected=None, grid=dicom.GRID):
    np.testing.assert_array_equal(hu.hu_zyx, ramp() if expected is None else expected)
    np.testing.assert_allclose(hu.grid.world_from_index, grid.world_from_index, atol=1e-6)


def plane_by_plane(path, options=None):
    planes = open_ct(path, options or ReadOptions()).planes
    return np.stack([plane.copy() for plane in planes.read(0, planes.grid.shape_zyx[0])])


# Order, encoding and rescale


def test_slices_are_ordered_by_position_whatever_their_names_and_numbers(tmp_path):
    def renumber(ds, z):
        ds.InstanceNumber = [3, 1, 4, 2][z]

    hu = open_ct(dicom.series(tmp_path, change=renumber)).volume()
    same(hu)
    assert hu.hu_zyx.dtype == np.int16
    assert hu.source == str(tmp_path)
    same(open_ct(dicom.enhanced(tmp_path / "one" / "file", order=[2, 0, 3, 1])).volume())


def test_planes_are_those_of_the_volume_wherever_they_start(tmp_path):
    path = dicom.series(tmp_path)
    np.testing.assert_array_equal(plane_by_plane(path), ramp())
    middle = [plane.copy() for plane in open_ct(path).slices(1, 3)]
    np.testing.assert_array_equal(middle, ramp()[1:3])


@pytest.mark.parametrize("syntax", COMPRESSED, ids=lambda uid: uid.keyword)
def test_compressed_series_and_multi_frame_files_are_read(tmp_path, syntax):
    folder = dicom.series(tmp_path / "series", LARGE, LARGE_GRID)
    for path in folder.iterdir():
        dicom.compressed(path, syntax)
    same(open_ct(folder).volume(), LARGE, LARGE_GRID)
    file = dicom.enhanced(tmp_path / "file.dcm", LARGE, LARGE_GRID, order=[2, 0, 3, 1])
    dicom.compressed(file, syntax)
    assert dcmread(file).file_meta.TransferSyntaxUID == syntax
    same(open_ct(file).volume(), LARGE, LARGE_GRID)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_other_encodings_of_the_attributes_are_read(tmp_path, syntax):
    images = dicom.slices()
    for ds in images:
        ds.file_meta.TransferSyntaxUID = syntax
    same(open_ct(dicom.written(tmp_path, images)).volume())


def test_the_other_byte_order_is_read(tmp_path):
    images = dicom.slices()
    for ds in images:
        ds.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
        ds["PixelData"].VR = "OW"
    tmp_path.mkdir(exist_ok=True)
    for z, ds in enumerate(images):
        dcmwrite(tmp_path / f"{z}.dcm", ds, little_endian=False, implicit_vr=False)
    same(open_ct(tmp_path).volume())


def test_the_rescale_of_each_slice_is_its_own_and_applied_once(tmp_path):
    def rescale(ds, z):
        ds.RescaleSlope, ds.RescaleIntercept = z + 1, -2000 + z
        stored = np.round((ramp()[z] + 2000 - z) / (z + 1)).astype(np.uint16)
        dicom.store(ds, stored)

    hu = open_ct(dicom.series(tmp_path, change=rescale)).volume()
    expected = [np.round((ramp()[z] + 2000 - z) / (z + 1)) * (z + 1) - 2000 + z for z in range(4)]
    np.testing.assert_array_equal(hu.hu_zyx, expected)
    assert hu.hu_zyx.dtype == np.int16


def test_a_fractional_rescale_gives_float32(tmp_path):
    def rescale(ds, z):
        ds.RescaleSlope = "0.5"

    hu = open_ct(dicom.series(tmp_path, change=rescale)).volume()
    assert hu.hu_zyx.dtype == np.float32
    np.testing.assert_array_equal(hu.hu_zyx, (ramp() + 1024) * 0.5 - 1024)


@pytest.mark.parametrize("bits", [12, 14, 16])
@pytest.mark.parametrize("dtype", [np.int16, np.uint16])
@pytest.mark.parametrize("shift", [0, 1])
def test_only_the_stored_bits_count(tmp_path, bits, dtype, shift):
    """Others may hold anything; the highest bit may lie above the lowest possible."""
    if bits + shift > 16:
        shift = 0
    signed = dtype is np.int16

    def narrow(ds, z):
        stored = (ramp()[z] if signed else ramp()[z] + 1024).astype(np.int64)
        word = ((stored & ((1 << bits) - 1)) << shift) | (0xA000 & ~(((1 << bits) - 1) << shift))
        dicom.store(ds, (word & 0xFFFF).astype(np.uint16).view(dtype), bits)
        ds.HighBit = bits - 1 + shift
        ds.RescaleIntercept = 0 if signed else -1024

    same(open_ct(dicom.series(tmp_path, change=narrow)).volume())


def test_eight_bits_are_read(tmp_path):
    def narrow(ds, z):
        dicom.store(ds, (np.arange(30).reshape(5, 6) + z).astype(np.uint8))

    hu = open_ct(dicom.series(tmp_path, change=narrow)).volume()
    expected = np.arange(30).reshape(5, 6) + np.arange(4)[:, None, None] - 1024
    np.testing.assert_array_equal(hu.hu_zyx, expected)


@pytest.mark.parametrize(
    ("value", "limit", "stored"),
    [(63536, None, 63536), (4000, 4002, 4001), (4002, 4000, 4001)],
)
def test_padding_becomes_air_and_is_counted(tmp_path, caplog, value, limit, stored):
    def pad(ds, z):
        values = (ramp()[z] + 1024).astype(np.uint16)
        values[0, :2] = stored
        dicom.store(ds, values)
        ds.PixelPaddingValue = value
        if limit is not None:
            ds.PixelPaddingRangeLimit = limit

    hu = open_ct(dicom.series(tmp_path, change=pad)).volume()
    expected = ramp()
    expected[:, 0, :2] = -1024
    np.testing.assert_array_equal(hu.hu_zyx, expected)
    assert "8 pixels of the padding value" in caplog.text


def test_signed_padding_beyond_the_stored_bits_becomes_air(tmp_path):
    def pad(ds, z):
        values = ramp()[z].astype(np.int16)
        values[4, 5] = -2000
        dicom.store(ds, values, bits_stored=12)
        ds.RescaleIntercept, ds.PixelPaddingValue = 0, -2000

    hu = open_ct(dicom.series(tmp_path, change=pad)).volume()
    assert (hu.hu_zyx[:, 4, 5] == -1024).all()


def test_monochrome1_has_the_same_ct_numbers(tmp_path):
    def invert(ds, z):
        ds.PhotometricInterpretation = "MONOCHROME1"

    same(open_ct(dicom.series(tmp_path, change=invert)).volume())


# Where the patient lies

COSINE, SINE = np.cos(np.radians(25)), np.sin(np.radians(25))
DIRECTIONS = {
    "axial": np.eye(3),
    "axial, feet first": np.diag([-1, 1, -1]),
    "prone": np.diag([-1, -1, 1]),
    "decubitus left": np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]]),
    "decubitus right": np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]]),
    "coronal": np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "sagittal": np.array([[0, 0, -1], [1, 0, 0], [0, -1, 0]]),
    "oblique": np.array([[COSINE, 0, SINE], [0, 1, 0], [-SINE, 0, COSINE]]),
}


@pytest.mark.parametrize("name", DIRECTIONS)
@pytest.mark.parametrize("multi_frame", [False, True])
def test_every_voxel_lies_where_its_image_says(tmp_path, name, multi_frame):
    rows = tuple(tuple(float(value) for value in row) for row in DIRECTIONS[name])
    grid = VolumeGrid(
        shape_zyx=(4, 5, 6),
        spacing_xyz_mm=(1.0, 2.0, 3.0),
        origin_xyz_mm=(-7.0, 8.0, 9.5),
        direction=rows,
    )
    write = dicom.enhanced if multi_frame else dicom.series
    same(open_ct(write(tmp_path / "ct", grid=grid)).volume(), grid=grid)


def test_slices_against_the_normal_are_turned_round(tmp_path):
    """Row cross column points to the feet: the first slice is the one nearest to the head."""
    grid = VolumeGrid(
        shape_zyx=(4, 5, 6),
        spacing_xyz_mm=(1.0, 2.0, 3.0),
        direction=((1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, 1.0)),
    )
    hu = open_ct(dicom.series(tmp_path, grid=grid)).volume()
    np.testing.assert_array_equal(hu.hu_zyx, ramp()[::-1])
    corner = hu.grid.world_from_index @ [0, 0, 3, 1]
    np.testing.assert_allclose(corner[:3], (0, 0, 0), atol=1e-9)
    assert np.linalg.det(hu.grid.direction) == pytest.approx(1)


# One series among several, and what is none


def two_series(folder):
    dicom.series(folder / "a")

    def second(ds, z):
        ds.SeriesNumber, ds.SeriesDescription = 7, "Lung"

    dicom.series(folder / "b" / "deep", ramp() + 5, change=second, series=f"{dicom.SERIES}.7")
    return folder


def test_several_series_are_listed_and_chosen_by_number_or_uid(tmp_path):
    two_series(tmp_path)
    uids = (dicom.SERIES, f"{dicom.SERIES}.7")
    refused(
        tmp_path,
        rf"2 series, choose one .*\(--series\): 4 'Ramp' \(4 images, {uids[0]}\); "
        rf"7 'Lung' \(4 images, {uids[1]}\)",
    )
    same(open_ct(tmp_path, ReadOptions(series="4")).volume())
    for wanted in ("7", uids[1]):
        hu = open_ct(tmp_path, ReadOptions(series=wanted)).volume()
        same(hu, ramp() + 5)
        assert "series 7 'Lung'" in hu.source
        files = open_ct(tmp_path, ReadOptions(series=wanted)).files
        assert {path.parent.name for path in files} == {"deep"}
    refused(tmp_path, "no series '8' among 4 'Ramp'", series="8")


def test_two_series_of_one_number_are_distinguished_by_uid(tmp_path):
    dicom.series(tmp_path / "a")
    dicom.series(tmp_path / "b", series=f"{dicom.SERIES}.9")
    refused(tmp_path, "2 series have the number 4, choose by UID", series="4")
    same(open_ct(tmp_path, ReadOptions(series=f"{dicom.SERIES}.9")).volume())


def test_junk_localisers_and_reports_are_left_out_and_reported(tmp_path, caplog):
    dicom.series(tmp_path)
    (tmp_path / "README.txt").write_text("x" * 500)
    (tmp_path / ".hidden.dcm").write_text("x")
    (tmp_path / "empty").touch()
    shutil.copy(get_testdata_file("DICOMDIR"), tmp_path / "DICOMDIR")
    for name in ("MR_small.dcm", "rtplan.dcm", "test-SR.dcm"):
        shutil.copy(get_testdata_file(name), tmp_path / name)

    def scout(ds, z):
        ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    dicom.written(tmp_path / "scout", dicom.slices(change=scout)[:1])
    capture = dicom.slices(sop_class=SecondaryCaptureImageStorage)[:1]
    dicom.written(tmp_path / "capture", capture)
    same(open_ct(tmp_path).volume())
    assert "left out: " in caplog.text
    for part in (
        "2 not DICOM",
        "1 localizer",
        "1 Secondary Capture Image Storage",
        "1 MR Image Storage",
        "1 RT Plan Storage",
    ):
        assert part in caplog.text


def test_a_folder_without_a_ct_says_what_is_there(tmp_path):
    shutil.copy(get_testdata_file("MR_small.dcm"), tmp_path / "MR_small.dcm")
    refused(tmp_path, r"holds no CT images \(HU\); left out: 1 MR Image Storage")
    refused(tmp_path / "MR_small.dcm", "holds no CT images")


def test_one_slice_is_no_volume(tmp_path):
    folder = dicom.written(tmp_path, dicom.slices()[:1])
    refused(folder, "one image alone is no volume")
    refused(next(folder.iterdir()), "is one slice; give the folder that holds its series")


def test_options_without_effect_are_refused(tmp_path):
    refused(dicom.series(tmp_path), "nifti_transform: has no effect", nifti_transform="sform")


# Positions


def without(folder, *missing):
    images = [ds for z, ds in enumerate(dicom.slices(TALL, TALL_GRID)) if z not in missing]
    return dicom.written(folder, images)


TALL = (np.arange(12)[:, None, None] * 100 + np.arange(20).reshape(4, 5)).astype(np.int16)
"""Linear along z, so that linear interpolation is exact."""
TALL_GRID = VolumeGrid(shape_zyx=TALL.shape, spacing_xyz_mm=(1.0, 1.0, 2.5))


def test_missing_slices_are_refused_with_their_places_or_interpolated(tmp_path, caplog):
    without(tmp_path, 3, 7, 8)
    refused(
        tmp_path,
        r"slices are missing at 5\.00 to 10\.00 mm, 15\.00 to 22\.50 mm along \(0, 0, 1\), spacing "
        r"2\.500 mm; volume\.gaps: interpolate fills them",
    )
    options = ReadOptions(gaps="interpolate")
    same(open_ct(tmp_path, options).volume(), TALL, TALL_GRID)
    assert "2 gaps filled: interpolated onto 12 slices of 2.500 mm" in caplog.text
    np.testing.assert_array_equal(plane_by_plane(tmp_path, options), TALL)
    part = [plane.copy() for plane in open_ct(tmp_path, options).slices(6, 10)]
    np.testing.assert_array_equal(part, TALL[6:10])


def test_one_missing_slice_of_four_is_a_gap(tmp_path):
    images = dicom.slices()
    refused(dicom.written(tmp_path, [*images[:2], images[3]]), r"missing at 33\.00 to 39\.00 mm")


def test_a_slice_that_is_no_longer_known_as_one_is_never_left_out(tmp_path):
    path = sorted(dicom.series(tmp_path).iterdir())[0]
    for keyword in (b"\x08\x00\x16\x00UI", b"\x02\x00\x02\x00UI"):
        raw = path.read_bytes()
        at = raw.index(keyword) + 10
        path.write_bytes(raw[:at] + b"3" + raw[at + 1 :])
        refused(tmp_path, f"{path.name}: is a damaged DICOM file: SOPClassUID .0008,0016. is '")
        path.write_bytes(raw)


def test_a_gap_that_is_too_wide_is_never_filled(tmp_path):
    images = dicom.slices(np.repeat(TALL, 2, axis=0), VolumeGrid(
        shape_zyx=(24, 4, 5), spacing_xyz_mm=(1.0, 1.0, 2.5)))  # fmt: skip
    dicom.written(tmp_path, images[:6] + images[-6:])
    refused(tmp_path, "too wide to be filled: 13.0 spacings", gaps="interpolate")


def at(*positions_mm):
    """A change that puts slices at other places."""

    def change(ds, z):
        ds.ImagePositionPatient = dicom.numbers((0, 0, positions_mm[z]))

    return change


def test_uneven_slices_are_resampled_linearly_and_reported(tmp_path, caplog):
    places = np.array([0, 2.4, 5.1, 7.5, 10.2, 12.5])
    hu_zyx = np.rint(places[:, None, None] * 40 + np.zeros((1, 4, 5))).astype(np.int16)
    folder = dicom.series(tmp_path, hu_zyx, change=at(*places))
    hu = open_ct(folder).volume()
    assert hu.grid.shape_zyx == (6, 4, 5)
    assert hu.grid.spacing_xyz_mm[2] == pytest.approx(2.5)
    expected = np.arange(6)[:, None, None] * 100 + np.zeros((1, 4, 5))
    np.testing.assert_allclose(hu.hu_zyx, expected, atol=0.5)
    assert "slices are 2.300 to 2.700 mm apart: interpolated onto 6 slices of 2.500" in caplog.text


def test_rounded_positions_are_even(tmp_path, caplog):
    hu = open_ct(
        dicom.series(tmp_path, TALL, change=at(*np.round(np.arange(12) * 0.625, 1)))
    ).volume()
    np.testing.assert_array_equal(hu.hu_zyx, TALL)
    assert hu.grid.spacing_xyz_mm[2] == pytest.approx(0.625, abs=0.005)
    assert not caplog.records


def test_slices_that_are_too_uneven_are_refused(tmp_path):
    dicom.series(tmp_path, TALL[:6], change=at(0, 5, 10, 11, 16, 21))
    refused(tmp_path, r"too uneven: 1\.000 to 5\.000 mm apart, median 5\.000 mm")


def test_thin_slices_before_thick_ones_are_read_where_gaps_are_interpolated(tmp_path, caplog):
    """As a head is scanned: 1.25 mm through the base of the skull, then 5 mm."""
    places = np.array([0, 1.25, 2.5, 3.75, 5, 10, 15, 20, 25, 30, 35, 40])
    hu_zyx = np.rint(places[:, None, None] * 8 + np.zeros((1, 4, 5))).astype(np.int16)
    folder = dicom.series(tmp_path, hu_zyx, change=at(*places))
    refused(folder, "too uneven: .*; volume.gaps: interpolate resamples onto the finer")
    hu = open_ct(folder, ReadOptions(gaps="interpolate")).volume()
    assert hu.grid.shape_zyx == (33, 4, 5)
    assert hu.grid.spacing_xyz_mm[2] == pytest.approx(1.25)
    expected = np.arange(33)[:, None, None] * 10 + np.zeros((1, 4, 5))
    np.testing.assert_allclose(hu.hu_zyx, expected, atol=0.5)
    assert "7 gaps filled: interpolated onto 33 slices of 1.250 mm" in caplog.text


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
@pytest.mark.parametrize("suffix", ["", ".dcm", ".IMA"])
def test_data_sets_without_preamble_are_read(tmp_path, caplog, syntax, suffix):
    paths = sorted(dicom.series(tmp_path).iterdir())
    for number, path in enumerate(paths):
        if number:  # the first one has a preamble
            bare(path, syntax)
        path.rename(path.with_suffix(suffix))
    same(open_ct(tmp_path).volume())
    np.testing.assert_array_equal(plane_by_plane(tmp_path), ramp())
    assert not caplog.records
    last = sorted(tmp_path.iterdir())[-1]
    last.write_bytes(last.read_bytes()[:-10])
    refused(tmp_path, f"{last.name}: ")


def bare(path, syntax):
    """Write a file's data set alone, without preamble and group 0002."""
    ds = dcmread(path)
    ds.PixelData = ds.PixelData  # read before the file goes
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, syntax.is_implicit_VR
    plain = Dataset({element.tag: element for element in ds if element.tag.group != 2})
    plain._pixel_rep = 1
    write_dataset(stream, plain)
    path.write_bytes(stream.getvalue())


@pytest.mark.parametrize("tilt_deg", [-20, 12, 30])
def test_a_gantry_tilt_is_straightened(tmp_path, caplog, tilt_deg):
    """Images lean about x while the table moves along z: a field linear in the world stays it."""
    angle = np.radians(tilt_deg)
    row, column = np.array([1.0, 0, 0]), np.array([0, np.cos(angle), np.sin(angle)])
    step = np.array([0, 0, 3.0])
    y, x = np.mgrid[:40, :30]

    def field(points):
        return points @ [3.0, 2.0, 5.0]

    def lean(ds, z):
        ds.GantryDetectorTilt = tilt_deg
        corner = z * step
        points = corner + x[..., None] * row * 2 + y[..., None] * column * 2
        stored = np.rint(field(points) + 1024).astype(np.uint16)
        dicom.store(ds, stored)
        ds.Rows, ds.Columns = stored.shape
        ds.PixelSpacing = [2, 2]
        ds.ImagePositionPatient = dicom.numbers(corner)
        ds.ImageOrientationPatient = dicom.numbers([row, column])

    hu = open_ct(dicom.series(tmp_path, np.zeros((8, 2, 2), np.int16), change=lean)).volume()
    assert f"gantry tilt of {abs(tilt_deg):.1f} degrees" in caplog.text
    assert "the positions count" not in caplog.text
    indices = np.array([*np.ndindex(hu.grid.shape_zyx)])[:, ::-1]
    points = indices @ hu.grid.world_from_index[:3, :3].T + hu.grid.world_from_index[:3, 3]
    inside = hu.hu_zyx.ravel() > -1024
    inner = inside & np.all((indices[:, :2] > 0), axis=1) & (indices[:, 1] < 39)
    gap = np.abs(hu.hu_zyx.ravel() - field(points))
    interior = inner & (indices[:, 1] > np.ceil(7 * 3 * abs(np.sin(angle)) / 2))
    assert interior.sum() > 1000
    assert gap[interior].max() <= 1.0
    assert np.linalg.det(hu.grid.direction) == pytest.approx(1)


@pytest.mark.parametrize(("named", "reported"), [(15, True), ("", False), (0, False), (0.3, False)])
def test_a_tilt_that_is_named_but_not_there_is_reported(tmp_path, caplog, named, reported):
    """As resampled series keep it; or the positions are wrong, which only a person can tell."""

    def name(ds, z):
        ds.GantryDetectorTilt = named

    same(open_ct(dicom.series(tmp_path, change=name)).volume())
    line = "GantryDetectorTilt (0018,1120) says 15.0 degrees, the positions 0.0: the positions"
    assert (line in caplog.text) == reported


def test_images_that_do_not_lie_on_a_line_are_refused(tmp_path):
    def wander(ds, z):
        ds.ImagePositionPatient = dicom.numbers((z % 2 * 5, 0, 3 * z))

    refused(dicom.series(tmp_path, change=wander), "do not lie on a line")


def test_the_same_image_twice_is_used_once(tmp_path, caplog):
    folder = dicom.series(tmp_path)
    shutil.copytree(folder, tmp_path / "copy")
    same(open_ct(folder).volume())
    assert "4 images that are there twice are used once" in caplog.text


def test_two_phases_are_refused_and_chosen_by_what_distinguishes_them(tmp_path):
    dicom.series(tmp_path / "a")

    def second(ds, z):
        ds.AcquisitionNumber = 2

    dicom.series(tmp_path / "b", ramp() + 7, change=second)
    refused(
        tmp_path,
        r"4 places hold several different images, such as IM9999.dcm and IM9999.dcm; choose by "
        r"AcquisitionNumber: 1 \(4 images\), 2 \(4 images\); for example volume.select: "
        r"\{AcquisitionNumber: '1'\}",
    )
    same(open_ct(tmp_path, ReadOptions(select={"AcquisitionNumber": "2"})).volume(), ramp() + 7)
    refused(tmp_path, "no image of series .* there are", select={"AcquisitionNumber": "3"})
    refused(tmp_path, "must be one of .*AcquisitionNumber.*got 'Nose'", select={"Nose": "3"})


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda ds: setattr(ds, "FrameOfReferenceUID", "1.2"), "differ in frame of reference"),
        (
            lambda ds: setattr(ds, "PatientPosition", "FFP"),
            r"differ in patient position; choose by PatientPosition: HFS \(3 images\), FFP \(1 im",
        ),
        (lambda ds: setattr(ds, "PatientID", "2"), "differ in patient; choose by PatientID"),
        (lambda ds: setattr(ds, "StudyInstanceUID", "9.9"), "differ in study; choose by Study"),
        (lambda ds: setattr(ds, "PixelSpacing", [1, 1]), "differ in pixel spacing"),
        (
            lambda ds: setattr(ds, "ImageOrientationPatient", [1, 0, 0, 0, 0, -1]),
            "differ in orientation",
        ),
        (lambda ds: (dicom.store(ds, np.zeros((3, 3), np.uint16)),
                     setattr(ds, "Rows", 3), setattr(ds, "Columns", 3)), "differ in size"),
    ],
)  # fmt: skip
def test_mixed_series_are_refused(tmp_path, change, match):
    refused(dicom.series(tmp_path, change=lambda ds, z: change(ds) if z == 2 else None), match)


def test_images_of_several_makes_are_read_and_reported(tmp_path, caplog):
    def make(ds, z):
        ds.KVP, ds.ConvolutionKernel = "120" if z < 3 else "80", "B30f"
        ds.LossyImageCompression = "01" if z == 2 else "00"

    same(open_ct(dicom.series(tmp_path, change=make)).volume())
    assert "the images differ in KVP: 120 (3 images), 80 (1 images)" in caplog.text
    assert "1 images have been compressed with loss" in caplog.text
    assert "Kernel" not in caplog.text


# Attributes that are missing or wrong


def broken(keyword, value):
    def change(ds, z):
        if value is None:
            del ds[keyword]
        else:
            setattr(ds, keyword, value)

    return change


@pytest.mark.parametrize(
    ("keyword", "value", "match"),
    [
        ("PixelSpacing", None, r"IM99..\.dcm: PixelSpacing \(0028,0030\) is missing"),
        ("PixelSpacing", [0, 1], r"PixelSpacing \(0028,0030\) must be 2 positive lengths"),
        ("PixelSpacing", [1], "must be 2 finite numbers, got '1.0'"),
        ("ImagePositionPatient", None, r"ImagePositionPatient \(0020,0032\) is missing"),
        ("ImagePositionPatient", [1, 2], "must be 3 finite numbers"),
        ("ImageOrientationPatient", None, r"\(0020,0037\) is missing"),
        ("ImageOrientationPatient", [1, 0, 0, 1, 1, 0], "unit vectors at a right angle"),
        ("ImageOrientationPatient", [0, 0, 0, 0, 0, 0], "unit vectors at a right angle"),
        ("RescaleSlope", None, r"RescaleSlope \(0028,1053\) is missing"),
        ("RescaleSlope", 0, "RescaleSlope .* must be greater than 0"),
        ("RescaleIntercept", None, r"RescaleIntercept \(0028,1052\) is missing"),
        ("RescaleType", "Z_EFF", "RescaleType .* must be HU, got 'Z_EFF'"),
        ("SeriesInstanceUID", None, r"SeriesInstanceUID \(0020,000E\) is missing"),
        ("SamplesPerPixel", 3, r"must be 1 \(no colour\)"),
        ("PhotometricInterpretation", "RGB", "MONOCHROME1 or MONOCHROME2"),
        ("BitsStored", 17, "BitsStored .* whole number from 1 to 16"),
        ("HighBit", 5, "HighBit .* whole number from 15 to 15"),
        ("PixelRepresentation", 2, "whole number from 0 to 1"),
        ("Rows", None, r"Rows \(0028,0010\) is missing"),
        ("Rows", 6, "pixels cannot be read"),
        ("PixelData", None, "pixels cannot be read"),
        ("NumberOfFrames", 2, "holds 2 images without the position of each"),
    ],
)
def test_bad_attributes_are_named_with_their_file(tmp_path, keyword, value, match):
    refused(dicom.series(tmp_path, change=broken(keyword, value)), match)


@pytest.mark.parametrize("text", [b"nan ", b"inf ", b"1e99", b"abcd"])
def test_numbers_that_are_none_are_named(tmp_path, text):
    folder = dicom.series(tmp_path)
    path = next(folder.iterdir())
    raw = path.read_bytes()
    spacing = b"2.0000000000\\1.0000000000"
    assert raw.count(spacing) == 1
    path.write_bytes(raw.replace(spacing, text.ljust(12) + spacing[12:]))
    match = "PixelSpacing|differ in pixel spacing"
    refused(folder, match)


def test_multi_frame_files_must_place_every_frame(tmp_path):
    def drop(ds):
        del ds.PerFrameFunctionalGroupsSequence[-1]

    path = dicom.enhanced(tmp_path / "a.dcm", change=drop)
    refused(path, "NumberOfFrames .* is 4, but there are positions for 3")

    def lose(ds):
        del ds.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence

    path = dicom.enhanced(tmp_path / "b.dcm", change=lose)
    refused(path, r"frame 2: ImagePositionPatient \(0020,0032\) is missing")


def in_groups(*groups):
    """Put attributes into each frame's functional groups: (sequence, attribute, value by z)."""

    def change(ds):
        for z, frame in enumerate(ds.PerFrameFunctionalGroupsSequence):
            for sequence, keyword, value_of in groups:
                inner = frame.get(sequence)
                if inner is None:
                    frame.add_new(tag_for_keyword(sequence), "SQ", [Dataset()])
                    inner = frame.get(sequence)
                setattr(inner[0], keyword, value_of(z))

    return change


def test_each_frame_of_a_multi_frame_file_has_its_own_rescale(tmp_path):
    values = "PixelValueTransformationSequence"
    change = in_groups(
        (values, "RescaleSlope", lambda z: z + 1),
        (values, "RescaleIntercept", lambda z: -2000 + z),
        (values, "RescaleType", lambda z: "HU"),
    )
    hu = open_ct(dicom.enhanced(tmp_path / "a.dcm", change=change)).volume()
    expected = [(ramp()[z] + 1024) * (z + 1) - 2000 + z for z in range(4)]
    np.testing.assert_array_equal(hu.hu_zyx, expected)


def test_localisers_within_a_multi_frame_file_are_left_out(tmp_path):
    kind = ("CTImageFrameTypeSequence", "FrameType")
    words = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    change = in_groups((*kind, lambda z: words if z == 3 else [*words[:2], "VOLUME"]))
    hu = open_ct(dicom.enhanced(tmp_path / "a.dcm", change=change)).volume()
    np.testing.assert_array_equal(hu.hu_zyx, ramp()[:3])


def test_phases_of_a_multi_frame_file_are_chosen_by_their_index(tmp_path):
    place = "PlanePositionSequence"
    change = in_groups(
        ("FrameContentSequence", "TemporalPositionIndex", lambda z: 1 + z // 4),
        (place, "ImagePositionPatient", lambda z: dicom.numbers((10, 20, 30 + 3 * (z % 4)))),
    )
    both = np.concatenate([ramp(), ramp() + 7])
    path = dicom.enhanced(tmp_path / "a.dcm", both, change=change)
    refused(path, r"4 places hold several .* choose by TemporalPositionIndex: 1 .*, 2 ")
    same(open_ct(path, ReadOptions(select={"TemporalPositionIndex": "2"})).volume(), ramp() + 7)


@pytest.mark.parametrize(
    ("syntax", "kept"),
    [(None, 0.2), (None, 0.6), (None, 0.99), (JPEGLosslessSV1, 0.9), (JPEG2000Lossless, 0.9)],
)
def test_a_truncated_slice_is_refused(tmp_path, kept, syntax):
    folder = dicom.series(tmp_path, LARGE, LARGE_GRID)
    path = sorted(folder.iterdir())[1]
    if syntax:
        dicom.compressed(path, syntax)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * kept)])
    refused(folder, path.name)


@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian])
@pytest.mark.parametrize("more", [b"\r", b"\r\r", b"\r" * 9])
def test_bytes_put_into_the_pixels_are_noticed(tmp_path, syntax, more):
    """As by a transfer as text; values of the slice would be shifted."""
    images = dicom.slices()
    for ds in images:
        ds.file_meta.TransferSyntaxUID = syntax or ds.file_meta.TransferSyntaxUID
    path = sorted(dicom.written(tmp_path, images).iterdir())[2]
    raw = path.read_bytes()
    path.write_bytes(raw[:-20] + more + raw[-20:])
    refused(tmp_path, f"{path.name}: its pixels cannot be read: bytes that are no attribute")


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, None])
def test_more_bytes_than_pixels_are_refused(tmp_path, syntax):
    """It is unknown whether they come before the first pixel or after the last."""

    def prolong(ds, z):
        ds.PixelData = b"\0\0" + ds.PixelData if z == 2 else ds.PixelData
        ds.file_meta.TransferSyntaxUID = syntax or ds.file_meta.TransferSyntaxUID

    refused(dicom.series(tmp_path, change=prolong), "60 bytes are needed, 62 are there")


def test_a_byte_that_makes_an_odd_number_of_pixels_even_does_no_harm(tmp_path):
    odd = (np.arange(60).reshape(4, 3, 5) * 3).astype(np.uint8)

    def narrow(ds, z):
        dicom.store(ds, odd[z])
        ds.PixelData += b"\0"
        ds.Rows, ds.Columns = 3, 5

    hu = open_ct(dicom.series(tmp_path, change=narrow)).volume()
    np.testing.assert_array_equal(hu.hu_zyx, odd.astype(int) - 1024)


def test_attributes_behind_the_pixels_do_no_harm(tmp_path):
    def pad(ds, z):
        ds.add_new(0xFFFCFFFC, "OB", b"\0" * 20)

    same(open_ct(dicom.series(tmp_path, change=pad)).volume())


def test_a_dcm_file_that_is_none_is_refused(tmp_path):
    (dicom.series(tmp_path) / "IM0001.dcm").touch()
    refused(tmp_path, r"IM0001\.dcm: is not a DICOM file .*0 bytes")


def test_a_transfer_syntax_that_is_not_decoded_is_named(tmp_path):
    folder = dicom.series(tmp_path, LARGE, LARGE_GRID)
    path = sorted(folder.iterdir())[0]
    dicom.compressed(path, JPEG2000Lossless)
    ds = dcmread(path)
    ds.file_meta.TransferSyntaxUID = HTJ2KLossless
    ds.save_as(path)
    refused(folder, rf"{path.name}: .* High-Throughput JPEG 2000 .* \(1\.2.*201\) is not read")


def test_a_decoder_that_dies_or_hangs_is_one_line(tmp_path, monkeypatch):
    folder = dicom.series(tmp_path, LARGE, LARGE_GRID)
    for path in folder.iterdir():
        dicom.compressed(path, RLELossless)
    script = tmp_path.parent / "decoder.py"
    monkeypatch.setattr(pixels.pixel_decoder, "__file__", str(script))
    script.write_text("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    refused(folder, "IM99..\\.dcm: its compressed pixels cannot be read")
    script.write_text("import time; time.sleep(60)")
    monkeypatch.setattr(pixels, "PATIENCE_S", 0.2)
    refused(folder, "the decoder did not finish in 0.2 s")


def test_memory_is_requested_before_pixels_are_read(tmp_path, monkeypatch):
    from fluoro.volume import host_memory

    folder = dicom.series(tmp_path)
    monkeypatch.setattr(host_memory, "available_memory_bytes", lambda: 10)
    refused(folder, "does not fit in memory")


# Damage at random (tools/check/fuzz_readers.py does more of it)


@pytest.fixture(scope="module")
def whole_folder(tmp_path_factory):
    folder = dicom.series(tmp_path_factory.mktemp("whole"))
    return folder, sorted(folder.iterdir())[0].read_bytes()


@settings(max_examples=150, deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(128, 1400), st.integers(0, 255)), max_size=4),
    cut=st.sampled_from([0, 0, 0, 1, 40, 700]),
)
def test_a_damaged_slice_gives_a_whole_volume_or_one_line(whole_folder, changes, cut):
    folder, raw = whole_folder
    data = bytearray(raw)
    for at, byte in changes:
        data[min(at, len(data) - 1)] = byte
    sorted(folder.iterdir())[0].write_bytes(data[: len(data) - cut])
    try:
        hu = open_ct(folder).volume()
    except InputError as error:
        message = str(error)
    else:
        message = ""
        assert hu.hu_zyx.shape == hu.grid.shape_zyx == (4, 5, 6)
    assert "\n" not in message


# Files of scanners, as pydicom carries them


def test_real_slices_have_the_ct_numbers_that_pydicom_reads(tmp_path):
    for name in ("CT_small.dcm", "693_J2KI.dcm"):
        folder = tmp_path / name
        folder.mkdir()
        ds = dcmread(get_testdata_file(name))
        for z in range(3):
            ds.ImagePositionPatient[2] = z * 5
            ds.SOPInstanceUID = f"1.2.3.{z}"
            ds.save_as(folder / f"{z}.dcm")
        hu = open_ct(folder).volume()
        expected = ds.pixel_array.astype(float) * float(ds.RescaleSlope) + ds.RescaleIntercept
        if "PixelPaddingValue" in ds:
            expected[ds.pixel_array == ds.PixelPaddingValue] = -1024
        np.testing.assert_array_equal(hu.hu_zyx[1], expected)


def test_the_log_is_quiet_for_a_plain_series(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        open_ct(dicom.series(tmp_path)).volume()
    assert not caplog.records


def test_one_process_decodes_a_whole_series(tmp_path, monkeypatch):
    folder = dicom.series(tmp_path, LARGE, LARGE_GRID)
    for path in folder.iterdir():
        dicom.compressed(path, JPEGLSLossless)
    started = []
    popen = pixels.subprocess.Popen

    def counted(*args, **kwargs):
        started.append(popen(*args, **kwargs))
        return started[-1]

    monkeypatch.setattr(pixels.subprocess, "Popen", counted)
    same(open_ct(folder).volume(), LARGE, LARGE_GRID)
    assert len(started) == 1
    assert started[0].poll() is not None


def test_a_missing_decoder_is_named(tmp_path, monkeypatch):
    path = sorted(dicom.series(tmp_path, LARGE, LARGE_GRID).iterdir())[0]
    dicom.compressed(path, JPEGLSLossless)
    monkeypatch.setitem(sys.modules, "gdcm", None)
    remedy = r"JPEG needs the package python-gdcm: .* -m pip install python-gdcm"
    with pytest.raises(ValueError, match=remedy):
        next(pixels.pixel_decoder.stored_frames(str(path), [0]))
