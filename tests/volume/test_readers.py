"""CT files are read right, or refused in one line that says why."""

import logging
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluoro.config import ReadOptions
from fluoro.errors import InputError
from fluoro.volume import host_memory
from fluoro.volume.ct import Ct
from fluoro.volume.formats import itk_file
from fluoro.volume.formats.nrrd import read_nrrd_header
from fluoro.volume.open_ct import open_ct
from tests.volume_files import (
    SHAPE_ZYX,
    meta_bytes,
    nifti_bytes,
    nrrd_bytes,
    ramp,
    saved,
    written,
)

NAMES = ["ct.nii", "ct.nii.gz", "ct.nrrd", "ct.nhdr", "ct.mha", "ct.mhd"]
NAN, INF = math.nan, math.inf
OBLIQUE = (0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1)
"""A turn about the patient's long axis with cosines that are exact in decimal."""


def refused(path, match):
    with pytest.raises(InputError, match=match) as caught:
        open_ct(path).volume()
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path.parent))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("compressed", [False, True])
def test_every_format_gives_the_same_volume(tmp_path, name, compressed):
    hu = open_ct(saved(tmp_path, name, compressed=compressed)).volume()
    np.testing.assert_array_equal(hu.hu_zyx, ramp())
    assert hu.hu_zyx.dtype == np.int16
    assert hu.grid.shape_zyx == SHAPE_ZYX
    assert hu.grid.spacing_xyz_mm == (1, 2, 3)
    np.testing.assert_allclose(hu.grid.origin_xyz_mm, (10, 20, 30))
    np.testing.assert_allclose(hu.grid.direction, np.eye(3))
    assert hu.source == str(tmp_path / name)


@pytest.mark.parametrize("name", NAMES)
def test_a_direction_is_kept(tmp_path, name):
    hu = open_ct(saved(tmp_path, name, direction=OBLIQUE)).volume()
    np.testing.assert_allclose(np.ravel(hu.grid.direction), OBLIQUE, atol=1e-6)
    corner = hu.grid.world_from_index @ [5, 4, 3, 1]
    np.testing.assert_allclose(corner[:3], (10 + 4 - 4.8, 20 + 3 + 6.4, 30 + 9), atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_last_dot_of_a_name_may_be_in_capitals(tmp_path, name):
    saved(tmp_path, name)
    upper = tmp_path / f"CT.{name.partition('.')[2].upper()}"
    shutil.copy(tmp_path / name, upper)
    np.testing.assert_array_equal(open_ct(upper).volume().hu_zyx, ramp())


def test_nifti_is_turned_from_ras_to_lps(tmp_path):
    ras = (1, 0, 0, 7, 0, 2, 0, 8, 0, 0, 3, 9)
    hu = open_ct(written(tmp_path, "ct.nii", nifti_bytes(srow=ras))).volume()
    np.testing.assert_allclose(hu.grid.origin_xyz_mm, (-7, -8, 9))
    np.testing.assert_allclose(hu.grid.direction, np.diag([-1, -1, 1]))


def test_a_nifti_with_a_qform_only_lies_where_its_quaternion_says(tmp_path):
    """A quarter turn about z, and the third axis reversed."""
    half = math.sqrt(0.5)
    raw = nifti_bytes(
        sform_code=0, qform_code=1, quatern=(0, 0, half, 1, 2, 3), pixdim=(-1, 1, 2, 3, 0, 0, 0, 0)
    )
    hu = open_ct(written(tmp_path, "ct.nii", raw)).volume()
    ras_columns = np.array([[0, -1, 0], [1, 0, 0], [0, 0, -1]])
    np.testing.assert_allclose(hu.grid.direction, np.diag([-1, -1, 1]) @ ras_columns, atol=1e-6)
    np.testing.assert_allclose(hu.grid.origin_xyz_mm, (-1, -2, 3), atol=1e-6)


def test_a_nifti_of_the_other_byte_order_is_read(tmp_path):
    hu = open_ct(written(tmp_path, "ct.nii.gz", nifti_bytes(order=">"))).volume()
    np.testing.assert_array_equal(hu.hu_zyx, ramp())
    np.testing.assert_allclose(hu.grid.origin_xyz_mm, (10, 20, 30))


def test_nrrd_spaces_are_turned_to_lps(tmp_path):
    raw = nrrd_bytes(space="right-anterior-superior")
    grid = open_ct(written(tmp_path, "ct.nrrd", raw)).volume().grid
    np.testing.assert_allclose(grid.direction, np.diag([-1, -1, 1]))
    np.testing.assert_allclose(grid.origin_xyz_mm, (-10, -20, 30))


@pytest.mark.parametrize(
    ("space", "signs"),
    [
        ("left-posterior-superior", (1, 1, 1)),
        ("LPS", (1, 1, 1)),
        ("right-anterior-superior", (-1, -1, 1)),
        ("RAS", (-1, -1, 1)),
        ("left-anterior-superior", (1, -1, 1)),
        ("LAS", (1, -1, 1)),
    ],
)
def test_each_nrrd_space_is_placed_by_its_definition(tmp_path, space, signs):
    directions = "(0,2,0) (0,0,3) (1,0,0)"
    header = read_nrrd_header(
        written(tmp_path, "ct.nrrd", nrrd_bytes(space=space, space_directions=directions))
    )
    index = np.array([5, 4, 3, 1])  # x, y, z run along the space's second, third and first axis
    expected = np.multiply(signs, (10 + 3 * 1, 20 + 5 * 2, 30 + 4 * 3))
    np.testing.assert_allclose((header.world_from_index @ index)[:3], expected)


@pytest.mark.parametrize(("centers", "shift"), [(None, 0.5), ("node node node", 0.0)])
def test_a_nrrd_without_a_space_starts_at_its_axis_mins(tmp_path, centers, shift):
    raw = nrrd_bytes(space=None, space_origin=None, space_directions=None, spacings="1 2 3",
                     axis_mins="10 20 30", centers=centers)  # fmt: skip
    grid = open_ct(written(tmp_path, "ct.nrrd", raw)).volume().grid
    np.testing.assert_allclose(grid.origin_xyz_mm, (10 + shift, 20 + 2 * shift, 30 + 3 * shift))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fault", ["half a turn", "another origin", "a mirror"])
def test_a_reader_that_places_a_volume_otherwise_is_refused(tmp_path, monkeypatch, name, fault):
    """As SimpleITK up to 2.5.5 turns NRRD of space left-anterior-superior."""
    path = saved(tmp_path, name, direction=OBLIQUE)
    right = itk_file._info

    def wrong(reader):
        info = right(reader)
        if fault == "another origin":
            return replace(info, origin_mm=(10, 20, 31))
        flip = np.diag([-1, -1, 1] if fault == "half a turn" else [1, 1, -1])
        return replace(info, direction=flip @ info.direction)

    open_ct(path).volume()
    monkeypatch.setattr(itk_file, "_info", wrong)
    for read in (Ct.volume, lambda ct: ct.planes):
        with pytest.raises(
            InputError, match=rf"{name}: its header places .* mm from where SimpleITK"
        ):
            read(open_ct(path))


def test_a_gzipped_nifti_is_not_mixed_up_with_its_neighbour(tmp_path):
    """The NIfTI library takes the voxels of ct.nii when it opens ct.nii.gz."""
    written(tmp_path, "ct.nii", nifti_bytes(ramp() * 0))
    path = written(tmp_path, "ct.nii.gz", nifti_bytes())
    np.testing.assert_array_equal(open_ct(path).volume().hu_zyx, ramp())


def test_a_relative_path_and_a_link_are_read(tmp_path, monkeypatch):
    written(tmp_path, "ct.nii.gz", nifti_bytes())
    (tmp_path / "link.nii.gz").symlink_to("ct.nii.gz")
    monkeypatch.chdir(tmp_path)
    for name in ("ct.nii.gz", "link.nii.gz"):
        np.testing.assert_array_equal(open_ct(type(tmp_path)(name)).volume().hu_zyx, ramp())


def test_a_fourth_axis_of_one_is_dropped(tmp_path):
    nifti = nifti_bytes(dim=(4, 6, 5, 4, 1, 1, 1, 1))
    meta = meta_bytes(NDims="4", DimSize="6 5 4 1", ElementSpacing="1 2 3 1", Offset="10 20 30 0",
                      TransformMatrix="1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1")  # fmt: skip
    nrrd = nrrd_bytes(dimension="4", sizes="6 5 4 1", kinds="domain domain domain list",
                      space_directions="(1,0,0) (0,2,0) (0,0,3) none")  # fmt: skip
    for name, raw in {"a.nii": nifti, "a.mha": meta, "a.nrrd": nrrd}.items():
        hu = open_ct(written(tmp_path, name, raw)).volume()
        np.testing.assert_array_equal(hu.hu_zyx, ramp())
        np.testing.assert_allclose(hu.grid.origin_xyz_mm, (10, 20, 30))


@pytest.mark.parametrize(
    ("dtype", "name", "kept"),
    [
        ("<u1", "MET_UCHAR", np.int16),
        ("<u2", "MET_USHORT", np.int16),
        ("<i4", "MET_INT", np.int16),
        ("<f4", "MET_FLOAT", np.int16),
        ("<f8", "MET_DOUBLE", np.int16),
    ],
)
def test_whole_numbers_are_held_as_int16_whatever_their_type(tmp_path, dtype, name, kept):
    voxels = np.arange(120).reshape(SHAPE_ZYX).astype(dtype)
    hu = open_ct(written(tmp_path, "ct.mha", meta_bytes(voxels, ElementType=name))).volume()
    assert hu.hu_zyx.dtype == kept
    np.testing.assert_array_equal(hu.hu_zyx, voxels)


@pytest.mark.parametrize("value", [0.5, 40000.0, -32769.0])
def test_other_numbers_are_held_as_float32(tmp_path, value):
    voxels = ramp("<f8")
    voxels[3, 4, 5] = value
    hu = open_ct(written(tmp_path, "ct.mha", meta_bytes(voxels, ElementType="MET_DOUBLE"))).volume()
    assert hu.hu_zyx.dtype == np.float32
    np.testing.assert_array_equal(hu.hu_zyx, voxels.astype(np.float32))


def test_padding_is_left_as_it_is(tmp_path):
    voxels = ramp() - 1548
    path = written(tmp_path, "ct.mha", meta_bytes(voxels))
    np.testing.assert_array_equal(open_ct(path).volume().hu_zyx, voxels)


def test_a_rescale_is_applied_once(tmp_path):
    hu = open_ct(written(tmp_path, "ct.nii", nifti_bytes(slope=2.0, inter=-1024.0))).volume()
    np.testing.assert_array_equal(hu.hu_zyx, ramp() * 2 - 1024)


@pytest.mark.parametrize("slope", [0.0, NAN])
def test_a_slope_that_is_none_changes_nothing(tmp_path, slope):
    hu = open_ct(written(tmp_path, "ct.nii", nifti_bytes(slope=slope))).volume()
    np.testing.assert_array_equal(hu.hu_zyx, ramp())


@pytest.mark.parametrize(("units", "factor"), [(0, 1), (1, 1000), (2, 1), (3, 0.001), (10, 1)])
def test_lengths_are_in_millimetres_whatever_the_file_uses(tmp_path, units, factor):
    grid = open_ct(written(tmp_path, "ct.nii", nifti_bytes(units=units))).volume().grid
    np.testing.assert_allclose(grid.spacing_xyz_mm, np.multiply((1, 2, 3), factor))
    np.testing.assert_allclose(grid.origin_xyz_mm, np.multiply((10, 20, 30), factor))


def test_a_file_that_does_not_say_how_the_patient_lies_is_read_with_a_warning(tmp_path, caplog):
    raws = {
        "a.nii": nifti_bytes(sform_code=0),
        "a.mha": meta_bytes(TransformMatrix=None),
        "a.nrrd": nrrd_bytes(space="scanner-xyz"),
    }
    for name, raw in raws.items():
        with caplog.at_level(logging.WARNING):
            open_ct(written(tmp_path, name, raw)).volume()
        assert f"{name}: does not say how the patient lies" in caplog.messages[-1]


# What is refused


@pytest.mark.parametrize("name", NAMES)
def test_missing_and_empty_files_are_refused(tmp_path, name):
    refused(tmp_path / name, "there is no such file")
    (tmp_path / name).touch()
    refused(tmp_path / name, "is empty")


def test_folders_pipes_loops_and_other_suffixes_are_refused(tmp_path):
    folder, loop, pipe = tmp_path / "x.nii", tmp_path / "loop.nii", tmp_path / "pipe.nii"
    folder.mkdir()
    loop.symlink_to(loop)
    os.mkfifo(pipe)
    refused(folder, r"holds no CT images \(HU\); it is empty$")
    (folder / "ct.nii.gz").write_bytes(b"x")
    refused(folder, r"1 not DICOM \(ct\.nii\.gz\); a CT of another format is given as the file")
    refused(loop, "cannot be read: .*symbolic links")
    refused(pipe, "is not a regular file")
    refused(written(tmp_path, "ct.tif", b"x"), r"or end in \.nii, \.nii\.gz, \.hdr")


def test_a_file_without_permission_is_refused(tmp_path, monkeypatch):
    path = written(tmp_path, "ct.mha", meta_bytes())

    def denied(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", denied)
    refused(path, "cannot be read: Permission denied")


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("ct.nhdr", "ct.mhd")])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused_and_never_filled_with_zeros(
    tmp_path, name, compressed, kept, capfd
):
    path = saved(tmp_path, name, compressed=compressed)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * kept)])
    refused(path, "truncated|not a NIfTI|not a MetaImage|missing")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["ct.nhdr", "ct.mhd"])
@pytest.mark.parametrize("compressed", [False, True])
def test_voxels_in_their_own_file_must_be_there_and_whole(tmp_path, name, compressed):
    path = saved(tmp_path, name, compressed=compressed)
    header, data = open_ct(path).files
    assert header == path
    raw = data.read_bytes()
    data.write_bytes(raw[:-1])
    refused(path, f"{data.name}: is truncated")
    data.unlink()
    refused(path, f"{data.name}: there is no such file")


@pytest.mark.parametrize("name", ["Müller.nhdr", "Müller.mhd", "患者.nhdr", "患者.mhd"])
def test_a_voxel_file_may_have_a_name_in_utf_8(tmp_path, name):
    hu = open_ct(saved(tmp_path, name, compressed=False)).volume()
    np.testing.assert_array_equal(hu.hu_zyx, ramp())


@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz", "ct.nrrd", "ct.mha"])
def test_a_name_that_is_not_utf_8_is_read(tmp_path, name):
    """As old archives have them, in Latin-1."""
    path = saved(tmp_path, name).rename(tmp_path / os.fsdecode(b"M\xfcller " + name.encode()))
    np.testing.assert_array_equal(open_ct(path).volume().hu_zyx, ramp())


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_whose_name_is_not_utf_8_is_read(tmp_path, name):
    folder = tmp_path / os.fsdecode(b"M\xfcller")
    saved(tmp_path, name)
    shutil.copytree(tmp_path, folder, ignore=shutil.ignore_patterns("M*"))
    np.testing.assert_array_equal(open_ct(folder / name).volume().hu_zyx, ramp())


def test_a_header_whose_name_is_not_utf_8_is_refused_in_one_line(tmp_path):
    path = saved(tmp_path, "ct.nhdr").rename(tmp_path / os.fsdecode(b"M\xfcller.nhdr"))
    refused(path, "cannot be read")


def planes_of_file(path, options=None):
    ct = open_ct(path, options or ReadOptions())
    return np.stack([plane.copy() for plane in ct.slices(0, ct.grid.shape_zyx[0])])


def with_voxels_named(folder, suffix, name, *, compressed=False):
    """A header whose voxel file has a name that SimpleITK would not write."""
    header = saved(folder, f"ct{suffix}", compressed=compressed)
    raw = next(each for each in folder.iterdir() if each != header)
    raw.rename(folder / name)
    header.write_bytes(header.read_bytes().replace(raw.name.encode(), name.encode()))
    return header


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("name", ["77 %.raw", "ct%20a.raw", "100%d.raw", "%s%n.raw", "ü %03d.raw"])
def test_a_percent_sign_in_a_meta_image_s_voxel_file_is_no_pattern_where_the_file_is_there(
    tmp_path, name, compressed
):
    path = with_voxels_named(tmp_path, ".mhd", name, compressed=compressed)
    np.testing.assert_array_equal(open_ct(path).volume().hu_zyx, ramp())
    np.testing.assert_array_equal(planes_of_file(path), ramp())
    (tmp_path / name).rename(tmp_path / "elsewhere")
    refused(path, "names its voxels as several files")


def test_a_percent_sign_in_a_voxel_file_s_name_is_read_as_simple_itk_reads_it(tmp_path):
    path = saved(tmp_path, "77 %.nhdr", compressed=False)
    np.testing.assert_array_equal(open_ct(path).volume().hu_zyx, ramp())
    np.testing.assert_array_equal(planes_of_file(path), ramp())


@pytest.mark.parametrize("name", ["100%d.nhdr", "LIST.mhd", "LIST.nhdr"])
def test_a_voxel_file_whose_name_means_several_is_refused_both_ways_in(tmp_path, name):
    """SimpleITK takes these for patterns or lists."""
    path = with_voxels_named(tmp_path, Path(name).suffix, Path(name).stem + ".raw")
    refused(path, "names its voxels as several files.*give it a name without LIST")
    with pytest.raises(InputError, match="several files"):
        planes_of_file(path)


@pytest.mark.parametrize("name", ["c.mha", "c.nrrd"])
def test_byte_0x85_in_a_comment_is_no_end_of_a_line(tmp_path, name):
    path = saved(tmp_path, name)
    old, new = (b"ObjectType", b"Comment = a\x85b\nObjectType")
    if name.endswith("nrrd"):
        old, new = b"\ntype:", b"\n# a\x85b\ntype:"
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    np.testing.assert_array_equal(open_ct(path).volume().hu_zyx, ramp())
    np.testing.assert_array_equal(planes_of_file(path), ramp())


WITH_NAN = ramp("<f4")
WITH_NAN[1, 2, 3] = WITH_NAN[0] = np.nan
FLOATS = {
    "nii": lambda voxels: nifti_bytes(voxels, datatype=16),
    "mha": lambda voxels: meta_bytes(voxels, ElementType="MET_FLOAT"),
    "nrrd": lambda voxels: nrrd_bytes(voxels, type="float"),
}


@pytest.mark.parametrize("suffix", FLOATS)
def test_nan_is_refused_or_named_as_air_by_a_key(tmp_path, suffix):
    path = written(tmp_path, f"ct.{suffix}", FLOATS[suffix](WITH_NAN))
    refused(path, "voxels are not finite.*volume.nan_voxels: air|read in two ways")
    air = ReadOptions(nan_voxels="air")
    expected = np.where(np.isnan(WITH_NAN), -1024, WITH_NAN)
    np.testing.assert_array_equal(open_ct(path, air).volume().hu_zyx, expected)
    np.testing.assert_array_equal(planes_of_file(path, air), expected)
    endless = WITH_NAN.copy()
    endless[2, 2, 2] = np.inf
    path = written(tmp_path, f"inf.{suffix}", FLOATS[suffix](endless))
    with pytest.raises(InputError, match=r"1 of 120 voxels are not finite \(infinite\)$"):
        open_ct(path, air).volume()
    refused(
        path,
        r"32 of 120 voxels are not finite \(31 NaN, 1 infinite\); .* NaN alone as air|two ways",
    )


@pytest.mark.parametrize("name", ["ct.nii.gz", "ct.nrrd", "ct.mha"])
def test_a_flipped_bit_in_a_compressed_file_is_refused(tmp_path, name):
    path = saved(tmp_path, name, compressed=True)
    raw = bytearray(path.read_bytes())
    raw[-40] ^= 4
    path.write_bytes(raw)
    refused(path, "is truncated or damaged")


@pytest.mark.parametrize(("old", "new"), [(b"Size = ", b"Size = 1"), (b"Size = ", b"Size = -")])
def test_a_wrong_size_of_a_compressed_stream_is_refused(tmp_path, old, new):
    """MetaIO alone would hand out what it could not inflate as voxels."""
    path = saved(tmp_path, "ct.mha", compressed=True)
    path.write_bytes(path.read_bytes().replace(b"Data" + old, b"Data" + new, 1))
    refused(path, "does not fit its header: a compressed stream of|CompressedDataSize must")


@pytest.mark.parametrize("sform_code", [1, 2, 3, 4])
@pytest.mark.parametrize("qform_code", [0, 1, 2])
def test_an_sform_is_read_alone_or_beside_the_same_qform(tmp_path, sform_code, qform_code):
    same = (0, 0, 1, -10, -20, 30)
    raw = nifti_bytes(sform_code=sform_code, qform_code=qform_code, quatern=same)
    grid = open_ct(written(tmp_path, "ct.nii", raw)).volume().grid
    np.testing.assert_allclose(grid.origin_xyz_mm, (10, 20, 30))
    np.testing.assert_allclose(grid.direction, np.eye(3), atol=1e-6)


@pytest.mark.parametrize("sform_code", [1, 2, 3, 4])
@pytest.mark.parametrize("qform_code", [1, 2, 3, 4])
def test_an_sform_and_a_qform_that_disagree_are_a_choice(tmp_path, sform_code, qform_code):
    raw = nifti_bytes(sform_code=sform_code, qform_code=qform_code, quatern=(0, 0, 1, 1, 2, 3))
    path = written(tmp_path, "ct.nii", raw)
    refused(path, "places the volume in two ways, .* mm apart .*choose with volume.nifti_transform")
    for transform in ("sform", "qform"):
        assert open_ct(path, ReadOptions(nifti_transform=transform)).files == (path,)
    by_sform = open_ct(path, ReadOptions(nifti_transform="sform")).volume().grid
    np.testing.assert_allclose(by_sform.origin_xyz_mm, (10, 20, 30))
    np.testing.assert_allclose(by_sform.direction, np.eye(3), atol=1e-6)
    by_qform = open_ct(path, ReadOptions(nifti_transform="qform")).volume().grid
    np.testing.assert_allclose(by_qform.origin_xyz_mm, (-1, -2, 3))
    np.testing.assert_allclose(by_qform.direction, np.eye(3), atol=1e-6)


BAD_SFORMS = {
    "sheared": (-1, 0.2, 0, 0, 0, -2, 0, 0, 0, 0, 3, 0),
    "scaled": (-2, 0, 0, 0, 0, -2, 0, 0, 0, 0, 3, 0),
    "nan": (NAN,) * 12,
}


@pytest.mark.parametrize("fault", BAD_SFORMS)
def test_the_refusal_of_a_bad_sform_names_the_key_that_takes_the_qform(tmp_path, fault):
    raw = nifti_bytes(srow=BAD_SFORMS[fault], qform_code=1, quatern=(0, 0, 1, -1, -2, 3))
    path = written(tmp_path, "ct.nii", raw)
    refused(path, "sform.*; volume.nifti_transform: qform takes the qform$")
    grid = open_ct(path, ReadOptions(nifti_transform="qform")).volume().grid
    np.testing.assert_allclose(grid.origin_xyz_mm, (1, 2, 3))
    with pytest.raises(InputError) as caught:
        open_ct(path, ReadOptions(nifti_transform="sform")).volume()
    assert "nifti_transform" not in str(caught.value)


@pytest.mark.parametrize("transform", ["sform", "qform"])
def test_a_transform_that_is_not_there_cannot_be_chosen(tmp_path, transform):
    codes = {f"{other}_code": int(other != transform) for other in ("sform", "qform")}
    path = written(tmp_path, "ct.nii", nifti_bytes(**codes))
    with pytest.raises(InputError, match=rf"is {transform}, but the file has none \({transform}_c"):
        open_ct(path, ReadOptions(nifti_transform=transform)).volume()


BROKEN = {
    "zero spacing, nii": (nifti_bytes(pixdim=(1, 0, 2, 3, 0, 0, 0, 0)), r"pixdim must .*\(0, 2, 3"),
    "negative spacing, nii": (nifti_bytes(pixdim=(1, 1, -2, 3, 0, 0, 0, 0)), "pixdim must"),
    "nan spacing, nii": (nifti_bytes(pixdim=(1, 1, 2, NAN, 0, 0, 0, 0)), "pixdim must"),
    "infinite spacing, nii": (nifti_bytes(pixdim=(1, INF, 2, 3, 0, 0, 0, 0)), "pixdim must"),
    "zero spacing with a qform, nii": (
        nifti_bytes(pixdim=(1, 0, 2, 3, 0, 0, 0, 0), qform_code=1, sform_code=0), "pixdim must"),
    "no scale in the sform, nii": (nifti_bytes(srow=(0,) * 12), r"columns are \(0, 0, 0\) long"),
    "another scale in the sform, nii": (
        nifti_bytes(srow=(-2, 0, 0, 0, 0, -2, 0, 0, 0, 0, 3, 0)), r"\(2, 2, 3\) long, but pixdim"),
    "sheared, nii": (nifti_bytes(srow=(-1, 0.2, 0, 0, 0, -2, 0, 0, 0, 0, 3, 0)), "is sheared"),
    "sheared beside a qform, nii": (
        nifti_bytes(srow=(-1, 0.2, 0, 0, 0, -2, 0, 0, 0, 0, 3, 0), qform_code=1), "is sheared"),
    "nan in the sform, nii": (nifti_bytes(srow=(NAN,) * 12), r"\(sform\) must be finite"),
    "no rotation, nii": (
        nifti_bytes(sform_code=0, qform_code=1, quatern=(1, 1, 0, 0, 0, 0)), "qform.*rotation"),
    "2D, nii": (nifti_bytes(dim=(2, 6, 20, 1, 1, 1, 1, 1)), r"3 axes, got 2 axes of \(6, 20\)"),
    "4D, nii": (nifti_bytes(dim=(4, 6, 5, 2, 2, 1, 1, 1)), r"3 axes, got 4 .*\(6, 5, 2, 2\)"),
    "no voxels, nii": (nifti_bytes(dim=(3, 0, 5, 4, 1, 1, 1, 1)), "dim must"),
    "colour, nii": (nifti_bytes(dim=(3, 2, 5, 4, 1, 1, 1, 1), datatype=128), "one number each"),
    "complex, nii": (nifti_bytes(dim=(3, 6, 5, 1, 1, 1, 1, 1), datatype=32), "one number each"),
    "voxels in the header, nii": (nifti_bytes(vox_offset=0.0), "vox_offset must be at least 352"),
    "voxels beyond the end, nii": (nifti_bytes(vox_offset=1e6), "is truncated"),
    "more bytes than promised, nii": (nifti_bytes() + b"1", "does not fit its header"),
    "half a pair, nii": (nifti_bytes(magic=b"ni1\0"), "is not NIfTI: no header of version 1 or 2"),
    "Analyze, nii": (nifti_bytes(magic=b"\0\0\0\0"), "is not NIfTI: no header"),
    "slope 0 with an intercept, nii": (nifti_bytes(slope=0.0, inter=-1024.0), "scl_slope must not"),
    "next to no slope, nii": (nifti_bytes(slope=1e-30), "scl_slope must be 0 or no less than"),
    "intercept nan, nii": (nifti_bytes(inter=NAN), "scl_inter must be finite"),
    "unit of time, nii": (nifti_bytes(units=5), "xyzt_units must be a length"),
    "version 2, nii": (b"\x1c\x02\0\0n+2\0\r\n\x1a\n".ljust(2000), "dim must be 1 to 7 positive"),
    "not gzipped, nii.gz": (nifti_bytes(), "is truncated or damaged: Not a gzipped file"),
    "zero spacing, mha": (meta_bytes(ElementSpacing="0 1 1"), r"ElementSpacing must .*\(0, 1, 1\)"),
    "negative spacing, mha": (meta_bytes(ElementSpacing="-1 1 1"), "ElementSpacing must"),
    "nan spacing, mha": (meta_bytes(ElementSpacing="nan 1 1"), "ElementSpacing must be finite"),
    "spacing in words, mha": (meta_bytes(ElementSpacing="a 1 1"), "ElementSpacing must be numbers"),
    "no spacing, mha": (meta_bytes(ElementSpacing=None), "ElementSpacing is missing"),
    "two spacings, mha": (meta_bytes(ElementSpacing="1 1"), "must be 3 lengths"),
    "nan offset, mha": (meta_bytes(Offset="nan 0 0"), "Offset must be finite"),
    "sheared, mha": (meta_bytes(TransformMatrix="1 1 0 0 1 0 0 0 1"), "direction must be 3 ortho"),
    "flat, mha": (meta_bytes(TransformMatrix="1 0 0 1 0 0 0 0 1"), "direction must be 3 ortho"),
    "scaled, mha": (meta_bytes(TransformMatrix="2 0 0 0 1 0 0 0 1"), "direction must be 3 ortho"),
    "2D, mha": (
        meta_bytes(NDims="2", DimSize="6 20", ElementSpacing="1 1", Offset="0 0",
                   TransformMatrix="1 0 0 1"), r"3 axes, got 2 axes of \(6, 20\)"),
    "4D, mha": (
        meta_bytes(NDims="4", DimSize="6 5 2 2", ElementSpacing="1 1 1 1", Offset="0 0 0 0",
                   TransformMatrix=None), "3 axes, got 4"),
    "vectors, mha": (meta_bytes(ElementNumberOfChannels="2", DimSize="3 5 4"), "one number each"),
    "negative size, mha": (meta_bytes(DimSize="-6 5 4"), "DimSize must"),
    "eight cosines, mha": (
        meta_bytes(TransformMatrix="1 0 0 0 1 0 0 0"), "TransformMatrix must be 9 numbers"),
    "two offsets, mha": (meta_bytes(Offset="1 2"), "Offset must be 3 numbers, got '1 2'"),
    "text, mha": (meta_bytes(BinaryData="False"), "BinaryData must be True"),
    "no compressed size, mha": (meta_bytes(CompressedData="True"), "CompressedDataSize must"),
    "unknown type, mha": (meta_bytes(ElementType="MET_FOO"), "ElementType must be a number"),
    "smaller than its data, mha": (meta_bytes(DimSize="6 5 3"), "does not fit its header"),
    "a rescale that readers ignore, mha": (
        meta_bytes(ElementToIntensityFunctionSlope="2"), "FunctionSlope must be 1, got '2'"),
    "an offset that readers ignore, mha": (
        meta_bytes(ElementToIntensityFunctionOffset="-1024"), "FunctionOffset must be 0, got"),
    "centimetres, mha": (meta_bytes(DistanceUnits="cm"), "DistanceUnits must be mm, got 'cm'"),
    "placed twice, mha": (meta_bytes(Position="1 1 1"), "Offset and Position place the volume"),
    "turned twice, mha": (
        meta_bytes(Orientation="0 1 0 1 0 0 0 0 1"), "TransformMatrix and Orientation place"),
    "both byte orders, mha": (
        meta_bytes(ElementByteOrderMSB="True"), "ElementByteOrderMSB contradict each other"),
    "sizes in brackets, mha": (meta_bytes(DimSize="(6 5 4"), "DimSize must be numbers"),
    "a hard blank, mha": (
        meta_bytes().replace(b"DimSize = 6 ", b"DimSize = 6\xa0"), "DimSize must be numbers"),
    "half a switch, mha": (
        meta_bytes(CompressedData="= 1"), "CompressedData must be True or False, got '= 1'"),
    "a colon in a key, mha": (
        meta_bytes().replace(b"yDataB", b"yData:B"), "no key = value in 'BinaryData:ByteOrderMSB'"),
    "local in other letters, mha": (
        meta_bytes().replace(b"LOCAL", b"LOCaL"), "LOCaL: there is no such file"),
    "given twice, mha": (b"NDims = 3\n" + meta_bytes(), "NDims is given twice"),
    "zero spacing, nrrd": (
        nrrd_bytes(space_directions="(0,0,0) (0,2,0) (0,0,3)"), r"directions must .*\(0, 2, 3\)"),
    "zero spacings, nrrd": (
        nrrd_bytes(space=None, space_origin=None, space_directions=None, spacings="0 1 1"),
        r"spacings must be positive lengths, got \(0, 1, 1\)"),
    "negative spacings, nrrd": (
        nrrd_bytes(space=None, space_origin=None, space_directions=None, spacings="1 -1 1"),
        r"spacings must be positive lengths, got \(1, -1, 1\)"),
    "nan spacings, nrrd": (
        nrrd_bytes(space=None, space_origin=None, space_directions=None, spacings="nan 1 1"),
        "spacings must give every axis a length"),
    "an axis nowhere, nrrd": (
        nrrd_bytes(space_directions="none (0,2,0) (0,0,3)"), "must give every axis a length"),
    "no spacing, nrrd": (
        nrrd_bytes(space=None, space_origin=None, space_directions=None), "no voxel has a size"),
    "sheared, nrrd": (
        nrrd_bytes(space_directions="(1,1,0) (0,2,0) (0,0,3)"), "direction must be 3 orthonormal"),
    "nan origin, nrrd": (nrrd_bytes(space_origin="(nan,0,0)"), "space origin must be finite"),
    "inches, nrrd": (nrrd_bytes(space_units='"in" "in" "in"'), "space units must be mm"),
    "4D, nrrd": (
        nrrd_bytes(dimension="4", sizes="6 5 2 2", kinds="domain domain domain list",
                   space_directions="(1,0,0) (0,2,0) (0,0,3) none"), "every axis a length"),
    "centimetres, nrrd": (
        nrrd_bytes(space=None, space_origin=None, space_directions=None, spacings="1 2 3",
                   units='"cm" "cm" "cm"'), "units must be mm"),
    "quantised, nrrd": (nrrd_bytes(old_min="-1024", old_max="3071"), "values were quantised"),
    "half a line end, nrrd": (
        nrrd_bytes().replace(b"space origin", b"\rspace origin"), "bytes that are no text"),
    "several files, nrrd": (nrrd_bytes(data_file="slice%03d.raw 1 4 1"), "several files"),
    "block type, nrrd": (nrrd_bytes(type="block"), "type must be a number"),
    "longer than its data, nrrd": (nrrd_bytes(type="double"), "is truncated"),
    "something else, nrrd": (b"P5 6 5 255\n", "not a NRRD file"),
}  # fmt: skip
"""Bytes of a file and the expected message; the last word of the name is the suffix."""


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_header_is_refused_with_its_reason(tmp_path, name, capfd):
    raw, match = BROKEN[name]
    path = tmp_path / f"ct.{name.rpartition(' ')[2]}"
    path.write_bytes(raw)
    refused(path, match)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("value", [NAN, INF, -INF, 1e300])
def test_voxels_that_are_not_finite_are_counted(tmp_path, value):
    voxels = ramp("<f8")
    voxels[1, 2, 3] = voxels[3, 0, 0] = value
    path = written(tmp_path, "ct.mha", meta_bytes(voxels, ElementType="MET_DOUBLE"))
    refused(path, r"ct\.mha: 2 of 120 voxels are not finite")


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("ct.nii", nifti_bytes(dim=(3, 32767, 32767, 32767, 1, 1, 1, 1))),
        ("ct.mha", meta_bytes(DimSize="100000 100000 100000")),
        ("ct.nrrd", nrrd_bytes(sizes="100000 100000 100000")),
    ],
)
def test_a_volume_beyond_memory_is_refused_before_it_is_read(tmp_path, name, raw):
    refused(written(tmp_path, name, raw), r"does not fit in memory: needs [\d,.]+ GiB, [\d,.]+ GiB")


def test_the_memory_requested_is_that_of_all_copies(tmp_path, monkeypatch):
    path = written(tmp_path, "ct.mha", meta_bytes())
    needed = 120 * (2 + 2)
    monkeypatch.setattr(host_memory, "available_memory_bytes", lambda: needed)
    open_ct(path).volume()
    monkeypatch.setattr(host_memory, "available_memory_bytes", lambda: needed - 1)
    refused(path, "does not fit in memory")


@pytest.mark.parametrize(
    ("folder", "limit", "used", "parts"),
    [
        (".", "memory.max", "memory.current", "anon 9\nactive_file 100\ninactive_file 900\n"),
        (
            "memory",
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            "inactive_file 7\nactive_file 7\ntotal_inactive_file 600\ntotal_active_file 400\n",
        ),
    ],
    ids=["version 2", "version 1"],
)
def test_a_containers_limit_counts_and_copies_of_files_do_not(
    tmp_path, monkeypatch, folder, limit, used, parts
):
    group = tmp_path / folder
    group.mkdir(exist_ok=True)
    (group / limit).write_text("5000\n")
    (group / used).write_text("3000\n")
    (group / "memory.stat").write_text(parts)
    monkeypatch.setattr(host_memory, "CGROUPS", tmp_path)
    assert host_memory.available_memory_bytes() == 5000 - 3000 + 1000
    (group / limit).write_text("max\n" if folder == "." else f"{2**63 - 4096}\n")
    assert host_memory.available_memory_bytes() > 10**6


def test_without_meminfo_the_machines_memory_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(host_memory, "MEMINFO", tmp_path / "none")
    assert host_memory.available_memory_bytes() > 10**6


def test_voxels_that_two_readers_find_differently_are_refused(tmp_path, monkeypatch):
    from fluoro.volume.formats.itk_file import ItkFile

    path = written(tmp_path, "ct.nrrd", nrrd_bytes())
    real = ItkFile.read
    monkeypatch.setattr(ItkFile, "read", lambda file: real(file)[:, :, ::-1])
    refused(path, "its voxels are read in two ways: 4 of 4 planes differ")


# Damage at random

WHOLE = {
    ".nii": nifti_bytes(),
    ".mha": meta_bytes(),
    ".nrrd": nrrd_bytes(),
}
CHARACTERS = b"\0\xff 0123456789-.\n=:,()naif"
"""Bytes that make a header mean something else rather than nothing."""


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    suffix=st.sampled_from(sorted(WHOLE)),
    changes=st.lists(st.tuples(st.integers(0, 400), st.sampled_from(CHARACTERS)), max_size=6),
    kept=st.integers(0, 700),
)
def test_damage_gives_a_valid_volume_or_one_line(tmp_path, suffix, changes, kept):
    raw = bytearray(WHOLE[suffix])
    for at, byte in changes:
        raw[min(at, len(raw) - 1)] = byte
    path = tmp_path / f"ct{suffix}"
    path.write_bytes(raw[:kept])
    try:
        hu = open_ct(path).volume()
    except InputError as error:
        message = str(error)
    else:
        message = ""
        assert hu.hu_zyx.size == np.prod(hu.grid.shape_zyx)
        assert np.all(np.isfinite(hu.hu_zyx))
    assert "\n" not in message


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(suffix=st.sampled_from([".nii", ".nii.gz", ".mha", ".nrrd"]), raw=st.binary(max_size=600))
def test_noise_is_refused(tmp_path, suffix, raw):
    path = tmp_path / f"ct{suffix}"
    path.write_bytes(raw)
    with pytest.raises(InputError):
        open_ct(path).volume()


@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
@pytest.mark.parametrize("value", [NAN, INF])
def test_a_nifti_voxel_that_is_not_finite_is_refused_though_the_library_reads_0(
    tmp_path, suffix, value
):
    voxels = np.zeros((4, 3, 2), np.float32)
    voxels[1, 2, 0] = value
    path = tmp_path / f"ct.{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(voxels), str(path))
    with pytest.raises(InputError, match="1 of 24 voxels are not finite"):
        open_ct(path).volume()
