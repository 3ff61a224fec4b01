"""The patient on the table inside the turning C-arm, as an image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fluoro.geometry.carm_drawing import CarmScene
from fluoro.geometry.triangles import Surface, subdivided, swept_bar
from fluoro.plot.surface_renderer import Camera, Layer, Rgb, paint

__all__ = ["SceneRenderer"]

Floats = NDArray[np.float32]

OVERSAMPLING = 2
"""Painted pixels per pixel along each edge, for smooth outlines."""
VIEW_XYZ = (-0.60, 0.28, 0.75)
"""From the patient's left, from the feet and from above towards the chest (LPS)."""
ANTERIOR = (0.0, -1.0, 0.0)
"""Up in the image: the patient lies on the back."""
LONGEST_EDGE_MM = 110.0
"""Triangles painted with one depth each are no longer than this."""
LONGEST_DETECTOR_EDGE_MM = 45.0
"""Finer where the arc touches, lest the line of contact frays."""
BACKGROUND = ((44, 52, 64), (14, 17, 22))
"""Colours at the top and at the bottom."""
BONE = (250, 238, 208)
TABLE, TABLE_ALPHA = (96, 118, 142), 0.5
ARC, TUBE, RAYS = (214, 220, 228), (150, 162, 178), (255, 206, 84)
DETECTOR, DETECTOR_ALPHA = (120, 175, 224), 0.62
SKIN, SKIN_ALPHA, SKIN_RIM_ALPHA = (240, 180, 150), 0.2, 0.7
"""Skin is nearly clear face on and shows at its rim, as glass does."""
BEAM, BEAM_ALPHA = (255, 206, 84), 0.16
RAY_HALF_MM = 2.0
RAY_POINTS = 17


class SceneRenderer:
    """Paints the same patient, from the same camera, with the C-arm of one pose after another.

    Args:
        skin: Outside of the body.
        bone: Skeleton.
        scenes: All the poses that will be painted, so that the camera sees each of them.
        size_px: Edge of the images.
    """

    def __init__(
        self, skin: Surface, bone: Surface, scenes: Sequence[CarmScene], size_px: int
    ) -> None:
        self._size_px = size_px
        self.camera = Camera.fitting(
            _extent(skin, scenes),
            view_xyz=VIEW_XYZ,
            up_xyz=ANTERIOR,
            size_px=size_px * OVERSAMPLING,
        )
        self._bone = paint(self.camera, [(bone, BONE)], smooth=True)
        self._table = self._flat(scenes[0].table, TABLE)
        self._skin = paint(self.camera, [(skin, SKIN)], smooth=True)
        self._skin_alpha = SKIN_ALPHA + SKIN_RIM_ALPHA * (1 - self._skin.facing) ** 2
        self._backdrop = _backdrop(self.camera.size_px)

    def image(self, scene: CarmScene) -> Image.Image:
        """Return the scene with this C-arm, an RGB image of the size given."""
        solid = _nearer(self._bone, paint(self.camera, _carm_parts(scene)))
        beam = self._flat(_beam(scene), BEAM)
        detector = self._flat(scene.detector, DETECTOR, LONGEST_DETECTOR_EDGE_MM)
        rgb = np.where(np.isfinite(solid.depth_mm)[:, :, None], solid.rgb, self._backdrop)
        _blend(rgb, self._table, solid.depth_mm, TABLE_ALPHA)
        _blend(rgb, beam, solid.depth_mm, BEAM_ALPHA)
        _blend(rgb, self._skin, solid.depth_mm, self._skin_alpha)
        _blend(rgb, detector, solid.depth_mm, DETECTOR_ALPHA)
        return Image.fromarray(rgb.astype(np.uint8)).resize(
            (self._size_px,) * 2, Image.Resampling.BOX
        )

    def _flat(self, surface: Surface, rgb: Rgb, longest_mm: float = LONGEST_EDGE_MM) -> Layer:
        return paint(self.camera, [(subdivided(surface, longest_mm), rgb)])

    def place(self, point_xyz_mm: NDArray[Any]) -> tuple[float, float]:
        """Return where a point shows in the image [px]."""
        x, y = self.camera.pixels(self.camera.seen(point_xyz_mm[None]))[0] / OVERSAMPLING
        return float(x), float(y)


def _nearer(a: Layer, b: Layer) -> Layer:
    """Of two layers what is in front."""
    first = a.depth_mm <= b.depth_mm
    return Layer(
        rgb=np.where(first[:, :, None], a.rgb, b.rgb),
        depth_mm=np.where(first, a.depth_mm, b.depth_mm),
        facing=np.where(first, a.facing, b.facing),
    )


def _blend(rgb: Floats, layer: Layer, depth_mm: Floats, alpha: Floats | float) -> None:
    """Lay a translucent layer over the image where it is in front."""
    shown = layer.depth_mm < depth_mm
    places = np.flatnonzero(shown)
    pixels = rgb.reshape(-1, 3)
    under = pixels[places]
    share = np.broadcast_to(np.float32(alpha), shown.shape).reshape(-1)[places, None]
    pixels[places] = under + (layer.rgb.reshape(-1, 3)[places] - under) * share


def _extent(skin: Surface, scenes: Iterable[CarmScene]) -> Floats:
    parts = [part.vertices_xyz_mm for s in scenes for part in (s.arc, s.tube, s.detector)]
    return np.concatenate([skin.vertices_xyz_mm, *parts])


def _backdrop(size_px: int) -> Floats:
    top, bottom = np.asarray(BACKGROUND, np.float32)
    share = np.linspace(0, 1, size_px, dtype=np.float32)[:, None, None]
    return np.repeat(top + (bottom - top) * share, size_px, axis=1)


def _carm_parts(scene: CarmScene) -> list[tuple[Surface, Rgb]]:
    rays = [(_ray(edge), RAYS) for edge in scene.beam_edges_xyz_mm]
    return [(scene.arc, ARC), (subdivided(scene.tube, LONGEST_EDGE_MM), TUBE), *rays]


def _ray(edge_xyz_mm: NDArray[np.float64]) -> Surface:
    """A thin bar from the source to a corner of the detector."""
    start, end = edge_xyz_mm
    path = start + np.linspace(0, 1, RAY_POINTS)[:, None] * (end - start)
    along = (end - start) / np.linalg.norm(end - start)
    width = np.cross(along, np.eye(3)[np.argmin(np.abs(along))])
    height = np.cross(along, width)
    return swept_bar(path, width * RAY_HALF_MM, np.tile(height * RAY_HALF_MM, (RAY_POINTS, 1)))


def _beam(scene: CarmScene) -> Surface:
    """The pyramid between the source and the detector, its base open."""
    corners = np.vstack([scene.source_xyz_mm, scene.detector_corners_xyz_mm])
    faces = [(0, 1 + i, 1 + (i + 1) % 4) for i in range(4)]
    return Surface(vertices_xyz_mm=corners.astype(np.float32), faces=np.asarray(faces, np.int32))
