"""RTK's Joseph projector on the CPU."""

from __future__ import annotations

from typing import Any

import itk
import numpy as np
from itk import RTK

PACKAGES = ("itk-rtk",)
IMAGE = itk.Image[itk.F, 3]


class Peer:
    """One volume, one projection at a time."""

    def __init__(self, _variant: str, volume: np.ndarray, setting: dict[str, Any]) -> None:
        itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(setting["threads"])
        itk.MultiThreaderBase.SetGlobalMaximumNumberOfThreads(setting["threads"])
        self.ct = itk.image_from_array(np.ascontiguousarray(volume))
        self.matrix = np.array(setting["world_from_index"])

    def set_view(self, pose: dict[str, Any]) -> None:
        """Take an RtkPose."""
        matrix = np.linalg.inv(np.array(pose["lps_from_rtk"])) @ self.matrix
        spacing = np.linalg.norm(matrix[:3, :3], axis=0)
        self.ct.SetOrigin(matrix[:3, 3].tolist())
        self.ct.SetSpacing(spacing.tolist())
        self.ct.SetDirection(itk.matrix_from_array(np.ascontiguousarray(matrix[:3, :3] / spacing)))
        geometry = RTK.ThreeDCircularProjectionGeometry.New()
        geometry.AddProjection(
            pose["sid_mm"],
            pose["sdd_mm"],
            pose["gantry_deg"],
            *pose["offset_xy_mm"],
            pose["out_of_plane_deg"],
            pose["in_plane_deg"],
            *pose["source_offset_xy_mm"],
        )
        self.empty = RTK.ConstantImageSource[IMAGE].New()
        self.empty.SetOrigin([*pose["origin_xy_mm"], 0.0])
        self.empty.SetSpacing([*pose["spacing_xy_mm"], 1.0])
        self.empty.SetSize([*pose["size_px"], 1])
        self.empty.Update()
        self.joseph = RTK.JosephForwardProjectionImageFilter[IMAGE, IMAGE].New()
        self.joseph.SetGeometry(geometry)
        self.joseph.SetInput(0, self.empty.GetOutput())
        self.joseph.SetInput(1, self.ct)

    def forward(self) -> tuple[Any, None]:
        """An image."""
        self.empty.Modified()  # or the filter would hand out the last image again
        self.joseph.Modified()
        self.joseph.Update()
        return self.joseph.GetOutput(), None

    def to_host(self, image: Any) -> np.ndarray:
        """As NumPy."""
        return itk.array_from_image(image)[0].copy()
