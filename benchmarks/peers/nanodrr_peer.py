"""nanodrr as its users call it: 500 samples a ray (its default); its Triton kernel on a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from nanodrr.camera import make_rt_inv
from nanodrr.data import Subject
from nanodrr.drr import DRR

from benchmarks.peers.torch_peer import TorchPeer

PACKAGES = ("nanodrr", "torch")


class Peer(TorchPeer):
    """One volume, one camera."""

    def __init__(self, _variant: str, volume: np.ndarray, setting: dict[str, Any]) -> None:
        super().__init__(setting)
        subject = Subject.from_images(self.image(volume, setting), convert_to_mu=False)
        self.subject = subject.to(self.device)

    def set_view(self, pose: dict[str, Any]) -> None:
        """Take a NanodrrPose."""
        names = ("sdd_mm", "delx_mm", "dely_mm", "x0_mm", "y0_mm", "height_px", "width_px")
        self.drr = DRR.from_carm_intrinsics(*(pose[name] for name in names)).to(self.device)
        self.orientation = pose["orientation"]
        x, y, z = pose["isocenter_xyz_mm"]
        self.isocenter = torch.tensor([-x, -y, z], dtype=torch.float32, device=self.device)
        self.set_pose(pose)

    def picture(self, rotation: torch.Tensor, translation: torch.Tensor) -> torch.Tensor:
        """Line integrals, shape (height, width)."""
        rt_inv = make_rt_inv(
            rotation, translation, orientation=self.orientation, isocenter=self.isocenter
        )
        return self.drr(self.subject, rt_inv)[0, 0]
