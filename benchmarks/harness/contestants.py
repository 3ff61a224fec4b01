"""Who is timed: fluoro's projectors here, the peers' in processes of their own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.exact_integrals import gradient_every
from benchmarks.harness.stopwatch import timed
from fluoro.geometry.projection import View
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.rendering.projectors import PROJECTORS
from fluoro.rendering.renderer import DrrRenderer
from fluoro.volume.volumes import MuVolume

__all__ = ["Call", "Contestant", "OwnProjector", "own_projectors"]

FORWARD, GRADIENT, JACOBIAN = "forward", "forward+gradient", "jacobian"


@dataclass(frozen=True, kw_only=True, eq=False)
class Call:
    """One timed call.

    Attributes:
        seconds: Wall time.
        cpu_seconds: CPU time of all its threads.
        image: Line integrals, shape (height, width); None where they were not requested.
        shift_gradient: Of the loss by a shift of the C-arm [1/mm, LPS]; None without gradient.
    """

    seconds: float
    cpu_seconds: float
    image: NDArray[np.float32] | None = None
    shift_gradient: NDArray[np.float64] | None = None


class Contestant(ABC):
    """Something that projects the CT.

    Attributes:
        name: As tables say it.
        tasks: What it can do.
    """

    name: str
    tasks: tuple[str, ...]

    @abstractmethod
    def set_view(self, view: View) -> None:
        """Take the next view; not timed."""

    @abstractmethod
    def run(self, task: str, *, keep: bool = False) -> Call:
        """Do a task once; `keep` asks for the image."""


class OwnProjector(Contestant):
    """One of fluoro's projectors on one device."""

    tasks = (FORWARD, GRADIENT, JACOBIAN)

    def __init__(self, name: str, renderer: DrrRenderer) -> None:
        self.name = f"fluoro {name} {renderer.device.kind}"
        self._renderer = renderer
        self._center = renderer.grid.center_xyz_mm
        self._work: dict[str, Callable[[], Any]] = {
            FORWARD: self._forward,
            GRADIENT: self._gradient,
            JACOBIAN: self._jacobian,
        }

    def set_view(self, view: View) -> None:
        """Take the next view."""
        self._view = view

    def run(self, task: str, *, keep: bool = False) -> Call:
        """Do a task once."""
        (image, derivatives), seconds, cpu_seconds = timed(self._work[task])
        return Call(
            seconds=seconds,
            cpu_seconds=cpu_seconds,
            image=np.array(self._renderer.device.to_host(image)) if keep else None,
            shift_gradient=derivatives[3:] if task == GRADIENT else None,
        )

    def _forward(self) -> tuple[Any, Any]:
        return self._renderer.render(self._view), None

    def _jacobian(self) -> tuple[Any, Any]:
        return self._renderer.render_jacobian(self._view, self._center)

    def _gradient(self) -> tuple[Any, NDArray[np.float64]]:
        image, jacobian = self._jacobian()
        to_host = self._renderer.device.to_host
        every = (slice(None, None, gradient_every(self._view)),) * 2
        # the loss: half the sum of squares over the pixels it looks at
        upstream = image[every].reshape(-1)
        by_pixel = jacobian[(slice(None), *every)].reshape(6, -1)
        return image, np.asarray(to_host(by_pixel @ upstream), np.float64)


def own_projectors(volume: MuVolume, device: ComputeDevice) -> list[Contestant]:
    """Every projector, with steps of one and of half a voxel; on a GPU a march by texture."""
    voxel_mm, renderers = min(volume.grid.spacing_xyz_mm), {}
    for name, projector in PROJECTORS.items():
        for share in (1, 0.5) if projector.steps else ():
            renderers[f"{name} {share} voxel"] = DrrRenderer(
                volume, device, projector=projector.name, step_mm=share * voxel_mm
            )
        if not projector.steps:
            renderers[name] = DrrRenderer(volume, device, projector=projector.name)
    if device.kind != "cpu":
        renderers["march 0.5 voxel texture"] = DrrRenderer(
            volume, device, step_mm=voxel_mm / 2, texture=True
        )
    return [OwnProjector(name, renderer) for name, renderer in renderers.items()]
