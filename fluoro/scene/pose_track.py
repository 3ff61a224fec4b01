"""The pose of a rigid object by time, and a live one in its place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.geometry.se3 import interpolate
from fluoro.volume.posed_solid import require_rigid

__all__ = ["PoseTrack", "frame_along", "pose_matrix"]

Matrix = NDArray[np.float64]


class PoseTrack:
    """Pose of an object: between two moments it is interpolated in SE(3), beyond them it rests.

    Args:
        name: Of the object, for messages.
        times_s: Moments [s], rising.
        poses: `parent_from_object` at each, 4x4 [mm].
        parent: What it moves with; None: the patient.
    """

    def __init__(
        self,
        name: str,
        times_s: Sequence[float],
        poses: Sequence[Matrix],
        parent: PoseTrack | None = None,
    ) -> None:
        self.name = name
        self._times_s, self._poses, self._parent = np.array(times_s, float), poses, parent
        self._live: Matrix | None = None

    def at(self, time_s: float) -> Matrix:
        """Return `world_from_object` at a moment of the run [s], 4x4 [mm]."""
        own = self._at_rest(time_s) if self._live is None else self._live
        return own if self._parent is None else self._parent.at(time_s) @ own

    def steer(self, parent_from_object: Matrix) -> None:
        """From now on the object is here.

        Raises:
            InputError: Not a rigid motion of finite numbers.
        """
        self._live = require_rigid(self.name, parent_from_object)

    def _at_rest(self, time_s: float) -> Matrix:
        after = int(np.searchsorted(self._times_s, time_s, side="right"))
        if after in (0, len(self._poses)):
            return self._poses[max(after - 1, 0)]
        begun, ended = self._times_s[after - 1 : after + 1]
        share = float((time_s - begun) / (ended - begun))
        return np.asarray(interpolate(self._poses[after - 1], self._poses[after], share))


def pose_matrix(
    position_mm: Sequence[float], rotation_deg: Sequence[float], axis: Sequence[float] | None
) -> Matrix:
    """Return a pose, 4x4 [mm].

    Args:
        position_mm: Of the object's origin [mm].
        rotation_deg: About x, then y, then z, all at rest [deg].
        axis: Where z points after that rotation; None: it stays.

    Raises:
        InputError: An axis without length.
    """
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_euler("xyz", rotation_deg, degrees=True).as_matrix()
    if axis is not None:
        turn = frame_along(np.array(axis)) @ turn
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn, position_mm
    return matrix


def frame_along(z: Matrix) -> Matrix:
    """Return a right-handed frame whose last column points along `z`, shape (3, 3).

    Raises:
        InputError: `z` has no length.
    """
    length = float(np.linalg.norm(z))
    if not length > 0:
        raise InputError(f"an axis must have a length, got {z.tolist()}")
    along = z / length
    x = np.cross(np.eye(3)[np.abs(along).argmin()], along)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(along, x), along], axis=1)
