"""A CT is opened in one way: its header is read once, with the options."""

from collections import Counter

import numpy as np
import pytest

import app
from fluoro.config import ReadOptions, VolumeConfig
from fluoro.errors import InputError
from fluoro.volume import open_ct as opening
from fluoro.volume.ct import Ct, CtFormat
from fluoro.volume.formats import metaimage, nifti, nrrd
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.load import load_volume, preprocess_volume
from fluoro.volume.open_ct import FORMATS, open_ct
from fluoro.volume.slice_reader import array_planes
from tests import dicom_files as dicom
from tests.volume_files import SHAPE_ZYX, nifti_bytes, ramp, saved, written

LAYOUT = {
    "spacing_xyz_mm": (1.0, 2.0, 3.0),
    "origin_xyz_mm": (10.0, 20.0, 30.0),
    "direction": (1, 0, 0, 0, 1, 0, 0, 0, 1),
}
TWO_PLACES = nifti_bytes(sform_code=1, qform_code=1, quatern=(0, 0, 1, 1, 2, 3))
"""Its sform puts the first voxel at (10, 20, 30), its qform at (-1, -2, 3)."""


def an_array(folder):
    np.save(folder / "ct.npy", ramp())
    return folder / "ct.npy"


def a_raw_file(folder):
    (folder / "ct.raw").write_bytes(ramp().tobytes())
    return folder / "ct.raw"


PLACES = {
    "NIfTI": lambda folder: saved(folder, "ct.nii.gz"),
    "NRRD": lambda folder: saved(folder, "ct.nrrd"),
    "MetaImage": lambda folder: saved(folder, "ct.mhd"),
    "NumPy": an_array,
    "raw": a_raw_file,
    "DICOM": lambda folder: dicom.series(folder / "series"),
}
OPTIONS = {
    "NumPy": ReadOptions(array=LAYOUT),
    "raw": ReadOptions(array={**LAYOUT, "shape_zyx": SHAPE_ZYX, "dtype": "int16"}),
}


def test_every_format_is_opened_here():
    assert set(PLACES) == {form.name for form in FORMATS}


@pytest.mark.parametrize("kind", PLACES)
def test_a_ct_tells_and_gives_the_same_in_every_format(tmp_path, kind):
    path = PLACES[kind](tmp_path)
    ct = open_ct(path, OPTIONS.get(kind, ReadOptions()))
    assert (ct.kind, ct.oriented, ct.remarks) == (kind, True, ())
    assert set(ct.files) == (set(path.iterdir()) if path.is_dir() else {*tmp_path.glob("ct.*")})
    assert ct.grid.shape_zyx == SHAPE_ZYX
    np.testing.assert_array_equal(ct.array(), ramp())
    np.testing.assert_array_equal(np.stack([*map(np.copy, ct.slices(1, 3))]), ramp()[1:3])
    assert ct.volume().grid == ct.planes.grid == ct.grid


@pytest.mark.parametrize("kind", PLACES)
def test_every_format_refuses_the_options_of_the_others(tmp_path, kind):
    path, own = PLACES[kind](tmp_path), next(f.options for f in FORMATS if f.name == kind)
    made = {"series": "1", "select": {"AcquisitionNumber": "1"}, "gaps": "interpolate",
            "nifti_transform": "sform", "nan_voxels": "air", "array": LAYOUT}  # fmt: skip
    assert set(made) == set(ReadOptions.model_fields)
    for key in made.keys() - own:
        with pytest.raises(InputError, match=rf"^volume\.{key}: has no effect on .*, which is"):
            open_ct(path, ReadOptions(**{key: made[key]}))


@pytest.fixture
def parsed(monkeypatch):
    """How often each header was read."""
    counts = Counter()
    for module, name in ((nifti, "_first_bytes"), (nrrd, "_fields"), (metaimage, "_fields")):
        real = getattr(module, name)

        def counted(path, *args, real=real):
            counts[path.name] += 1
            return real(path, *args)

        monkeypatch.setattr(module, name, counted)
    return counts


@pytest.mark.parametrize("name", ["ct.nii", "ct.nrrd", "ct.mha"])
def test_a_header_is_read_once_by_each_command(tmp_path, parsed, name, capsys):
    path = saved(tmp_path, name)
    load_volume(VolumeConfig(path=path))
    assert parsed == {name: 1}  # made
    load_volume(VolumeConfig(path=path))
    assert parsed == {name: 2}  # from the cache
    preprocess_volume(VolumeConfig(path=path), tmp_path / "folder")
    assert parsed == {name: 3}
    assert app.main(["inspect", str(path), "--image", str(tmp_path / "slices.png")]) == 0
    assert parsed == {name: 4}
    assert "orientation: LPS" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("transform", "first_mm"), [("sform", (10, 20, 30)), ("qform", (-1, -2, 3))]
)
def test_the_chosen_transform_places_the_volume_in_every_command(
    tmp_path, transform, first_mm, capsys
):
    path = written(tmp_path, "ct.nii", TWO_PLACES)
    config = VolumeConfig(path=path, nifti_transform=transform)
    for _ in range(2):  # made, and from the cache
        np.testing.assert_allclose(load_volume(config).grid.origin_xyz_mm, first_mm)
    made = preprocess_volume(config, tmp_path / "folder")
    np.testing.assert_allclose(made.grid.origin_xyz_mm, first_mm)
    chosen = ["--set", f"volume.nifti_transform={transform}"]
    image = ["--image", str(tmp_path / "slices.png")]
    assert app.main(["inspect", str(path), *chosen, *image]) == 0
    x, y, z = first_mm
    assert f"first voxel: ({x}, {y}, {z}) mm" in capsys.readouterr().out


class TextCt(Ct):
    """Numbers as text, one plane a line."""

    kind = "text"
    remarks = ("made for a test",)

    @property
    def grid(self):
        return VolumeGrid(shape_zyx=(2, 2, 2), spacing_xyz_mm=(1.0, 1.0, 1.0))

    @property
    def planes(self):
        return array_planes(self.path, self.grid, self.array())

    def array(self):
        return np.loadtxt(self.path, np.int16).reshape(2, 2, 2)


def test_a_format_is_one_line_in_the_list(tmp_path, monkeypatch, caplog):
    text = CtFormat(
        name="text", suffixes=(".txt",), open=lambda path, _options: TextCt(path),
        options=frozenset({"series"}),
    )  # fmt: skip
    monkeypatch.setattr(opening, "FORMATS", (text, *FORMATS))
    path = tmp_path / "ct.txt"
    path.write_text("0 0 0 0\n1000 0 0 0\n")
    mu_zyx = load_volume(VolumeConfig(path=path, series=3)).mu_zyx
    assert mu_zyx[1, 0, 0] == pytest.approx(2 * mu_zyx[0, 0, 0])
    assert "made for a test" in caplog.text
    with pytest.raises(InputError, match=r"or end in \.txt, \.nii"):
        open_ct(written(tmp_path, "ct.doc", b"x"))


@pytest.mark.parametrize("name", ["ct.zip", "ct.tar.gz", "CT.7Z"])
def test_an_archive_is_refused_with_the_way_out(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK\3\4")
    with pytest.raises(InputError, match=r"is an archive, .*unpack it and give the folder"):
        open_ct(tmp_path / name)
