"""The truth of a frame: all annotations of it, and what makes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fluoro.annotations.base import AnnotationSetup, Annotator, FramePart, TimedAnnotator
from fluoro.annotations.boxes import FrameBoxes
from fluoro.annotations.landmarks import FrameLandmarks
from fluoro.annotations.masks import FrameMasks
from fluoro.config import Config
from fluoro.geometry.projection import View, camera_matrices
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.volume.labels.label_volume import LabelVolume
from fluoro.volume.labels.load import load_labels
from fluoro.volume.labels.structures import Structure
from fluoro.volume.posed_solid import PosedSolid
from fluoro.volume.volumes import MuVolume

__all__ = ["FrameTruth", "TruthMaker", "make_truth"]


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameTruth:
    """All annotations of one frame; masks are read when its rendering is done.

    Attributes:
        view: How the frame was taken.
        parts: By the name of the annotation's section.
    """

    view: View
    parts: Mapping[str, FramePart]

    @property
    def masks(self) -> FrameMasks | None:
        """Return the masks; None: not requested."""
        found = self.parts.get("masks")
        return found if isinstance(found, FrameMasks) else None

    @property
    def boxes(self) -> FrameBoxes | None:
        """Return the boxes; None: not requested."""
        found = self.parts.get("boxes")
        return found if isinstance(found, FrameBoxes) else None

    @property
    def landmarks(self) -> FrameLandmarks | None:
        """Return the landmarks; None: not requested."""
        found = self.parts.get("landmarks")
        return found if isinstance(found, FrameLandmarks) else None

    @property
    def structures(self) -> tuple[Structure, ...]:
        """Return the structures that masks and boxes are of, in their order."""
        of = self.masks or self.boxes
        return of.structures if of else ()

    def camera(self) -> dict[str, Any]:
        """Return the camera matrices; a pixel's centre is half a pixel from its corner."""
        k, camera_from_world = camera_matrices(self.view)
        return {
            "pixel_from_camera": k.tolist(),
            "camera_from_world": camera_from_world.tolist(),
            "pixel_from_world": self.view.pixel_from_world.tolist(),
        }

    def tensors(self) -> dict[str, Any]:
        """Return arrays by name: those of the annotations, and `pixel_from_world`, (3, 4)."""
        found = {"pixel_from_world": self.view.pixel_from_world.astype(np.float32)}
        for part in self.parts.values():
            found |= part.tensors()
        return found

    def annotations(self) -> list[dict[str, Any]]:
        """Return the frame's annotations in COCO's words, without their ids."""
        merged: dict[int, dict[str, Any]] = {}
        for part in self.parts.values():
            for category, fields in part.coco().items():
                merged.setdefault(category, {"category_id": category, "iscrowd": 0}).update(fields)
        return list(merged.values())


class TruthMaker:
    """Makes the truth of frames.

    Args:
        annotators: By the name of their sections.
        device: Where frames are rendered.
    """

    def __init__(self, annotators: Mapping[str, Annotator], device: ComputeDevice) -> None:
        self._annotators, self._device = annotators, device

    def begin(self, view: View, time_s: float = 0.0) -> FrameTruth:
        """Return the truth of a view, whose launches are lined up with the renderer's.

        Args:
            view: The view.
            time_s: Moment of the run [s].
        """
        parts = {
            name: each.begin_at(view, time_s)
            if isinstance(each, TimedAnnotator)
            else each.begin(view)
            for name, each in self._annotators.items()
        }
        return FrameTruth(view=view, parts=parts)

    def finish(self) -> None:
        """Return when all truth that was begun can be read."""
        self._device.finish()

    def categories(self) -> list[dict[str, Any]]:
        """Return all categories in COCO's words, each once."""
        found = {each["id"]: each for a in self._annotators.values() for each in a.categories()}
        return list(found.values())


def make_truth(
    config: Config,
    volume: MuVolume,
    device: ComputeDevice,
    posed: Sequence[PosedSolid] = (),
) -> TruthMaker | None:
    """Return what makes the configured annotations; None where there are none.

    Args:
        config: The whole file.
        volume: The patient.
        device: Where frames are rendered.
        posed: The renderer's objects with a pose per frame (`PatientRenderer.posed`).

    Raises:
        InputError: Labels or landmarks that cannot be used.
    """
    sections = config.annotations.sections()
    if not sections:
        return None
    setup = AnnotationSetup(
        config=config,
        volume=volume,
        labels=_labels(config, volume),
        device=device,
        posed=tuple(posed),
    )
    return TruthMaker({name: each.make(setup) for name, each in sections.items()}, device)


def _labels(config: Config, volume: MuVolume) -> LabelVolume | None:
    """The structures that are annotated."""
    labels = load_labels(config.volume, volume.grid)
    wanted = config.annotations.structures
    if labels is None or wanted is None:
        return labels
    return labels.subset(labels.labels_of(wanted, "annotations.structures"))
