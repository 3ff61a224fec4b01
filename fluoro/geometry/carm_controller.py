"""A C-arm to drive by hand: a few lines from angles, or from a wanted image, to the view."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.geometry.limits import CarmLimits
from fluoro.geometry.projection import View

__all__ = ["CarmController", "pose_for_view"]

HEAD = (0.0, 0.0, 1.0)
FRONT = (0.0, -1.0, 0.0)
PARALLEL_SINE = 1e-6
"""Below this sine of the angle between them two directions are one."""


class CarmController:
    """A C-arm and where it stands.

        arm = CarmController(CarmGeometry(), isocenter_xyz_mm=volume.grid.center_xyz_mm)
        image = renderer.render(arm.move_to(lao_deg=30, cra_deg=20))

    Args:
        geometry: Lengths and detector.
        isocenter_xyz_mm: Point that it turns about untranslated, world LPS [mm].
        pose: Where it starts.
        limits: How far it reaches; None: anywhere.

    Attributes:
        pose: Where it stands.
        clamped: How many moves were cut short by a limit, by its name.

    Raises:
        InputError: The start is beyond the limits.
    """

    def __init__(
        self,
        geometry: CarmGeometry,
        *,
        isocenter_xyz_mm: Sequence[float] | NDArray[np.float64] = (0.0, 0.0, 0.0),
        pose: CarmPose | None = None,
        limits: CarmLimits | None = None,
    ) -> None:
        self.geometry = geometry
        self.isocenter_xyz_mm = np.asarray(isocenter_xyz_mm, float)
        self.limits = limits or CarmLimits()
        self.clamped: dict[str, int] = {}
        self.pose = CarmPose()
        self._go(pose or CarmPose())

    @property
    def view(self) -> View:
        """Source and detector where they stand."""
        return self.geometry.view(self.pose, self.isocenter_xyz_mm.tolist())

    def move_to(
        self,
        lao_deg: float | None = None,
        cra_deg: float | None = None,
        *,
        roll_deg: float | None = None,
        translation_mm: tuple[float, float, float] | None = None,
    ) -> View:
        """Go to these angles and this translation; what is not given stays.

        Raises:
            InputError: Beyond a limit with `on_limit` "error"; the C-arm stays where it was.
        """
        now = self.pose
        pose = CarmPose(
            lao_deg=now.lao_deg if lao_deg is None else lao_deg,
            cra_deg=now.cra_deg if cra_deg is None else cra_deg,
            roll_deg=now.roll_deg if roll_deg is None else roll_deg,
            translation_mm=now.translation_mm if translation_mm is None else translation_mm,
        )
        return self._go(pose)

    def set_view(
        self, point_xyz_mm: ArrayLike, direction: ArrayLike, up: ArrayLike | None = None
    ) -> View:
        """Look at a point along a direction: see `pose_for_view`.

        Raises:
            InputError: Directions that make no view, or a pose beyond a limit.
        """
        return self._go(pose_for_view(point_xyz_mm, direction, up, self.isocenter_xyz_mm))

    def _go(self, pose: CarmPose) -> View:
        self.pose, moved = self.limits.applied(pose)
        for name in moved:
            self.clamped[name] = self.clamped.get(name, 0) + 1
        return self.view


def pose_for_view(
    point_xyz_mm: ArrayLike,
    direction: ArrayLike,
    up: ArrayLike | None = None,
    isocenter_xyz_mm: ArrayLike = (0.0, 0.0, 0.0),
) -> CarmPose:
    """Return the pose whose beam runs along a direction with a point at the isocentre.

    Args:
        point_xyz_mm: What the C-arm turns about and what shows in the middle, world LPS [mm].
        direction: The beam's, from the source to the detector, world LPS; of any length.
        up: World direction whose part across the beam shows upwards in the image; None: the
            head, or the front where the beam runs along the body.
        isocenter_xyz_mm: Isocentre of the untranslated C-arm, world LPS [mm].

    Raises:
        InputError: A direction of length 0, or an `up` along the beam.
    """
    point, isocenter = np.asarray(point_xyz_mm, float), np.asarray(isocenter_xyz_mm, float)
    if point.shape != (3,) or not np.isfinite(point).all():
        raise InputError(f"point_xyz_mm must be 3 finite numbers, got {point.tolist()}")
    beam = _unit("direction", direction)
    if up is None:
        along_body = np.linalg.norm(np.cross(beam, HEAD)) < PARALLEL_SINE
        up = FRONT if along_body else HEAD
    upwards = _unit("up", up)
    across = upwards - (upwards @ beam) * beam
    if np.linalg.norm(across) < PARALLEL_SINE:
        raise InputError(f"up must not run along the beam {beam.tolist()}, got {upwards.tolist()}")
    rows_backwards = across / np.linalg.norm(across)
    world_from_carm = np.eye(4)
    world_from_carm[:3, :3] = np.column_stack(
        [np.cross(rows_backwards, beam), -beam, rows_backwards]
    )
    world_from_carm[:3, 3] = point
    return CarmPose.from_world_from_carm(world_from_carm, isocenter.tolist())


def _unit(name: str, vector: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(vector, float)
    length = float(np.linalg.norm(values)) if values.shape == (3,) else 0.0
    if not (np.isfinite(length) and length > 0):
        raise InputError(f"{name} must be 3 finite numbers, not all 0, got {values.tolist()}")
    return values / length
