"""What a stage of the image chain is, and the frame that it works on.

A stage is one module in fluoro/imaging/stages/ beside its kernels in shaders/stages/, and one line
in `fluoro.imaging.stages.order.ORDER`. Its kernels run in `run`; `reference` is the same stage in
NumPy together with its adjoint.

The configuration takes the keys of plugins' stages from their classes, so this module and what it
imports load without the configuration's models.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from fluoro.config.section import Section
from fluoro.errors import InputError
from fluoro.imaging.frame_history import FrameMemory

if TYPE_CHECKING:
    from fluoro.config import ImageChainConfig
    from fluoro.geometry.carm import CarmGeometry
    from fluoro.imaging.exposure.dose_meter import Pulse
    from fluoro.imaging.kernel_run import KernelRun
    from fluoro.imaging.tape import Tape
    from fluoro.physics.beam import Beam
    from fluoro.physics.materials import Material

__all__ = [
    "FactorStage",
    "FrameContext",
    "Image",
    "Pull",
    "Shape",
    "Stage",
    "Step",
    "Words",
    "affine",
    "present",
    "settings",
    "words",
]

T = TypeVar("T")

Image = NDArray[Any]
Shape = tuple[int, int]
"""Rows and columns."""
Words = tuple[int, int, int]
Pull = Callable[[Image], Image]
"""From a derivative with respect to a result to one with respect to what went in."""
Step = tuple[Image, Pull]
"""A stage's result, and its adjoint at what went in."""


def _no_pulse() -> Pulse:
    from fluoro.imaging.exposure.dose_meter import Pulse

    return Pulse(dose_ngy=0.0)


@dataclass(kw_only=True, eq=False)
class FrameContext:
    """One frame on its way through the stages, by kernels or in NumPy.

    Attributes:
        config: The chain's configuration, its beam that of this pulse.
        shape: Rows and columns of the image.
        pixel_spacing_mm: Pixel pitch [mm].
        geometry: The detector and its distance; None: not given.
        seed: Of the noise, 0 to 2**63 - 1.
        number: Of the frame.
        memory: What the stages remember of earlier frames.
        integrals: Line integrals, or thicknesses [mm] where there is a beam, as given.
        beam: The tube's beam; None: photons of one energy.
        materials: Whose thicknesses the integrals are, with a beam.
        stages: Those that are on, in order.
        exposure: What the image is made with.
        open_field_photons: Photons of the open field per pixel.
        reference_photons: Photons per pixel that are the signal 1.
        photons_per_ngy: Photons per pixel of 1 nGy at the detector; 0 without `brightness`.
        noise: Whether noise is drawn; False: the expected image, which has a derivative.
        quantum: Photons that a quantum is worth in each pixel, where they differ.
        holds: Whether the last pulse's image is shown once more.
        subtracted: Whether a mask was subtracted.
        readings: Called with the frame when all its launches are lined up: they read of its images.
            One that kept the frame itself would keep its images until Python looks for cycles.
        to_integrals: Derivatives with respect to the integrals, besides the one that is passed on:
            in NumPy, or one array of the device.
    """

    config: ImageChainConfig
    shape: Shape
    pixel_spacing_mm: float
    geometry: CarmGeometry | None = None
    seed: int = 0
    number: int = 0
    memory: FrameMemory = field(default_factory=FrameMemory)
    integrals: Any = None
    beam: Beam | None = None
    materials: Sequence[Material] = ()
    stages: Sequence[Stage] = ()
    exposure: Pulse = field(default_factory=_no_pulse)
    open_field_photons: float = 1.0
    reference_photons: float = 1.0
    photons_per_ngy: float = 0.0
    noise: bool = True
    quantum: Any = None
    holds: bool = False
    subtracted: bool = False
    readings: list[Callable[[FrameContext], None]] = field(default_factory=list)
    to_integrals: list[Any] = field(default_factory=list)

    def required_geometry(self, key: str) -> CarmGeometry:
        """Return the geometry, which a key of `image_chain` needs.

        Raises:
            InputError: There is none.
        """
        if self.geometry is None:
            raise InputError(f"geometry must be given with image_chain.{key}, got None")
        return self.geometry

    def after(self, stage: Stage) -> Sequence[Stage]:
        """Return the stages that follow one which is on."""
        return self.stages[self.stages.index(stage) + 1 :]

    @property
    def draw(self) -> dict[str, Words]:
        """The uniforms of a kernel that draws random numbers."""
        return {"seed": words(self.seed), "frame": words(self.number)}


class Stage(ABC):
    """A step of the image chain.

    Attributes:
        keys: Of `image_chain`; the first one names the stage.
        example: Settings of `image_chain` with which the stage changes an image; tests, the
            benchmark and the documents' table take them.
        text: What it does, for the documents' table.
        remembers: What the names of its memory begin with; empty: it looks at no earlier frame.
        mixes_pixels: Whether a pixel's result depends on other pixels.
        no_derivative: Why the chain has no derivative with it; empty: it has one.
        section: Of a plugin's stage: the model under its key, which is null where the stage is
            off. The keys of fluoro's own stages stand in fluoro/config/image_chain.py.
        follows: Of a plugin's stage: a key of the stage after which it runs.
    """

    keys: ClassVar[tuple[str, ...]]
    example: ClassVar[Mapping[str, Any]] = {}
    text: ClassVar[str]
    remembers: ClassVar[str] = ""
    mixes_pixels: ClassVar[bool] = False
    no_derivative: ClassVar[str] = ""
    section: ClassVar[type[Section] | None] = None
    follows: ClassVar[str] = ""

    @cached_property
    def needs_signal(self) -> bool:
        """Whether it works on photons alone, so not without `beer_lambert`."""
        from fluoro.config.image_chain import keys_that_need_signal

        return not keys_that_need_signal().isdisjoint(self.keys)

    def is_on(self, config: ImageChainConfig) -> bool:
        """Return whether the configuration has the stage: one of its keys is set."""
        if self.needs_signal and not config.beer_lambert:
            return False
        return any(getattr(config, key) for key in self.keys)

    @abstractmethod
    def run(self, frame: FrameContext, kernels: KernelRun) -> None:
        """Run the stage's kernels on `kernels.image`."""

    def run_linear(self, frame: FrameContext, tape: Tape) -> None:
        """Run the kernels without noise, and note on the tape what takes a derivative back.

        Kernels of `run` that look at no other pixel note themselves, by the slope that their
        struct has. A stage with others says `tape.through(run, pull)`.
        """
        self.run(frame, tape.kernels)

    @abstractmethod
    def reference(self, x: Image, frame: FrameContext) -> Step:
        """Return the stage's result in NumPy, shape (height, width), and its adjoint."""

    def rehearsed(self, config: ImageChainConfig) -> tuple[ImageChainConfig, Sequence[bool]]:
        """Return a configuration and its frames that need every kernel of the stage.

        The frames are True with a pulse, False between two pulses.
        """
        return config, [True]


class FactorStage(Stage):
    """A stage that multiplies each pixel by what its place alone decides."""

    @abstractmethod
    def factor(self, frame: FrameContext) -> Image:
        """Return the factor of each pixel, float64, shape (height, width)."""

    def reference(self, x: Image, frame: FrameContext) -> Step:
        """Return the product, and the product with a derivative."""
        return affine(x, self.factor(frame))


def settings(**values: Any) -> Mapping[str, Any]:
    """Return settings of `image_chain`."""
    return values


def present(value: T | None) -> T:
    """Return a setting or an image that a stage which is on always has.

    Raises:
        LookupError: There is none: the stage is off.
    """
    if value is None:
        raise LookupError("the stage is off")
    return value


def affine(x: Image, factor: Image | float, offset: Image | float = 0.0) -> Step:
    """Return a factor times an image and an offset, of every pixel or of all."""
    return np.asarray(x * factor + offset), lambda y: np.asarray(y * factor)


def words(number: int) -> Words:
    """Return the low and high 32-bit word, as signed integers."""
    low, high = number & 0xFFFFFFFF, (number >> 32) & 0xFFFFFFFF
    return _signed(low), _signed(high), 0


def _signed(word: int) -> int:
    return word - (1 << 32) if word >= 1 << 31 else word
