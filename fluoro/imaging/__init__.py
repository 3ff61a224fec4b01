"""From line integrals to the image: stages of the image chain, each with its reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoro.lazy_names import names_for_type_checkers

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
    __getattr__ = names_for_type_checkers(__name__)


def __dir__() -> list[str]:
    return sorted(__all__)
