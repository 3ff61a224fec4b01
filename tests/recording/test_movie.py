"""The movie, the contact sheet and the images of the scene."""

from __future__ import annotations

import errno
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from fluoro.errors import InputError, OutputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.carm_drawing import carm_scene
from fluoro.geometry.triangles import Surface, box
from fluoro.plot.contact_sheet import contact_sheet, write_contact_sheet
from fluoro.plot.scene_image import SceneRenderer
from fluoro.plot.scene_movie import movie_images, write_animation, write_scene_movie
from fluoro.plot.surface_renderer import Camera, paint
from fluoro.recording.formats import mp4_writer
from fluoro.recording.frame_sampler import SampledFrame

ISOCENTER = (0.0, 0.0, 0.0)
SKIN = box(ISOCENTER, ((160, 0, 0), (0, 110, 0), (0, 0, 170)))
BONE = box((0, 60, 0), ((20, 0, 0), (0, 20, 0), (0, 0, 150)))
GEOMETRY = CarmGeometry(detector_width_px=256, detector_height_px=256, pixel_spacing_mm=1.5)


def sampled(count: int, height: int = 256, width: int = 256) -> list[SampledFrame]:
    levels = np.linspace(20, 200, count).astype(np.uint8)
    return [
        SampledFrame(
            grey=np.full((height, width), level, np.uint8),
            number=3 * n,
            pose=CarmPose(lao_deg=10.0 * n - 20),
            geometry=GEOMETRY,
        )
        for n, level in enumerate(levels)
    ]


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[float]]:
    path = tmp_path_factory.mktemp("movie") / "carm_sweep.mp4"
    shares: list[float] = []
    write_scene_movie(path, sampled(5), SKIN, BONE, ISOCENTER, fps=10, progress=shares.append)
    return path, shares


def test_movie_shows_each_frame_beside_the_scene(movie: tuple[Path, list[float]]) -> None:
    path, shares = movie
    with av.open(str(path)) as film:
        images = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert [image.shape for image in images] == [(480, 960, 3)] * 5
    assert shares == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    for image, frame in zip(images, sampled(5), strict=True):
        assert np.abs(image[100:200, 600:700].astype(int) - frame.grey[0, 0]).mean() < 3
    changes = np.abs(images[0][:, :480].astype(int) - images[4][:, :480]).max(axis=2) > 60
    assert changes.mean() > 0.02, "the C-arm turned"


def test_movie_of_no_frames_is_refused_and_none_is_overwritten(
    movie: tuple[Path, list[float]],
) -> None:
    with pytest.raises(InputError, match="at least one frame"):
        next(movie_images([], SKIN, BONE, ISOCENTER))
    with pytest.raises(OutputError, match=r"carm_sweep\.mp4: cannot be written: File exists"):
        write_scene_movie(movie[0], sampled(1), SKIN, BONE, ISOCENTER)


def test_a_movie_that_is_broken_off_leaves_no_file(tmp_path: Path) -> None:
    def stop(share: float) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "carm_sweep.mp4"
    with pytest.raises(KeyboardInterrupt):
        write_scene_movie(path, sampled(2), SKIN, BONE, ISOCENTER, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_amid_a_movie_is_reported_by_the_movie_s_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(mp4_writer._WholeBoxes, "commit", full)
    path = tmp_path / "carm_sweep.mp4"
    with pytest.raises(OutputError) as caught:
        write_scene_movie(path, sampled(2), SKIN, BONE, ISOCENTER)
    assert str(caught.value) == f"{path}: cannot be written: No space left on device"
    assert list(tmp_path.iterdir()) == []


def test_frames_that_are_not_square_keep_their_shape() -> None:
    image = np.asarray(next(movie_images(sampled(1, 64, 128), SKIN, BONE, ISOCENTER)))
    right = image[:, 480:].max(axis=2)
    assert right[100, 40] == 0, "black above"
    assert right[180, 100] == 20, "the image in the middle"


def test_a_patient_without_surfaces_is_drawn_as_nothing() -> None:
    nothing = Surface(
        vertices_xyz_mm=np.zeros((0, 3), np.float32), faces=np.zeros((0, 3), np.int32)
    )
    image = next(movie_images(sampled(1), nothing, nothing, ISOCENTER))
    assert image.size == (960, 480)


def test_animation_holds_every_second_image_and_obeys_its_limit(
    movie: tuple[Path, list[float]], tmp_path: Path
) -> None:
    path = tmp_path / "carm_sweep.webp"
    write_animation(path, movie[0])
    with Image.open(path) as animation:
        assert (animation.n_frames, animation.size) == (3, (960, 480))  # type: ignore[attr-defined]
    small = path.stat().st_size // 2
    write_animation(path, movie[0], max_bytes=small)
    assert path.stat().st_size <= small
    before = path.read_bytes()
    with pytest.raises(OutputError, match="at most 100 bytes"):
        write_animation(path, movie[0], max_bytes=100)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["carm_sweep.webp"]


def test_contact_sheet_shows_frames_from_first_to_last_with_captions(tmp_path: Path) -> None:
    frames = sampled(40)
    write_contact_sheet(tmp_path / "contact_sheet.png", frames, "a run", count=8)
    page = np.asarray(Image.open(tmp_path / "contact_sheet.png"))
    for index, number in enumerate(np.round(np.linspace(0, 39, 8)).astype(int)):
        row, column = divmod(index, 4)
        top, left = 56 + row * (256 + 38), 12 + column * 268
        np.testing.assert_array_equal(
            page[top : top + 256, left : left + 256], frames[number].grey[0, 0]
        )
        caption = page[top + 258 : top + 280, left : left + 256]
        assert caption.max() > 200, "written on"
    assert page[:56].max() > 200, "titled"


def test_contact_sheet_of_no_frames_is_a_titled_page() -> None:
    assert np.asarray(contact_sheet([], "a run")).max() > 200


def test_contact_sheet_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"sheet\.png: cannot be written: No such file"):
        write_contact_sheet(tmp_path / "missing" / "sheet.png", sampled(1), "a run")


def test_scene_shows_the_head_right_the_chest_up_and_the_left_side_near() -> None:
    scene = carm_scene(GEOMETRY.view(CarmPose(), ISOCENTER), ISOCENTER)
    camera = SceneRenderer(SKIN, BONE, [scene], 240).camera
    axes = np.array([(0, 0, 0), (100, 0, 0), (0, -100, 0), (0, 0, 100)], float)
    seen = camera.seen(axes)
    (_, left, up, head), pixels = seen, camera.pixels(seen)
    assert pixels[3, 0] > pixels[0, 0], "head to the right"
    assert pixels[2, 1] < pixels[0, 1], "anterior up: the patient is supine"
    assert left[2] < seen[0, 2] < head[2], "the left side is nearer, the head farther"
    assert up[2] < seen[0, 2], "seen from above"


def test_camera_sees_every_point_it_is_fitted_to() -> None:
    points = np.random.default_rng(1).normal(size=(50, 3)) * (300, 40, 700) + (9, 8, 7)
    camera = Camera.fitting(points, view_xyz=(-1, 0.5, 0.7), up_xyz=(0, -1, 0), size_px=200)
    pixels = camera.pixels(camera.seen(points))
    assert pixels.min() == pytest.approx(5)
    assert pixels.max() == pytest.approx(195)


@pytest.mark.parametrize("order", [1, -1])
def test_what_is_nearer_hides_what_is_farther(order: int) -> None:
    halves = np.diag([10.0, 10.0, 10.0])
    near, far = box((0, 0, -40), list(halves)), box((0, 0, 40), list(halves * 2))
    points = np.concatenate([near.vertices_xyz_mm, far.vertices_xyz_mm])
    camera = Camera.fitting(points, view_xyz=(0, 0, 1), up_xyz=(0, -1, 0), size_px=64)
    layer = paint(camera, [(near, (200, 0, 0)), (far, (0, 200, 0))][::order])
    red, green, _ = layer.rgb[32, 32]
    assert red > green, "the small near box in the middle"
    assert layer.rgb[32, 6, 1] > layer.rgb[32, 6, 0], "the large far one around it"
    distance = -40 - 10 - camera.eye_xyz_mm[2]
    assert layer.depth_mm[32, 32] == pytest.approx(distance, abs=1e-3)
    assert np.isinf(layer.depth_mm[0, 0])
