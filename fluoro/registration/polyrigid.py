"""Several bones at once, each with a pose of its own: integrals add, so each is sought in turn.

The target minus what the other bones cast at their present poses is the target of one bone. Rounds
over all bones go on until none moves (block coordinate descent).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fluoro.config import MultiStart, RegistrationSettings
from fluoro.errors import InputError
from fluoro.geometry.projection import View
from fluoro.registration.register import PROJECTOR, Registrar
from fluoro.registration.report.result import RegistrationResult
from fluoro.registration.rigid_motion import moved_view
from fluoro.registration.targets.target import Target
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.rendering.renderer import DrrRenderer
from fluoro.volume.volumes import MuVolume

__all__ = ["PartPose", "register_parts"]

STILL_MM = 0.02
"""Movement of the middle of every part within a round that ends the search [mm]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PartPose:
    """Where a part was found.

    Attributes:
        motion: 4x4 motion of the part from where the volume has it, world LPS [mm].
        result: Of the part's last registration.
    """

    motion: NDArray[np.float64]
    result: RegistrationResult


def register_parts(
    parts: Sequence[MuVolume],
    rest: MuVolume | None,
    device: ComputeDevice,
    targets: Sequence[Target],
    views: Sequence[View],
    settings: RegistrationSettings | None = None,
    *,
    rounds: int = 8,
) -> list[PartPose]:
    """Find the pose of each part of a patient whose parts have moved against each other.

    Args:
        parts: Attenuation [1/mm] of each part alone, nothing where the others are.
        rest: What has not moved; None: nothing.
        device: Where to render.
        targets: Line integrals, one a view.
        views: Of the patient as the volume has it.
        settings: How each part is sought; None: the defaults.
        rounds: Most rounds over all parts.

    Raises:
        InputError: No part, or targets and views that do not fit.
    """
    if not parts:
        raise InputError("parts must have one volume or more, got none")
    settings = settings or RegistrationSettings()
    search = _Search(parts, rest, device, targets, views)
    later = settings.model_copy(update={"multi_start": MultiStart(starts=1), "attempts": 1})
    found = [search.part(n, later if rounds > 1 else settings) for n in range(len(parts))]
    for _ in range(1, rounds):
        before = search.middles()
        found = [search.part(n, later) for n in range(len(parts))]
        if np.abs(search.middles() - before).max() < STILL_MM:
            break
    return [
        PartPose(motion=np.asarray(np.linalg.inv(motion), float), result=result)
        for motion, result in zip(search.motions, found, strict=True)
    ]


class _Search:
    """The parts' present poses, as motions of the views, and what the parts cast."""

    def __init__(
        self,
        parts: Sequence[MuVolume],
        rest: MuVolume | None,
        device: ComputeDevice,
        targets: Sequence[Target],
        views: Sequence[View],
    ) -> None:
        self._parts, self._device = parts, device
        self._targets, self._views = targets, views
        self.motions = [np.eye(4) for _ in parts]
        self._renderers = [DrrRenderer(part, device, projector=PROJECTOR) for part in parts]
        self._cast = [self._render(n) for n in range(len(parts))]
        still = DrrRenderer(rest, device, projector=PROJECTOR) if rest else None
        self._rest = [device.to_host(still.render(view)) if still else 0.0 for view in views]

    def part(self, n: int, settings: RegistrationSettings) -> RegistrationResult:
        """Register one part to what the others leave of the targets."""
        others = [
            rest + sum(cast[k] for m, cast in enumerate(self._cast) if m != n)
            for k, rest in enumerate(self._rest)
        ]
        targets = [
            replace(target, image=(target.image - other).astype(np.float32))
            for target, other in zip(self._targets, others, strict=True)
        ]
        registrar = Registrar(
            self._parts[n],
            self._device,
            settings,
            center_xyz_mm=self._parts[n].grid.center_xyz_mm,
        )
        starts = [moved_view(view, self.motions[n]) for view in self._views]
        result = registrar.register(targets, starts)
        self.motions[n] = result.motion @ self.motions[n]
        self._cast[n] = self._render(n)
        return result

    def middles(self) -> NDArray[np.float64]:
        """Return where the middle of each part is, world LPS [mm], shape (parts, 3)."""
        centers = [[*part.grid.center_xyz_mm, 1.0] for part in self._parts]
        placed = [np.linalg.inv(m) @ c for m, c in zip(self.motions, centers, strict=True)]
        return np.array(placed)[:, :3]

    def _render(self, n: int) -> list[NDArray[np.float32]]:
        renderer = self._renderers[n]
        return [
            np.array(self._device.to_host(renderer.render(moved_view(view, self.motions[n]))))
            for view in self._views
        ]
