"""Annotations of a frame: one kind a module."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoro.lazy_names import lazy_names

if TYPE_CHECKING:
    from fluoro.annotations.base import AnnotationSection, Annotator, FramePart
    from fluoro.annotations.boxes import BoxAnnotator, FrameBoxes
    from fluoro.annotations.landmark_files import read_landmarks
    from fluoro.annotations.landmarks import FrameLandmarks, LandmarkAnnotator
    from fluoro.annotations.masks import FrameMasks, MaskAnnotator
    from fluoro.annotations.truth import FrameTruth, make_truth

__all__ = [
    "AnnotationSection",
    "Annotator",
    "BoxAnnotator",
    "FrameBoxes",
    "FrameLandmarks",
    "FrameMasks",
    "FramePart",
    "FrameTruth",
    "LandmarkAnnotator",
    "MaskAnnotator",
    "make_truth",
    "read_landmarks",
]

if not TYPE_CHECKING:  # a type checker is to miss a name that is not there
    __getattr__, __dir__ = lazy_names(__name__)
