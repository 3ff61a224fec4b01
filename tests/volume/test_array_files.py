"""Plain arrays are read where the user says they lie, or refused in one line."""

import io

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluoro.config import ArrayConfig, ReadOptions, volume_config
from fluoro.errors import InputError
from fluoro.volume import host_memory
from fluoro.volume.open_ct import open_ct
from tests.volume_files import SHAPE_ZYX, ramp

OBLIQUE = (0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1)
PLACE = {
    "spacing_xyz_mm": (1.0, 2.0, 3.0), "origin_xyz_mm": (10.0, 20.0, 30.0), "direction": OBLIQUE,
}  # fmt: skip


def options(**keys):
    return ReadOptions(array=ArrayConfig(**(PLACE | keys)))


def refused(path, match, choices=None):
    with pytest.raises(InputError, match=match) as caught:
        open_ct(path, options() if choices is None else choices).volume()
    assert "\n" not in str(caught.value)


def saved(folder, name, values=None, **arrays):
    path = folder / name
    if name.endswith(".npz"):
        np.savez_compressed(path, **(arrays or {"hu": ramp() if values is None else values}))
    else:
        np.save(path, ramp() if values is None else values)
    return path


@pytest.mark.parametrize("name", ["ct.npy", "ct.npz"])
@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<f4", ">f8", "<u2", "<i4"])
def test_numpy_files_of_any_number_are_read(tmp_path, name, dtype):
    values = np.abs(ramp()) if "u" in dtype else ramp()
    path = saved(tmp_path, name, values.astype(dtype))
    hu = open_ct(path, options()).volume()
    np.testing.assert_array_equal(hu.hu_zyx, values)
    assert hu.hu_zyx.dtype == np.int16
    assert hu.grid.spacing_xyz_mm == (1, 2, 3)
    np.testing.assert_allclose(np.ravel(hu.grid.direction), OBLIQUE)
    np.testing.assert_allclose(hu.grid.origin_xyz_mm, (10, 20, 30))
    planes = open_ct(path, options()).slices(1, 3)
    np.testing.assert_array_equal(list(planes), values[1:3])
    assert open_ct(path, options()).kind == "NumPy"


def test_fortran_order_is_read(tmp_path):
    path = saved(tmp_path, "ct.npy", np.asfortranarray(ramp()))
    np.testing.assert_array_equal(open_ct(path, options()).volume().hu_zyx, ramp())


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("dtype", ["int16", "float32", "int32"])
@pytest.mark.parametrize("offset", [0, 3])
def test_raw_files_are_read(tmp_path, order, dtype, offset):
    raw = ramp().astype(np.dtype(dtype).newbyteorder(order)).tobytes()
    (tmp_path / "ct.raw").write_bytes(b"x" * offset + raw)
    choices = options(shape_zyx=SHAPE_ZYX, dtype=dtype, byte_order=order, offset_bytes=offset)
    np.testing.assert_array_equal(open_ct(tmp_path / "ct.raw", choices).volume().hu_zyx, ramp())
    assert open_ct(tmp_path / "ct.raw", choices).kind == "raw"


def test_one_of_several_arrays_is_chosen_by_name(tmp_path):
    path = saved(tmp_path, "ct.npz", a=ramp(), b=ramp() + 1)
    refused(path, "volume.array.name must be one of a, b, got none")
    refused(path, "must be one of a, b, got c", options(name="c"))
    np.testing.assert_array_equal(open_ct(path, options(name="b")).volume().hu_zyx, ramp() + 1)


@pytest.mark.parametrize("name", ["ct.npy", "ct.npz", "ct.raw"])
def test_an_array_without_a_layout_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"x" * 9)
    refused(tmp_path / name, "volume.array is missing; .*spacing_xyz_mm, .*direct", ReadOptions())


@pytest.mark.parametrize(
    ("keys", "match"),
    [
        ({}, "volume.array.shape_zyx is missing"),
        ({"shape_zyx": SHAPE_ZYX}, "volume.array.dtype is missing"),
        ({"shape_zyx": SHAPE_ZYX, "dtype": "int32"}, "480 bytes are promised, 240 are there"),
        ({"shape_zyx": SHAPE_ZYX, "dtype": "int16", "offset_bytes": 2}, "242 bytes are promised"),
        (
            {"shape_zyx": SHAPE_ZYX, "dtype": "int16", "direction": (1, 0, 0, 1, 1, 0, 0, 0, 1)},
            "volume.array: direction must be 3 orthonormal columns",
        ),
    ],
)
def test_a_layout_that_does_not_fit_is_refused(tmp_path, keys, match):
    (tmp_path / "ct.raw").write_bytes(ramp().tobytes())
    refused(tmp_path / "ct.raw", match, options(**keys))


def test_a_layout_that_no_array_has_is_refused(tmp_path):
    for keys, match in (
        ({"direction": (1, 0, 0)}, "array.direction: must be a list of 9 numbers, got"),
        ({"dtype": "complex64"}, "array.dtype: must be .*int8.*, got 'complex64'"),
        ({"offset_bytes": -1}, "array.offset_bytes: must be .*0, got -1"),
        ({"spacing_xyz_mm": (1.0, 0.0, 1.0)}, r"array.spacing_xyz_mm\.1: must be .*, got 0"),
    ):
        with pytest.raises(InputError, match=match) as caught:
            volume_config({"path": tmp_path / "ct.npy", "array": {**PLACE, **keys}})
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (np.zeros((4, 5)), r"array with 3 axes \(z, y, x\), got \(4, 5\)"),
        (np.zeros((4, 0, 5)), "array with 3 axes"),
        (np.zeros((2, 2, 2), complex), "real numbers, got complex128"),
        (np.full((2, 2, 2), "a"), "real numbers"),
        (np.full((2, 2, 2), np.nan), "8 of 8 voxels are not finite"),
        (np.full((2, 2, 2), object()), "cannot be read: .*([Oo]bject|pickle)"),
    ],
)
@pytest.mark.parametrize("name", ["ct.npy", "ct.npz"])
def test_arrays_that_are_no_volume_are_refused(tmp_path, name, values, match):
    refused(saved(tmp_path, name, values), match)


def test_what_the_file_says_must_be_what_the_layout_says(tmp_path):
    path = saved(tmp_path, "ct.npy")
    refused(
        path, r"shape_zyx is \(1, 2, 3\), the file has \(4, 5, 6\)", options(shape_zyx=(1, 2, 3))
    )
    refused(path, "dtype is int32, the file has int16", options(dtype="int32"))


def test_the_layout_of_arrays_has_no_effect_on_other_files(tmp_path):
    (tmp_path / "ct.nii").write_bytes(b"x" * 400)
    refused(tmp_path / "ct.nii", "volume.array: has no effect on .*ct.nii, which is NIfTI")


def test_an_inflated_array_beyond_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = saved(tmp_path, "ct.npz", np.zeros((40, 50, 60)))
    monkeypatch.setattr(host_memory, "available_memory_bytes", lambda: 1000)
    refused(path, "does not fit in memory")


def _bytes(save):
    buffer = io.BytesIO()
    save(buffer, ramp())
    return buffer.getvalue()


WHOLE = {".npy": _bytes(np.save), ".npz": _bytes(np.savez_compressed)}


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    suffix=st.sampled_from(sorted(WHOLE)),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4),
    cut=st.integers(0, 60),
)
def test_damage_gives_a_valid_volume_or_one_line(tmp_path, suffix, changes, cut):
    raw = bytearray(WHOLE[suffix])
    for at, byte in changes:
        raw[min(at, len(raw) - 1)] = byte
    path = tmp_path / f"ct{suffix}"
    path.write_bytes(raw[: len(raw) - cut])
    try:
        hu = open_ct(path, options()).volume()
    except InputError as error:
        message = str(error)
    else:
        message = ""
        assert hu.hu_zyx.shape == hu.grid.shape_zyx
        assert np.all(np.isfinite(hu.hu_zyx))
    assert "\n" not in message
