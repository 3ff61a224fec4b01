"""The image chain in NumPy: the references of its stages, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fluoro.config import ImageChainConfig
from fluoro.geometry.carm import CarmGeometry
from fluoro.imaging.configured_beam import Beams
from fluoro.imaging.frame_history import FrameMemory
from fluoro.imaging.frame_setup import StageSelection, begin_frame
from fluoro.imaging.stage import FrameContext, Image, Step
from fluoro.imaging.stages.order import HOLD
from fluoro.physics.materials import Material

__all__ = ["ReferenceChain", "apply_chain", "through_stages"]


def through_stages(frame: FrameContext) -> Step:
    """Return a frame's image in float64, shape (height, width), and the way back to integrals."""
    x, stages = np.asarray(frame.integrals, float), frame.stages
    if frame.holds:
        x, stages = HOLD.taken(frame), frame.after(HOLD)
    pulls = []
    for stage in stages:
        x, pull = stage.reference(x, frame)
        x = np.asarray(x, float)
        pulls.append(pull)

    def back(y: Image) -> Image:
        frame.to_integrals.clear()
        for pull in reversed(pulls):
            y = pull(y)
        return np.asarray(y + sum(frame.to_integrals))

    return x, back


def apply_chain(
    integrals: Image, config: ImageChainConfig, seed: int, frame: int, pixel_spacing_mm: float
) -> Image:
    """Return one frame's image, as `ImageChain.apply` makes it."""
    return ReferenceChain(config, seed, pixel_spacing_mm).apply(integrals, frame)


class ReferenceChain:
    """The whole chain with its noise; it remembers earlier frames, as `ImageChain` does.

    Args:
        config: Which stages, with which numbers.
        seed: Of the noise.
        pixel_spacing_mm: Pixel pitch [mm].
        geometry: As for `ImageChain.apply`.
        materials: As for `ImageChain`.
    """

    def __init__(
        self,
        config: ImageChainConfig,
        seed: int,
        pixel_spacing_mm: float,
        geometry: CarmGeometry | None = None,
        materials: Sequence[Material] = (),
    ) -> None:
        self._config, self._seed = config, seed
        self._pitch_mm, self._geometry = pixel_spacing_mm, geometry
        self._beams, self._memory = Beams(materials), FrameMemory()
        self._selection = StageSelection()

    def apply(self, integrals: Image, frame: int, *, pulse: bool = True) -> Image:
        """Return the next frame's image, float32, shape (height, width)."""
        context = begin_frame(
            integrals,
            self._config,
            frame,
            self._pitch_mm,
            self._geometry,
            selection=self._selection,
            memory=self._memory,
            beams=self._beams,
            seed=self._seed,
            pulse=pulse,
        )
        return np.asarray(through_stages(context)[0], np.float32)
