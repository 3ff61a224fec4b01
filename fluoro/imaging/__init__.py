"""From line integrals to the image: stages of the image chain, each with its reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoro.lazy_names import lazy_names

if TYPE_CHECKING:
    from fluoro.imaging.chain import ImageChain
    from fluoro.imaging.exposure.dose_meter import DoseMeter, Exposure, Pulse
    from fluoro.imaging.exposure.tube import TubeSetting
    from fluoro.imaging.frame import FluoroFrame, FrameHeader, to_uint8
    from fluoro.imaging.gradients import expected_image, pull_back
    from fluoro.imaging.reference import ReferenceChain, apply_chain
    from fluoro.imaging.stage import FactorStage, FrameContext, Stage, Step
    from fluoro.imaging.stages.order import ORDER

__all__ = [
    "ORDER",
    "DoseMeter",
    "Exposure",
    "FactorStage",
    "FluoroFrame",
    "FrameContext",
    "FrameHeader",
    "ImageChain",
    "Pulse",
    "ReferenceChain",
    "Stage",
    "Step",
    "TubeSetting",
    "apply_chain",
    "expected_image",
    "pull_back",
    "to_uint8",
]

if not TYPE_CHECKING:  # a type checker is to miss a name that is not there
    __getattr__, __dir__ = lazy_names(__name__)
