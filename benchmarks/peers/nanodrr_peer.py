"""nanodrr as its users call it: 500 samples a ray (its default); its Triton kernel on a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from nanodrr.camera import make_rt_inv
from nanodrr.data import Subject
from nanodrr.drr import DRR
from nanodrr.drr.backends import available
from nanodrr.metrics import NormalizedCrossCorrelation2d
from nanodrr.registration import Registration

from benchmarks.peers.torch_peer import TorchPeer

PACKAGES = ("nanodrr", "torch")


class Peer(TorchPeer):
    """One volume, one camera."""

    def __init__(self, _variant: str, volume: np.ndarray, setting: dict[str, Any]) -> None:
        super().__init__(setting)
        subject = Subject.from_images(self.scalar_image(volume, setting), convert_to_mu=False)
        self.subject = subject.to(self.device)
        fused = self.device.type == "cuda" and available("triton")
        self.facts = {"nanodrr's kernel": "triton" if fused else "torch"}

    def set_view(self, pose: dict[str, Any]) -> None:
        """Take a NanodrrPose."""
        names = ("sdd_mm", "delx_mm", "dely_mm", "x0_mm", "y0_mm", "height_px", "width_px")
        self.drr = DRR.from_carm_intrinsics(*(pose[name] for name in names)).to(self.device)
        self.orientation = pose["orientation"]
        x, y, z = pose["isocenter_xyz_mm"]
        self.isocenter = torch.tensor([-x, -y, z], dtype=torch.float32, device=self.device)
        self.set_pose(pose)

    def image(self, rotation: torch.Tensor, translation: torch.Tensor) -> torch.Tensor:
        """Line integrals, shape (height, width)."""
        return self.drr(self.subject, self.camera(rotation, translation))[0, 0]

    def camera(self, rotation: torch.Tensor, translation: torch.Tensor) -> torch.Tensor:
        """World from camera, shape (1, 4, 4)."""
        return make_rt_inv(
            rotation, translation, orientation=self.orientation, isocenter=self.isocenter
        )

    def register(self, target: np.ndarray, method: dict[str, Any]) -> dict[str, Any]:
        """Adam on the correlation, first on half the pixels, with rates that fall to zero.

        nanodrr's own tutorial keeps the rates for 500 iterations, all on the whole detector.
        """
        whole = torch.from_numpy(target).to(self.device)[None, None]
        fixed = torch.nn.functional.avg_pool2d(whole, 2)
        start, drr = self.camera(self.rotation, self.translation), self.drr
        k_inv = drr.k_inv.clone()  # rescale_ changes what it is given
        reg = Registration(self.subject, start, k_inv, drr.sdd, drr.height, drr.width)
        reg.rescale_(0.5)
        rates = zip((reg._rot, reg._xyz), (method["rate_rad"], method["rate_mm"]), strict=True)
        adam = torch.optim.Adam([{"params": [p], "lr": r} for p, r in rates], maximize=True)
        fall = torch.optim.lr_scheduler.CosineAnnealingLR(adam, method["iterations"])
        likeness = NormalizedCrossCorrelation2d()
        for done in range(1, method["iterations"] + 1):
            if done == method["coarse_iterations"] + 1:
                reg.rescale_(2.0)
                fixed = whole
            adam.zero_grad()
            ncc = likeness(fixed, reg(n_samples=method["samples"]))
            ncc.backward()
            adam.step()
            fall.step()
        return {
            "iterations": done,
            "ncc": ncc.item(),
            "ras_motion": (reg.pose @ start.inverse())[0].detach().cpu().tolist(),
        }
