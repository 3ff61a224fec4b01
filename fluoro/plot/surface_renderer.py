"""Images of triangle surfaces: projected, shaded, and painted from far to near by Pillow.

Each surface becomes a layer of colour and depth, so that layers painted once (the patient) and
layers painted again for every image (the C-arm) hide each other correctly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

from fluoro.geometry.triangles import Surface

__all__ = ["Camera", "Layer", "paint"]

Floats = NDArray[np.float64]
Rgb = tuple[int, int, int]

EYE_DISTANCE = 3.2
"""Distance of the eye in radii of what it sees: little perspective, no distortion."""
FILLED = 0.95
"""Share of the image's edge that the points take."""
NEAR_MM = 10.0
"""Nothing nearer to the eye than this is drawn."""
LIGHT = (0.35, 0.6, 0.7)
"""Direction in which the light shines, in the camera's frame: x right, y down, z away."""
AMBIENT, DIFFUSE, SHINE, SHINE_POWER = 0.34, 0.62, 0.20, 18


@dataclass(frozen=True, kw_only=True, eq=False)
class Camera:
    """A perspective camera, its image square.

    Attributes:
        eye_xyz_mm: Where it stands, shape (3,).
        camera_from_world: Rows: the world directions of its x (right), y (down) and z (away).
        focal_px: Pixels per unit of slope.
        center_px: Where its z axis meets the image, shape (2,).
        size_px: Edge of its image.
    """

    eye_xyz_mm: Floats
    camera_from_world: Floats
    focal_px: float
    center_px: Floats
    size_px: int

    @classmethod
    def fitting(
        cls, points_xyz_mm: ArrayLike, *, view_xyz: ArrayLike, up_xyz: ArrayLike, size_px: int
    ) -> Self:
        """Return a camera that sees all the points from a moderate distance, with a small margin.

        Args:
            points_xyz_mm: What must be in the image, shape (N, 3).
            view_xyz: Direction of view.
            up_xyz: What is up in the image.
            size_px: Edge of the image.
        """
        points = np.asarray(points_xyz_mm, float)
        middle = (points.min(axis=0) + points.max(axis=0)) / 2
        away = _unit(np.asarray(view_xyz, float))
        right = _unit(np.cross(away, np.asarray(up_xyz, float)))
        eye = middle - away * EYE_DISTANCE * np.linalg.norm(points - middle, axis=1).max()
        axes = np.stack([right, np.cross(away, right), away])
        seen = (points - eye) @ axes.T
        slopes = seen[:, :2] / seen[:, 2:]
        low, high = slopes.min(axis=0), slopes.max(axis=0)
        focal = size_px * FILLED / (high - low).max()
        return cls(
            eye_xyz_mm=eye,
            camera_from_world=axes,
            focal_px=float(focal),
            center_px=size_px / 2 - focal * (low + high) / 2,
            size_px=size_px,
        )

    def seen(self, points_xyz_mm: ArrayLike) -> Floats:
        """Return points in the camera's frame [mm], shape (N, 3)."""
        points = np.asarray(points_xyz_mm, float) - self.eye_xyz_mm
        return np.asarray(points @ self.camera_from_world.T)

    def pixels(self, seen_xyz_mm: Floats) -> Floats:
        """Return pixel (x, y) of points in the camera's frame, shape (N, 2)."""
        depth = np.maximum(seen_xyz_mm[:, 2:], NEAR_MM)
        return seen_xyz_mm[:, :2] / depth * self.focal_px + self.center_px


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """A painted surface.

    Attributes:
        rgb: Colours, shape (size, size, 3).
        depth_mm: Distance along the view, shape (size, size), float32; infinite where nothing is.
        facing: Cosine between surface and view, 1 face on, 0 at the rim, (size, size), float32;
            of a smooth surface, else 0.
    """

    rgb: NDArray[np.uint8]
    depth_mm: NDArray[np.float32]
    facing: NDArray[np.float32]


def paint(camera: Camera, parts: list[tuple[Surface, Rgb]], *, smooth: bool = False) -> Layer:
    """Paint closed surfaces, each in its colour, into one layer.

    With `smooth` neighbouring triangles shade into each other, as suits a body; else they have
    edges, as machines do.
    """
    pieces = [_piece(camera, surface, rgb, smooth) for surface, rgb in parts if len(surface.faces)]
    size = (camera.size_px, camera.size_px)
    images = [Image.new("RGB", size), Image.new("F", size, np.inf), Image.new("F", size)]
    if pieces:
        columns = [np.concatenate(column) for column in zip(*pieces, strict=True)]
        _paint_far_to_near(images if smooth else images[:2], columns)
    rgb, depth, facing = (np.asarray(image) for image in images)
    return Layer(rgb=rgb, depth_mm=depth, facing=facing)


def _piece(
    camera: Camera, surface: Surface, rgb: Rgb, smooth: bool
) -> tuple[Floats, Floats, Floats, Floats]:
    """Corners [px], depths [mm], colours and facing of the triangles that can be seen."""
    seen = camera.seen(surface.vertices_xyz_mm)
    normals = _face_normals(seen, surface.faces)
    if smooth:
        normals = _corner_normals(normals, surface.faces)[surface.faces].mean(axis=1)
    triangles = seen[surface.faces]
    pixels = camera.pixels(seen)[surface.faces]
    edge_a, edge_b = pixels[:, 1] - pixels[:, 0], pixels[:, 2] - pixels[:, 0]
    front = edge_a[:, 0] * edge_b[:, 1] < edge_a[:, 1] * edge_b[:, 0]
    shown = front & (triangles[:, :, 2].min(axis=1) > NEAR_MM)
    normals, triangles = _unit_rows(normals[shown]), triangles[shown]
    views = _unit_rows(triangles.mean(axis=1))
    facing = np.clip(-(normals * views).sum(axis=1), 0, 1)
    return pixels[shown], triangles[:, :, 2].mean(axis=1), _shades(normals, views, rgb), facing


def _face_normals(seen: Floats, faces: NDArray[np.int32]) -> Floats:
    """Outward, their length twice the triangle's area."""
    a, b, c = seen[faces].transpose(1, 0, 2)
    return np.asarray(np.cross(b - a, c - a))


def _corner_normals(face_normals: Floats, faces: NDArray[np.int32]) -> Floats:
    """Normals at the vertices: of the triangles around each, by area."""
    columns = [np.bincount(faces.ravel(), np.repeat(axis, 3)) for axis in face_normals.T]
    return _unit_rows(np.stack(columns, axis=1))


def _shades(normals: Floats, views: Floats, rgb: Rgb) -> Floats:
    """Phong: ambient and diffuse in the surface's colour, and a little white shine."""
    light = _unit(np.asarray(LIGHT))
    towards = np.clip(-normals @ light, 0, None)
    mirrored = light - 2 * (normals @ light)[:, None] * normals
    shine = np.clip(-(mirrored * views).sum(axis=1), 0, None) ** SHINE_POWER * SHINE
    colour = np.asarray(rgb, float) * (AMBIENT + DIFFUSE * towards)[:, None] + 255 * shine[:, None]
    return np.asarray(np.clip(colour, 0, 255))


def _paint_far_to_near(images: list[Image.Image], columns: list[Floats]) -> None:
    """Fill the triangles of each image: colours, depths and, where there is a third, facing."""
    corners, depths, colours, facing = columns
    order = np.argsort(-depths, kind="stable")
    triangles = corners[order].reshape(-1, 6).tolist()
    shades = [tuple(shade) for shade in colours[order].astype(int).tolist()]
    fills = [shades, depths[order].tolist(), facing[order].tolist()]
    for image, values in zip(images, fills, strict=False):
        fill = ImageDraw.Draw(image).polygon
        for triangle, value in zip(triangles, values, strict=True):
            fill(triangle, value)


def _unit(vector: Floats) -> Floats:
    return np.asarray(vector / np.linalg.norm(vector))


def _unit_rows(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))
