"""What every annotation has in common: its section of the YAML, and its part of a frame's truth.

The modules of this folder hold models of the configuration, so they import what computes when it is
needed: `fluoro.config` loads without NumPy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from fluoro.config.section import Section

if TYPE_CHECKING:
    from fluoro.config import Config
    from fluoro.geometry.projection import View
    from fluoro.rendering.devices.base import ComputeDevice
    from fluoro.volume.labels.label_volume import LabelVolume
    from fluoro.volume.posed_solid import PosedSolid
    from fluoro.volume.volumes import MuVolume

__all__ = ["AnnotationSection", "AnnotationSetup", "Annotator", "FramePart", "TimedAnnotator"]


@dataclass(frozen=True, kw_only=True, eq=False)
class AnnotationSetup:
    """What annotations are made from beside their section.

    Attributes:
        config: The whole file.
        volume: The patient.
        labels: The structures that are annotated; None: there are none.
        device: Where frames are rendered.
        posed: The objects with a pose per frame.
    """

    config: Config
    volume: MuVolume
    labels: LabelVolume | None
    device: ComputeDevice
    posed: tuple[PosedSolid, ...] = ()


class FramePart(Protocol):
    """One kind of annotation of one frame."""

    def coco(self) -> Mapping[int, Mapping[str, Any]]:
        """Return fields of the frame's annotations in COCO's words, by the category's number."""
        ...

    def tensors(self) -> Mapping[str, Any]:
        """Return arrays of the device or of the host by name, for operators of the graph."""
        ...


class Annotator(Protocol):
    """Makes one kind of annotation, frame after frame."""

    def begin(self, view: View) -> FramePart:
        """Return the part of a view; its launches are queued on the device and read later."""
        ...

    def categories(self) -> list[dict[str, Any]]:
        """Return the categories in COCO's words."""
        ...


@runtime_checkable
class TimedAnnotator(Protocol):
    """An annotator of what moves with the time."""

    def begin_at(self, view: View, time_s: float) -> FramePart:
        """Return the part of a view at a moment of the run [s], as `Annotator.begin` does."""
        ...


class AnnotationSection(Section):
    """Base of the sections: a subclass is one kind of annotation."""

    def make(self, setup: AnnotationSetup) -> Annotator:
        """Return what annotates frames.

        Raises:
            InputError: A file that cannot be used.
        """
        raise NotImplementedError
