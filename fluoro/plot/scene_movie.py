"""carm_sweep.mp4: the patient in the turning C-arm beside what it sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fluoro.errors import InputError, OutputError
from fluoro.files.atomic_write import whole_file
from fluoro.geometry.carm_drawing import CarmScene, carm_scene
from fluoro.geometry.patient_position import (
    room_from_patient,
    turned_surface,
    turned_view,
)
from fluoro.geometry.triangles import Surface
from fluoro.geometry.view_text import angle_label, orientation_letters
from fluoro.names import PatientPosition
from fluoro.plot.scene_image import SceneRenderer
from fluoro.plot.text_overlay import draw_text
from fluoro.recording.formats.mp4_writer import Film
from fluoro.recording.frame_sampler import SampledFrame

__all__ = ["movie_images", "write_animation", "write_scene_movie"]

PANEL_PX = 480
"""Edge of each half of the image."""
INK, FAINT = (245, 245, 245), (170, 182, 196)
MARGIN_PX = 12
ANIMATION_WIDTHS_PX = (960, 800, 640, 480, 360, 240)
"""Tried in turn until the animation is small enough."""
ANIMATION_QUALITY = 60


def write_scene_movie(
    path: Path | str,
    frames: Sequence[SampledFrame],
    skin: Surface,
    bone: Surface,
    isocenter_xyz_mm: Sequence[float],
    *,
    patient_position: PatientPosition = "HFS",
    fps: float = 15,
    progress: Callable[[float], None] = lambda _: None,
) -> None:
    """Write the movie, 960 x 480, one image for each frame.

    Args:
        path: MP4 file to make.
        frames: The frames to show, at least one, all of one size.
        skin: Outside of the body, patient LPS [mm].
        bone: Skeleton, patient LPS [mm].
        isocenter_xyz_mm: Isocentre of the untranslated C-arm, patient LPS [mm].
        patient_position: How the patient lies on the table.
        fps: Images per second of play.
        progress: Told the share that is done after each image, up to 1.

    Raises:
        InputError: No frames.
        OutputError: The file cannot be written, or exists.
    """
    path = Path(path)
    if path.exists():
        raise OutputError(f"{path}: cannot be written: File exists")
    with (
        whole_file(path) as unfinished,
        closing(Film(unfinished, fps, preset="medium")) as film,
    ):
        images = movie_images(frames, skin, bone, isocenter_xyz_mm, patient_position)
        for index, image in enumerate(images):
            film.write(np.asarray(image))
            progress((index + 1) / len(frames))


def movie_images(
    frames: Sequence[SampledFrame],
    skin: Surface,
    bone: Surface,
    isocenter_xyz_mm: Sequence[float],
    patient_position: PatientPosition = "HFS",
) -> Iterator[Image.Image]:
    """Yield the movie's images one after another; arguments as of `write_scene_movie`.

    Raises:
        InputError: No frames.
    """
    if not frames:
        raise InputError("frames must hold at least one frame to make a movie of, got none")
    turn = room_from_patient(patient_position)
    skin, bone = turned_surface(skin, turn), turned_surface(bone, turn)
    scenes = [_scene(frame, skin, isocenter_xyz_mm, turn) for frame in frames]
    renderer = SceneRenderer(skin, bone, scenes, PANEL_PX)
    for frame, scene in zip(frames, scenes, strict=True):
        both = Image.new("RGB", (2 * PANEL_PX, PANEL_PX))
        both.paste(_scene_panel(renderer, scene))
        both.paste(_xray_panel(frame, isocenter_xyz_mm), (PANEL_PX, 0))
        yield both


def _scene(
    frame: SampledFrame,
    skin: Surface,
    isocenter_xyz_mm: Sequence[float],
    turn: NDArray[np.float64],
) -> CarmScene:
    """The C-arm in the room's axes; `skin` is in them already."""
    lowest = skin.vertices_xyz_mm[:, 1].max() if len(skin.vertices_xyz_mm) else None
    view = turned_view(frame.geometry.view(frame.pose, isocenter_xyz_mm), turn)
    return carm_scene(view, (turn @ isocenter_xyz_mm).tolist(), table_top_y_mm=lowest)


def _scene_panel(renderer: SceneRenderer, scene: CarmScene) -> Image.Image:
    panel = renderer.image(scene)
    canvas = ImageDraw.Draw(panel)
    for name, part in {"X-ray tube": scene.tube, "detector": scene.detector}.items():
        x, y = renderer.place(part.vertices_xyz_mm.mean(axis=0))
        draw_text(canvas, (x, y), name, size_px=13, fill=INK, anchor="mm", outline_px=1)
    return panel


def _xray_panel(frame: SampledFrame, isocenter_xyz_mm: Sequence[float]) -> Image.Image:
    panel = Image.new("RGB", (PANEL_PX, PANEL_PX))
    height, width = frame.grey.shape
    scale = PANEL_PX / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = Image.fromarray(frame.grey).resize(size, Image.Resampling.BICUBIC)
    panel.paste(image, ((PANEL_PX - size[0]) // 2, (PANEL_PX - size[1]) // 2))
    canvas = ImageDraw.Draw(panel)
    letters = orientation_letters(frame.geometry.view(frame.pose, isocenter_xyz_mm))
    _write_letters(canvas, letters)
    corner = (MARGIN_PX, PANEL_PX - MARGIN_PX)
    draw_text(
        canvas, corner, angle_label(frame.pose), size_px=20, fill=INK, anchor="lb", outline_px=2
    )
    return panel


def _write_letters(canvas: ImageDraw.ImageDraw, letters: tuple[str, str, str, str]) -> None:
    middle, end = PANEL_PX / 2, PANEL_PX - MARGIN_PX
    places = [(MARGIN_PX, middle), (end, middle), (middle, MARGIN_PX), (middle, end)]
    for letter, place, anchor in zip(letters, places, ("lm", "rm", "mt", "mb"), strict=True):
        draw_text(canvas, place, letter, size_px=18, fill=FAINT, anchor=anchor, outline_px=2)


def write_animation(
    path: Path, movie_path: Path, *, max_bytes: int = 3_000_000, every: int = 2
) -> None:
    """Write an endless animated WebP of a movie, such as a README shows, small enough to commit.

    Args:
        path: WebP file to make; an earlier one is replaced.
        movie_path: Movie of `write_scene_movie`.
        max_bytes: Largest size of the file; the images shrink until it fits.
        every: Step between the images used, at least 1.

    Raises:
        OutputError: It cannot be written, or is too large at any size.
    """
    with whole_file(path) as unfinished:
        for width in ANIMATION_WIDTHS_PX:
            _save_animation(unfinished, _movie_images(movie_path, width, every))
            if unfinished.stat().st_size <= max_bytes:
                return
        raise OutputError(f"{path}: must be at most {max_bytes} bytes, is more at any size")


def _save_animation(path: Path, images: Iterator[tuple[Image.Image, int]]) -> None:
    first, frame_ms = next(images)
    first.save(
        path,
        format="WEBP",
        save_all=True,
        append_images=(image for image, _ in images),
        duration=frame_ms,
        loop=0,
        quality=ANIMATION_QUALITY,
    )


def _movie_images(movie_path: Path, width: int, every: int) -> Iterator[tuple[Image.Image, int]]:
    """The movie's images, reduced to a width, and how long each is shown [ms]."""
    import av

    with av.open(str(movie_path)) as movie:
        rate = movie.streams.video[0].average_rate or 1
        for index, frame in enumerate(movie.decode(video=0)):
            if index % every == 0:
                height = round(frame.height * width / frame.width)
                image = Image.fromarray(frame.to_ndarray(format="rgb24"))
                yield image.resize((width, height)), round(1000 * every / rate)
