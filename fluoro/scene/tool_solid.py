"""Rigid instruments made of tubes: their shapes, and where they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fluoro.physics.materials import material
from fluoro.scene.cross_sections import WIRES
from fluoro.scene.pose_track import PoseTrack
from fluoro.scene.wire_solid import Layout
from fluoro.volume.posed_solid import LivePose, LiveSample, Tubes, TubeSolid

__all__ = ["TOOLS", "Shape", "ToolSolid"]

Array = NDArray[np.float64]


class Shape(NamedTuple):
    """A tool at rest: its tip is the origin, z runs from the tip back.

    Attributes:
        tubes: Its pieces.
        materials: Names of what they are made of.
        axis_mm: Points along its middle from the tip on, shape (N, 3).
    """

    tubes: Tubes
    materials: tuple[str, ...]
    axis_mm: Array


class ToolSolid(TubeSolid):
    """A rigid instrument.

    Args:
        preset: Its shape, a key of `TOOLS`.
        track: Its pose by time.
        length_mm: From the tip back [mm]; None: the preset's.
        diameter_mm: Outer one [mm]; None: the preset's.
        made_of: Name of its material; None: the preset's.
    """

    def __init__(
        self,
        preset: str,
        track: PoseTrack,
        *,
        length_mm: float | None = None,
        diameter_mm: float | None = None,
        made_of: str | None = None,
    ) -> None:
        self.name, self.track = preset, track
        make, length, diameter = TOOLS[preset]
        self.shape = make(length_mm or length, diameter_mm or diameter)
        self.materials = tuple(material(made_of or name) for name in self.shape.materials)

    def tubes(self, time_s: float) -> Tubes:
        """Return its pieces at a moment of the run [s]."""
        return moved(self.shape.tubes, self.track.at(time_s))

    def center_line(self, time_s: float) -> Array:
        """Return points along its middle from the tip on, patient LPS [mm], shape (N, 3)."""
        matrix = self.track.at(time_s)
        return np.asarray(self.shape.axis_mm @ matrix[:3, :3].T + matrix[:3, 3])

    def steer(self, sample: LiveSample) -> None:
        """From now on the tool is where a sample says.

        Raises:
            InputError: No pose, or one that is not rigid.
        """
        if not isinstance(sample, LivePose):
            super().steer(sample)
        else:
            self.track.steer(sample.matrix)


def moved(tubes: Tubes, world_from_object: Array) -> Tubes:
    """Return tubes at a pose."""
    turn, shift = world_from_object[:3, :3], world_from_object[:3, 3]
    return Tubes(
        ends_xyz_mm=tubes.ends_xyz_mm @ turn.T + shift,
        radii_mm=tubes.radii_mm,
        materials=tubes.materials,
    )


def _along(*points: tuple[float, float, float]) -> Array:
    return np.array(points, float)


def _chain(points: Array, diameter_mm: float, number: int = 0) -> tuple[Array, Array, Array]:
    """Ends, radii and materials of pieces between points."""
    ends = np.stack([points[:-1], points[1:]], axis=1)
    return ends, np.full((len(ends), 1), diameter_mm / 2), np.full((len(ends), 1), number)


def _joined(*chains: tuple[Array, Array, Array]) -> Tubes:
    ends, radii, numbers = (np.concatenate(each) for each in zip(*chains, strict=True))
    return Tubes(ends_xyz_mm=ends, radii_mm=radii, materials=numbers.astype(int))


def _wire(name: str) -> Callable[[float, float], Shape]:
    """A straight wire of a preset, its shells scaled to a diameter."""
    parts = WIRES[name]

    def make(length_mm: float, diameter_mm: float) -> Shape:
        layout = Layout(parts)
        scale = diameter_mm / (2 * layout.radii_mm.max())
        stations = np.unique([0.0, *layout.ends_mm[layout.ends_mm < length_mm], length_mm])
        points = np.zeros((len(stations), 3))
        points[:, 2] = stations
        tubes = layout.tubes(points, stations)
        scaled = Tubes(
            ends_xyz_mm=tubes.ends_xyz_mm,
            radii_mm=tubes.radii_mm * scale,
            materials=tubes.materials,
        )
        names = tuple(each.name for each in layout.materials)
        return Shape(scaled, names, _along((0, 0, 0), (0, 0, length_mm)))

    return make


def _screw(length_mm: float, diameter_mm: float) -> Shape:
    """A pedicle screw: a core, a thread around it, a round head."""
    core, pitch = 0.7 * diameter_mm, 0.42 * diameter_mm
    depth = diameter_mm - core
    shaft = length_mm - diameter_mm
    turns = max(shaft - diameter_mm, pitch) / pitch
    angle = np.linspace(0.0, 2 * np.pi * turns, int(np.ceil(turns * 24)) + 1)
    radius = (diameter_mm - depth) / 2
    height = diameter_mm / 2 + angle / (2 * np.pi) * pitch
    thread = np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=1)
    head = _along((0, 0, shaft), (0, 0, shaft + 0.2 * diameter_mm))
    pieces = [
        _chain(_along((0, 0, core / 4), (0, 0, core)), core / 2),
        _chain(_along((0, 0, core), (0, 0, shaft)), core),
        _chain(thread, depth),
        _chain(head, 1.6 * diameter_mm),
    ]
    return Shape(_joined(*pieces), ("titanium",), _along((0, 0, 0), (0, 0, length_mm)))


def _stent(length_mm: float, diameter_mm: float) -> Shape:
    """An expanded stent: rings of zig-zag struts, and links between them."""
    crowns, strut = 8, 0.15
    rings = max(round(length_mm / 2.5), 1)
    pitch, radius = length_mm / rings, diameter_mm / 2
    angle = np.linspace(0.0, 2 * np.pi, 2 * crowns + 1)
    high = 0.8 * pitch * (np.arange(2 * crowns + 1) % 2)
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    pieces = [_chain(np.stack([x, y, n * pitch + high], axis=1), strut) for n in range(rings)]
    for n in range(rings - 1):
        for k in range(1, 2 * crowns, 6):
            low = n * pitch + high[k]
            pieces.append(_chain(_along((x[k], y[k], low), (x[k], y[k], low + pitch)), strut))
    axis = _along((0, 0, 0), (0, 0, length_mm))
    return Shape(_joined(*pieces), ("cobalt_chromium",), axis)


def _beads(length_mm: float, diameter_mm: float) -> Shape:
    """A calibration phantom: 16 beads on a helix, every fourth one larger."""
    count = 16
    angle = np.arange(count) * (2 * np.pi * 1.5 / count)
    height = np.linspace(0.0, length_mm, count)
    radius = diameter_mm / 2
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=1)
    sizes = np.where(np.arange(count) % 4 == 0, 4.0, 2.5)
    pieces = [
        _chain(np.stack([point, point]), size) for point, size in zip(points, sizes, strict=True)
    ]
    return Shape(_joined(*pieces), ("steel",), points)


TOOLS: dict[str, tuple[Callable[[float, float], Shape], float, float]] = {
    "k_wire": (_wire("k_wire"), 150.0, 2.0),
    "needle": (_wire("needle"), 90.0, 1.27),
    "screw": (_screw, 45.0, 6.5),
    "stent": (_stent, 20.0, 3.5),
    "bead_phantom": (_beads, 120.0, 80.0),
}
"""Shape by length and outer diameter, and the preset's length and diameter [mm]."""
