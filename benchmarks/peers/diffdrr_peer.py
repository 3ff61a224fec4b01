"""DiffDRR as its users call it: Siddon, or trilinear with 500 points a ray (its defaults)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from diffdrr.data import read
from diffdrr.drr import DRR

from benchmarks.peers.torch_peer import TorchPeer

PACKAGES = ("diffdrr", "torch")


class Peer(TorchPeer):
    """One volume, one renderer ("siddon" or "trilinear")."""

    def __init__(self, variant: str, volume: np.ndarray, setting: dict[str, Any]) -> None:
        super().__init__(setting)
        self.renderer = variant
        self.ct = self.scalar_image(volume, setting)
        self.density = self.ct.data.clone()

    def set_view(self, pose: dict[str, Any]) -> None:
        """Take a DiffdrrPose."""
        subject = read(self.ct, orientation=pose["orientation"])
        subject.density.set_data(self.density)
        self.drr = DRR(
            subject,
            pose["sdd_mm"],
            pose["height_px"],
            pose["delx_mm"],
            width=pose["width_px"],
            dely=pose["dely_mm"],
            x0=pose["x0_mm"],
            y0=pose["y0_mm"],
            reverse_x_axis=pose["reverse_x_axis"],
            renderer=self.renderer,
        ).to(self.device)
        self.set_pose(pose)

    def image(self, rotation: torch.Tensor, translation: torch.Tensor) -> torch.Tensor:
        """Line integrals, shape (height, width)."""
        euler = {"parameterization": "euler_angles", "convention": "ZXY", "degrees": True}
        return self.drr(rotation, translation, **euler)[0, 0]
