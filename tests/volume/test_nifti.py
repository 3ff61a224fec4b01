"""NIfTI of version 2 and in two files: read as nibabel wrote it, or refused."""

import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from fluoro.errors import InputError
from fluoro.volume.formats.nifti import VERSION_2
from fluoro.volume.open_ct import open_ct

DATA = Path(__file__).parents[1] / "data" / "nifti"
FILES = ("one.hdr", "one_gz.hdr.gz", "two.nii", "two.nii.gz", "two.hdr")
LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
RAS_FROM_INDEX = [[0, -2, 0, 11], [0.8, 0, 1.8, -22], [-0.6, 0, 2.4, 33.5], [0, 0, 0, 1]]
"""As tools/data/make_nifti_files.py wrote it."""
EXPECTED_ZYX = (2 * np.arange(60).reshape(3, 4, 5) - 1024).T


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_nibabel_wrote_has_its_voxels_at_their_places(name):
    ct = open_ct(DATA / name)
    assert (ct.kind, ct.oriented, ct.array().dtype) == ("NIfTI", True, np.int16)
    np.testing.assert_array_equal(ct.array(), EXPECTED_ZYX)
    np.testing.assert_array_equal(np.stack([*map(np.copy, ct.slices(1, 4))]), EXPECTED_ZYX[1:4])
    expected = LPS_FROM_RAS @ RAS_FROM_INDEX
    np.testing.assert_allclose(ct.grid.world_from_index, expected, atol=1e-5)
    assert ct.files == ((DATA / name, *ct.files[1:]) if ".hdr" in name else (DATA / name,))
    assert [path.name.split(".")[1] for path in ct.files[1:]] == ["img"] * (".hdr" in name)


def changed(tmp_path, name, **fields):
    """A copy of a file of version 2 with other header fields."""
    for path in DATA.glob(f"{Path(name).stem}.*"):
        shutil.copy(path, tmp_path)
    path = tmp_path / name
    content = bytearray(path.read_bytes())
    header = np.frombuffer(content, VERSION_2, count=1)
    for key, value in fields.items():
        header[key][...] = value
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "fields", "line"),
    [
        ("two.nii", {"vox_offset": 540}, "vox_offset must be at least 544, got 540"),
        ("two.nii", {"magic": b"n+2"}, "is not NIfTI: no header of version 1 or 2 of a file in"),
        ("two.hdr", {"magic": b"n+2\0\r\n\x1a\n"}, "no header of version 1 or 2 of a pair"),
        ("two.nii", {"dim": (4, 3, 4, 5, 2, 1, 1, 1)}, "truncated|3 axes"),
        ("two.nii", {"dim": (3, 3, 4, 2**40, 1, 1, 1, 1)}, "memory|truncated"),
        ("two.nii", {"pixdim": (1, 1, np.nan, 3, 0, 0, 0, 0)}, "pixdim"),
        ("two.nii", {"sform_code": 0, "units": 1, "pixdim": (1e307,) * 8}, r"pixdim \[mm\] must"),
        ("two.nii", {"qform_code": 1, "quatern": 0}, "places the volume in two ways"),
        ("two.hdr", {"dim": (3, 3, 4, 6, 1, 1, 1, 1)}, "truncated|needs"),
    ],
)
def test_a_header_that_is_wrong_is_refused(tmp_path, name, fields, line):
    path = changed(tmp_path, name, **fields)
    with pytest.raises(InputError, match=line) as caught:
        open_ct(path).array()
    assert "\n" not in str(caught.value)


def test_a_pair_without_its_voxels_is_refused(tmp_path):
    shutil.copy(DATA / "two.hdr", tmp_path)
    with pytest.raises(InputError, match=r"two\.hdr: its voxels, two\.img, are not there"):
        open_ct(tmp_path / "two.hdr")


def test_every_change_of_a_byte_is_read_or_refused(tmp_path):
    """No byte of the header of version 2 ends in anything but a CT or one line."""
    original = (DATA / "two.nii").read_bytes()
    path = tmp_path / "ct.nii"
    for at in range(0, VERSION_2.itemsize, 3):
        path.write_bytes(original[:at] + bytes([original[at] ^ 0xFF]) + original[at + 1 :])
        with suppress(InputError):
            open_ct(path).array()
