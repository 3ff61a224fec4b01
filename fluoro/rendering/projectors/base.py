"""What a projector is: Slang structs, and what else the renderers need to know of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fluoro.geometry.projection import View
    from fluoro.rendering.reference import Segments
    from fluoro.volume.grid import VolumeGrid
    from fluoro.volume.volumes import MuVolume

__all__ = ["Copies", "Projector", "Reference", "SampleCount", "SamplePoints", "SlangType"]


@dataclass(frozen=True)
class SlangType:
    """A struct of shaders/, or a generic one with its arguments.

    Attributes:
        module: Its file, without folder and suffix.
        name: In the file.
        arguments: Of a generic struct: types and numbers.
    """

    module: str
    name: str
    arguments: tuple[SlangType | int, ...] = ()

    def of(self, *arguments: SlangType | int) -> SlangType:
        """Return the generic struct with arguments."""
        return SlangType(self.module, self.name, arguments)

    def modules(self) -> Iterator[str]:
        """Return the files that are to be imported."""
        yield self.module
        for each in self.arguments:
            if isinstance(each, SlangType):
                yield from each.modules()

    def __str__(self) -> str:
        inner = ", ".join(map(str, self.arguments))
        return f"{self.name}<{inner}>" if inner else self.name


class Reference(Protocol):
    """Computes line integrals in float64, as the kernel does, shape (height, width)."""

    def __call__(
        self, volume: MuVolume, view: View, step_mm: float, steps_of: View | None = None, /
    ) -> NDArray[np.float64]:
        """Return the line integrals (dimensionless).

        Args:
            volume: Attenuation.
            view: One view.
            step_mm: Longest step [mm]; without effect on a projector without steps.
            steps_of: The view whose numbers of steps are taken, for differences; None: `view`.
        """
        ...


class SamplePoints(Protocol):
    """Says where rays are sampled, in float64, for references of materials."""

    def __call__(
        self, rays: Segments, grid: VolumeGrid, step_mm: float, /
    ) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Return index points (R, 3) and the lengths that they stand for [mm], (R,)."""
        ...


class SampleCount(Protocol):
    """Counts the samples of an image, for benchmarks."""

    def __call__(self, volume: MuVolume, view: View, step_mm: float, /) -> int:
        """Return the number of samples."""
        ...


@dataclass(frozen=True, kw_only=True)
class Copies:
    """The copies of a volume that a projector reads (shaders/cells.slang).

    Attributes:
        packet: Generic packet that reads them: of the kind of copies, and of what is summed.
        gradient: The same with derivatives: of the kind of copies, and of the field.
        planes: Voxel planes that one sample stands for.
        needed: There is no packet that reads the volume itself. Otherwise copies are made on the
            CPU, where they fit; derivatives and materials there come from exact ones.
    """

    packet: SlangType
    gradient: SlangType
    planes: int
    needed: bool


@dataclass(frozen=True, kw_only=True)
class Projector:
    """A way to integrate along a ray.

    Attributes:
        name: As the configuration has it; fluoro's own are `fluoro.names.Projector`.
        text: For the documents, beginning with "is" or a verb, without a full stop.
        reference: In NumPy.
        samples: How many there are.
        voxels_per_sample: That a sample is interpolated from.
        backprojector: Struct that gives every voxel a sample's value back.
        packet: Generic packet that reads the volume itself, of what is summed.
        gradient: The same with derivatives, of the field.
        across: As `packet`, faster, for views in which no ray runs mostly along x.
        copies: What it reads instead of the volume itself, or None.
        texture: As `packet`, by a GPU's texture units; None: it does not use them.
        moving: As `packet`, through a volume that moves: of what is summed, and of whether nothing
            lies beyond the volume (1) or its edge holds (0); None: it cannot.
        steps: Whether it takes a longest step.
        smooth: Whether its derivative changes little with the view, as a registration needs.
        points: Where its samples lie; None: it does not separate materials.
    """

    name: str
    text: str
    reference: Reference
    samples: SampleCount
    voxels_per_sample: int
    backprojector: SlangType
    packet: SlangType | None = None
    gradient: SlangType | None = None
    across: SlangType | None = None
    copies: Copies | None = None
    texture: SlangType | None = None
    moving: SlangType | None = None
    steps: bool = False
    smooth: bool = True
    points: SamplePoints | None = None

    @property
    def materials(self) -> bool:
        """Whether it separates materials."""
        return self.points is not None

    @property
    def differentiable(self) -> bool:
        """Whether it has derivatives with respect to the view."""
        return bool(self.gradient or self.copies)

    @property
    def registers(self) -> bool:
        """Whether a registration can use it."""
        return self.smooth and self.differentiable

    @property
    def in_place(self) -> bool:
        """Whether it reads the volume itself, as a kernel from the ray to the image does."""
        return not (self.copies and self.copies.needed)
