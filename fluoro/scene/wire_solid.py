"""A wire's pieces by time: a curve through way-points, and cross-sections laid along it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.physics.materials import Material
from fluoro.scene.cross_sections import WirePart
from fluoro.volume.posed_solid import (
    MOST_SHELLS,
    LiveInsertion,
    LivePoints,
    LiveSample,
    PosedSolid,
    Tubes,
    TubeSolid,
)

__all__ = ["MOST_PIECES", "Curve", "Layout", "WireSolid", "require_few_pieces"]

Array = NDArray[np.float64]

PIECE_S = 1e-6
"""CPU time of a straight piece in a frame [s]: benchmarks/instruments.py measures it."""
MOST_FRAME_S = 1.0
"""What the wires of a scene may take of a frame [s]; more is no stream."""
MOST_PIECES = round(MOST_FRAME_S / PIECE_S)
"""Straight pieces of a scene's wires along their configured paths; of one that is steered."""

FAR_MM = 1e5
"""How far a curve goes straight on beyond its ends."""

CHORD_MM = 0.05
"""Between two points of a curve whose length is measured."""


class Curve:
    """A curve through points, by the length along it.

    Args:
        points_xyz_mm: Shape (N, 3), at least 2 apart from each other.
        spline: Whether it is smooth; else it is straight between points.
        what: For messages.

    Attributes:
        length_mm: From its first to its last point [mm].

    Raises:
        InputError: Points of another shape, not finite, or fewer than two.
    """

    def __init__(self, points_xyz_mm: Array, *, spline: bool, what: str) -> None:
        points = np.asarray(points_xyz_mm, float)
        if points.ndim != 2 or points.shape[1] != 3 or len(points) < 2:
            raise InputError(f"{what} must be at least 2 points of 3 numbers, got {points.shape}")
        if not np.isfinite(points).all():
            where = int(np.flatnonzero(~np.isfinite(points).all(axis=1))[0])
            raise InputError(f"{what}: point {where} must be finite, got {points[where].tolist()}")
        steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
        points = points[np.append(True, steps > 1e-6)]
        if len(points) < 2:
            raise InputError(f"{what} must have 2 points apart from each other")
        if spline and len(points) > 2:
            points = _smooth(points)
        self._along = _lengths(points)
        self.length_mm = float(self._along[-1])
        self._known = _with_far_ends(points, self._along)

    def at(self, along_mm: Array) -> Array:
        """Return points at lengths along it [mm], shape (N, 3); beyond its ends straight on.

        Args:
            along_mm: Shape (N,).
        """
        known = self._known
        return np.stack([np.interp(along_mm, known[3], known[axis]) for axis in range(3)], axis=1)

    def corners(self) -> Array:
        """Return the lengths at which a curve that is not smooth turns."""
        return self._along


def _lengths(points: Array) -> Array:
    """Way from the first of points to each, shape (N,)."""
    return np.append(0.0, np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1)))


def _with_far_ends(points: Array, along_mm: Array) -> Array:
    """x, y, z of points and the lengths to them, with a far one straight on at either end."""
    known = np.vstack([points.T, along_mm])
    first, last = known[:, 0] - known[:, 1], known[:, -1] - known[:, -2]
    before = known[:, 0] + first * (FAR_MM / -first[3])
    behind = known[:, -1] + last * (FAR_MM / last[3])
    return np.ascontiguousarray(np.column_stack([before, known, behind]))


def _smooth(points: Array) -> Array:
    """Points close together on a cubic spline, by the length of its chords."""
    from scipy.interpolate import CubicSpline

    chords = _lengths(points)
    count = int(np.clip(np.ceil(chords[-1] / CHORD_MM), 2, 100_000)) + 1
    return np.asarray(CubicSpline(chords, points)(np.linspace(0.0, chords[-1], count)))


class Layout:
    """Cross-sections along a wire, from its tip on.

    Args:
        parts: The tip's first.

    Attributes:
        materials: All that shells are made of, each once.
        ends_mm: Where each part ends, from the tip [mm].
        radii_mm: Of each part's shells, shape (parts, shells).
        numbers: Of each shell's material.
    """

    def __init__(self, parts: Sequence[WirePart]) -> None:
        found: list[Material] = []
        self.radii_mm = np.zeros((len(parts), MOST_SHELLS))
        self.numbers = np.zeros((len(parts), MOST_SHELLS), int)
        for number, part in enumerate(parts):
            for level, shell in enumerate(part.shells):
                made_of = shell.made_of()
                if made_of not in found:
                    found.append(made_of)
                self.radii_mm[number, level] = shell.diameter_mm / 2
                self.numbers[number, level] = found.index(made_of)
        self.materials = tuple(found)
        self.ends_mm = np.cumsum([each.length_mm for each in parts])

    def tubes(self, points_xyz_mm: Array, from_tip_mm: Array) -> Tubes:
        """Return the pieces between points, each with the cross-section at its middle.

        Args:
            points_xyz_mm: Shape (N, 3).
            from_tip_mm: Way of each from the tip, shape (N,).
        """
        middle = (from_tip_mm[1:] + from_tip_mm[:-1]) / 2
        part = np.minimum(np.searchsorted(self.ends_mm, middle), len(self.ends_mm) - 1)
        ends = np.stack([points_xyz_mm[:-1], points_xyz_mm[1:]], axis=1)
        return Tubes(ends_xyz_mm=ends, radii_mm=self.radii_mm[part], materials=self.numbers[part])


def _joints(ends_mm: Array, piece_mm: float) -> Array:
    """Ways from the tip [mm] at which pieces of a curve begin, parts ending at some of them."""
    parts = itertools.pairwise([0.0, *ends_mm])
    return np.concatenate(
        [np.linspace(a, b, int(np.ceil((b - a) / piece_mm)), endpoint=False) for a, b in parts]
    )


class WireSolid(TubeSolid):
    """A wire that goes along its path with the time, or where it is steered.

    Args:
        name: What a user calls it.
        parts: Its cross-sections, the tip's first.
        path_mm: Way-points, patient LPS [mm], shape (N, 3).
        spline: Whether the path is smooth; else it is straight between the points.
        piece_mm: Longest straight piece of a curve [mm].
        insertions: Time [s], way of the tip along the path [mm] and roll [deg] by rising time,
            shape (K, 3); K = 0: to the path's end.
        tip_angle_deg: By which the tip is bent off the path [deg].
        tip_length_mm: Length of the bend [mm].

    Raises:
        InputError: A path without length or of too many pieces.
    """

    def __init__(
        self,
        name: str,
        parts: Sequence[WirePart],
        path_mm: Array,
        *,
        spline: bool = True,
        piece_mm: float = 1.0,
        insertions: Array | None = None,
        tip_angle_deg: float = 0.0,
        tip_length_mm: float = 10.0,
    ) -> None:
        self.name, self._layout = name, Layout(parts)
        self.materials = self._layout.materials
        self._curved, self._piece_mm = spline and len(path_mm) > 2, piece_mm
        self._joints_mm = _joints(self._layout.ends_mm, piece_mm)
        self._insertions = np.zeros((0, 3)) if insertions is None else insertions.reshape(-1, 3)
        self._tip_rad, self._tip_mm = float(np.deg2rad(tip_angle_deg)), tip_length_mm
        self._path = Curve(path_mm, spline=spline, what=f"path_mm of {name}")
        self._live_path: Curve | None = None
        self._live = LiveInsertion()
        self._require_few(self._path)
        self._last: tuple[object, Tubes, Array] | None = None

    def tubes(self, time_s: float) -> Tubes:
        """Return its pieces at a moment of the run [s], the tip's first."""
        return self._shape(time_s)[0]

    def center_line(self, time_s: float) -> Array:
        """Return points along its middle from the tip on, patient LPS [mm], shape (N, 3)."""
        return self._shape(time_s)[1]

    def steer(self, sample: LiveSample) -> None:
        """From now on the wire is where a sample says.

        Raises:
            InputError: Neither points nor an insertion, or impossible values.
        """
        if isinstance(sample, LivePoints):
            what = f"points of {self.name}"
            path = Curve(sample.points_xyz_mm, spline=False, what=what)
            self._require_few(path)
            self._live_path = path
        elif isinstance(sample, LiveInsertion):
            self._live = self._merged(sample)
        else:
            super().steer(sample)

    def insertion(self, time_s: float) -> tuple[float, float]:
        """Return how far the tip is in [mm], and the roll [deg], at a moment of the run [s]."""
        path, table = self._live_path or self._path, self._insertions
        inserted, roll = path.length_mm, 0.0
        if len(table):
            roll = float(np.interp(time_s, table[:, 0], table[:, 2]))
        if len(table) and not self._live_path:
            inserted = float(np.interp(time_s, table[:, 0], table[:, 1]))
        live = self._live
        if live.inserted_mm is not None:
            inserted = live.inserted_mm
        return inserted, roll if live.roll_deg is None else live.roll_deg

    def _shape(self, time_s: float) -> tuple[Tubes, Array]:
        path, (inserted, roll) = self._live_path or self._path, self.insertion(time_s)
        key = (id(path), inserted, roll)
        if self._last is None or self._last[0] != key:
            self._last = (key, *self._made(path, inserted, roll))
        return self._last[1], self._last[2]

    def _made(self, path: Curve, inserted_mm: float, roll_deg: float) -> tuple[Tubes, Array]:
        reach = min(inserted_mm, float(self._layout.ends_mm[-1]))
        from_tip = self._stations(path, inserted_mm, max(reach, 1e-3))
        points = path.at(inserted_mm - from_tip)
        if self._tip_rad > 0:
            points = self._bent(points, from_tip, np.deg2rad(roll_deg))
        return self._layout.tubes(points, from_tip), points

    def _stations(self, path: Curve, inserted_mm: float, reach_mm: float) -> Array:
        """Ways from the tip [mm] at which pieces begin and end."""
        if self._smooth or self._tip_rad:
            count = np.searchsorted(self._joints_mm, reach_mm)
            return np.append(self._joints_mm[:count], reach_mm)
        borders = self._layout.ends_mm[self._layout.ends_mm < reach_mm]
        corners = inserted_mm - path.corners()
        inner = corners[(corners > 0) & (corners < reach_mm)]
        return np.unique(np.concatenate([[0.0], borders, inner, [reach_mm]]))

    @property
    def _smooth(self) -> bool:
        return self._live_path is None and self._curved

    def _bent(self, points: Array, from_tip_mm: Array, roll_rad: float) -> Array:
        """The points with the tip on an arc that leaves the path."""
        length = min(self._tip_mm, float(from_tip_mm[-1]))
        bend = from_tip_mm < length
        base = int(np.count_nonzero(bend))
        along = points[base - 1] - points[min(base, len(points) - 1)]
        along = along / np.linalg.norm(along)
        x = np.cross(np.eye(3)[np.abs(along).argmin()], along)
        x /= np.linalg.norm(x)
        side = np.cos(roll_rad) * x + np.sin(roll_rad) * np.cross(along, x)
        angle = self._tip_rad
        turned = (length - from_tip_mm[bend])[:, None] * (angle / length)
        radius = length / angle
        start = points[base - 1] - (length - from_tip_mm[base - 1]) * along
        arc = start + radius * (np.sin(turned) * along + (1 - np.cos(turned)) * side)
        return np.concatenate([arc, points[base:]])

    def _merged(self, sample: LiveInsertion) -> LiveInsertion:
        for value in (sample.inserted_mm, sample.roll_deg):
            if value is not None and not np.isfinite(value):
                raise InputError(f"insertion of {self.name} must be finite numbers, got {value}")
        if sample.inserted_mm is not None and sample.inserted_mm < 0:
            raise InputError(
                f"inserted_mm of {self.name} must be at least 0, got {sample.inserted_mm:g}"
            )
        before = self._live
        return LiveInsertion(
            inserted_mm=before.inserted_mm if sample.inserted_mm is None else sample.inserted_mm,
            roll_deg=before.roll_deg if sample.roll_deg is None else sample.roll_deg,
        )

    @property
    def pieces(self) -> float:
        """The number of straight pieces along its configured path."""
        return self._pieces_of(self._path)

    def _pieces_of(self, path: Curve) -> float:
        if not self._tip_rad and not (self._curved and path is self._path):
            return len(path.corners())
        return min(path.length_mm, float(self._layout.ends_mm[-1])) / self._piece_mm

    def _require_few(self, path: Curve) -> None:
        _require_at_most(self._pieces_of(path), self.name)


def require_few_pieces(solids: Sequence[PosedSolid]) -> None:
    """Raise where all wires of a scene take too much of a frame.

    Raises:
        InputError: More than `MOST_PIECES` straight pieces.
    """
    wires = [each for each in solids if isinstance(each, WireSolid)]
    _require_at_most(sum(each.pieces for each in wires), "the wires of the scene")


def _require_at_most(pieces: float, names: str) -> None:
    if pieces > MOST_PIECES:
        raise InputError(
            f"{names} must have at most {MOST_PIECES} pieces, which take "
            f"{MOST_FRAME_S:g} s a frame, got {pieces:.0f}: a larger piece_mm gives fewer"
        )
