"""Report and image of a CT show its content, for every order of its axes."""

import itertools

import numpy as np
import pytest

from fluoro.plot.slice_image import draw_slices
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.inspect import report as report_of
from fluoro.volume.open_ct import open_ct
from fluoro.volume.orientation import in_words, orientation_code, tilt_deg, turned_to_lps
from fluoro.volume.volumes import HuVolume
from tests.volume_files import meta_bytes, ramp, saved, written


def inspected(path):
    ct = open_ct(path)
    return report_of(ct, ct.volume())


SIGNED_AXES = [
    (axes, signs)
    for axes in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]
"""All 48 ways in which a volume's axes can run along the patient's."""


def direction_of(axes, signs):
    """Columns of a volume whose index i runs along patient axis axes[i], in sense signs[i]."""
    matrix = np.zeros((3, 3))
    for index, (axis, sign) in enumerate(zip(axes, signs, strict=True)):
        matrix[axis, index] = sign
    return tuple(tuple(row) for row in matrix.tolist())


def turned(lps_zyx, spacing_lps, axes, signs):
    """The same patient, stored along other axes."""
    order = [2 - axes[index] for index in (2, 1, 0)]
    values = lps_zyx.transpose(order)
    values = np.flip(values, [2 - index for index in range(3) if signs[index] < 0])
    z, y, x = values.shape
    grid = VolumeGrid(
        shape_zyx=(z, y, x),
        spacing_xyz_mm=tuple(spacing_lps[axis] for axis in axes),
        direction=direction_of(axes, signs),
    )
    return HuVolume(hu_zyx=np.ascontiguousarray(values), grid=grid)


@pytest.mark.parametrize(("axes", "signs"), SIGNED_AXES)
def test_a_patient_is_turned_the_same_however_it_was_stored(axes, signs):
    hu = turned(ramp(), (1.0, 2.0, 3.0), axes, signs)
    view, spacing_zyx_mm = turned_to_lps(hu.hu_zyx, hu.grid)
    np.testing.assert_array_equal(view, ramp())
    assert spacing_zyx_mm == (3, 2, 1)


@pytest.mark.parametrize(
    ("direction", "code", "words"),
    [
        (np.eye(3), "LPS", "x to the left, y to the back, z to the head"),
        (np.diag([-1, -1, 1]), "RAS", "x to the right, y to the front, z to the head"),
        (
            [[0, 0, -1], [1, 0, 0], [0, -1, 0]],
            "PIR",
            "x to the back, y to the feet, z to the right",
        ),
    ],
)
def test_axes_have_their_letters(direction, code, words):
    assert orientation_code(direction) == code
    assert in_words(code) == words


def test_an_oblique_volume_is_named_after_the_nearest_axes():
    angle = np.radians(20)
    c, s = np.cos(angle), np.sin(angle)
    direction = [[c, -s, 0], [s, c, 0], [0, 0, 1]]
    assert orientation_code(direction) == "LPS"
    assert tilt_deg(direction) == pytest.approx(20)
    assert tilt_deg(np.eye(3)) == 0


def test_a_report_tells_the_grid_the_range_and_the_padding(tmp_path):
    voxels = ramp() - 600  # -1100, -1090 ... 90
    path = written(tmp_path, "ct.mha", meta_bytes(voxels))
    report = inspected(path)
    assert (report.hu_min, report.hu_max) == (-1100, 90)
    assert report.padding_voxels == np.count_nonzero(voxels < -1024)
    assert report.padding_hu == (-1100, -1030)
    body = np.sort(voxels[voxels >= -1024])
    expected = {p: np.percentile(body, p, method="inverted_cdf") for p in report.percentiles_hu}
    assert report.percentiles_hu == expected
    text = "\n".join(report.lines())
    for fact in (
        f"file:        {path}",
        "kind:        MetaImage, int16",
        "voxels:      6 x 5 x 4 (x, y, z)",
        "spacing:     1 x 2 x 3 mm",
        "size:        6 x 10 x 12 mm",
        "first voxel: (10, 20, 30) mm (patient LPS)",
        "centre:      (12.5, 24, 34.5) mm (patient LPS)",
        "orientation: LPS (x to the left, y to the back, z to the head)",
        "CT numbers:  -1100 to 90 HU",
        "padding:     8 voxels (6.7%) of -1100 to -1030 HU, rendered as air",
    ):
        assert fact in text
    assert "note:" not in text


def test_float_volumes_are_counted_too(tmp_path):
    voxels = ramp("<f4") - np.float32(600.5)
    path = written(tmp_path, "ct.mha", meta_bytes(voxels, ElementType="MET_FLOAT"))
    report = inspected(path)
    assert report.voxel_type == "float32"
    assert (report.hu_min, report.hu_max) == (-1100.5, 89.5)
    assert report.padding_voxels == np.count_nonzero(voxels < -1024)


def test_what_is_doubtful_is_noted(tmp_path):
    raw = meta_bytes(np.abs(ramp()), TransformMatrix=None)
    notes = inspected(written(tmp_path, "ct.mha", raw)).remarks()
    assert len(notes) == 2
    assert "does not say how the patient lies" in notes[0]
    assert "are these CT numbers?" in notes[1]


def test_a_volume_of_padding_alone_is_reported(tmp_path):
    report = inspected(written(tmp_path, "ct.mha", meta_bytes(ramp() * 0 - 2000)))
    assert report.percentiles_hu == {}
    assert "120 voxels (100.0%) of -2000 HU" in "\n".join(report.lines())


def test_a_tilt_is_reported(tmp_path):
    path = saved(tmp_path, "ct.mha", direction=(0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1))
    assert "tilted by 36.9 degrees" in "\n".join(inspected(path).lines())


# The image

MARKED_MM = {"L": (90, 50, 50), "A": (50, 10, 50), "H": (50, 50, 90)}
"""Where a bright block lies in a box of 100 mm, from the patient's right, front and feet."""


def marked(letter):
    """A grey patient of 50 x 50 x 25 voxels (2, 2 and 4 mm) with one bright block."""
    lps = np.full((25, 50, 50), -200, np.int16)
    x, y, z = (int(mm / step) for mm, step in zip(MARKED_MM[letter], (2, 2, 4), strict=True))
    lps[z - 2 : z + 2, y - 3 : y + 3, x - 3 : x + 3] = 600
    return lps


@pytest.mark.parametrize("letter", MARKED_MM)
def test_slices_hang_as_radiologists_hang_them_however_they_were_stored(letter):
    """Patient's right to the left of the image, front up or left, head up: by block."""
    images = [
        np.asarray(draw_slices(turned(marked(letter), (2.0, 2.0, 4.0), axes, signs)))
        for axes, signs in SIGNED_AXES[::7]
    ]
    assert all(np.array_equal(images[0], other) for other in images)
    bright = {}
    for name, left in (("axial", 26), ("coronal", 26 + 492), ("sagittal", 26 + 2 * 492)):
        panel = images[0][26:466, left : left + 440, 0]
        rows, columns = np.nonzero(panel == 255)
        inside = (rows > 30) | (columns > 90)  # not the title
        if inside.sum() > 100:
            bright[name] = (rows[inside].mean() / 440, columns[inside].mean() / 440)
    expected = {
        "L": {"axial": (0.5, 0.9), "coronal": (0.5, 0.9)},
        "A": {"axial": (0.1, 0.5), "sagittal": (0.5, 0.1)},
        "H": {"coronal": (0.1, 0.5), "sagittal": (0.1, 0.5)},
    }[letter]
    assert bright.keys() == expected.keys()
    for name, place in expected.items():
        assert bright[name] == pytest.approx(place, abs=0.03)


def test_the_window_is_fixed():
    """Air is black, metal white, and a grey of -200 HU stays the same beside either."""
    levels = []
    for other in (-1000, 3000):
        lps = np.full((10, 10, 10), -200, np.int16)
        lps[:, :, :2] = other
        hu = turned(lps, (1.0, 1.0, 1.0), (0, 1, 2), (1, 1, 1))
        image = np.asarray(draw_slices(hu))
        levels.append((image[246, 26 + 220, 0], image[246, 26 + 20, 0]))
    assert levels == [(128, 0), (128, 255)]


def test_a_flat_volume_has_an_image():
    hu = turned(np.zeros((1, 300, 2), np.int16), (1.0, 1.0, 0.5), (0, 1, 2), (1, 1, 1))
    assert draw_slices(hu).size[1] > 440
