"""Times the march's derivatives by hand beside those by Slang's automatic differentiation.

    .venv/bin/python benchmarks/autodiff.py [--size 160] [--repeats 5] [--device cpu]

Prints the time of an image with its derivatives with respect to the pose, as a multiple of the
hand-written kernel's, and how far the derivatives are apart. Calls alternate, and the least time
counts.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.harness.scene import make_views, synthetic_volume
from fluoro.geometry.view_derivatives import rigid_motions
from fluoro.rendering.devices.base import ComputeDevice, KernelText
from fluoro.rendering.devices.selection import open_device
from fluoro.rendering.packing import pack_motions, pack_views
from fluoro.rendering.projectors import PROJECTORS, SlangType
from fluoro.rendering.ray_kernels import JACOBIAN, RAYS_ENTRY, ray_kernel
from fluoro.rendering.ray_volume import RayVolume
from fluoro.rendering.renderer import DrrRenderer

SOURCE = Path(__file__).parent / "harness" / "autodiff_march.slang"
VIEW = "LAO 45 CRA 30"
EDGE_VOXELS, MOST_STEPS = 128, 512
WAYS = {"backwards": 1, "forwards": 0}


def kernel(backwards: int) -> KernelText:
    """The kernel of the Jacobian with the packet of autodiff_march.slang."""
    packet = SlangType("gradients", "AutodiffMarch").of(backwards)
    composed = ray_kernel(JACOBIAN, packet)
    lines = (f"#define MOST_STEPS {MOST_STEPS}", SOURCE.read_text(), composed.slang)
    return KernelText("\n".join(lines), name=composed.name)


def calls(device: ComputeDevice, size_px: int) -> dict[str, Callable[[], Any]]:
    """Derivatives by hand and by each way of automatic differentiation."""
    volume = synthetic_volume(EDGE_VOXELS)
    view = make_views(volume.grid, size_px, names=(VIEW,))[VIEW]
    renderer = DrrRenderer(volume, device)
    motions = rigid_motions(view, volume.grid.center_xyz_mm)
    step_mm = renderer.step_mm
    rays = RayVolume(device, PROJECTORS["march"], volume.mu_zyx, volume.grid, step_mm)
    image = device.empty((size_px, size_px))
    jacobian = device.empty((len(motions), size_px, size_px))
    uniforms = {
        **rays.gradient_reading([view]).source,
        "views": device.to_device(pack_views([view], volume.grid)),
        "image_size": (size_px, size_px, 1),
        "first_row": 0,
        "places": rays.values,
        "motions": device.to_device(pack_motions(motions, volume.grid)),
        "parameter_count": len(motions),
        "integrals": image,
        "jacobian": jacobian,
    }
    threads = (-(-size_px // device.rays_per_thread), size_px, 1)

    def automatic(text: KernelText) -> Any:
        device.launch(text, RAYS_ENTRY, threads, uniforms)
        return np.array(device.to_host(jacobian))

    made = {name: kernel(backwards) for name, backwards in WAYS.items()}
    by_hand = {"by hand": lambda: device.to_host(renderer.render_derivatives(view, motions)[1])}
    return by_hand | {name: lambda text=text: automatic(text) for name, text in made.items()}


def least_seconds(every: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """The least time of each call; they alternate, after one each that compiles."""
    least = dict.fromkeys(every, float("inf"))
    for _ in range(repeats):
        for name, call in every.items():
            start = time.perf_counter()
            call()
            least[name] = min(least[name], time.perf_counter() - start)
    return least


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=160, help="edge of the image [px]")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args(argv)
    device = open_device(given.device)
    every = calls(device, given.size)
    expected, *found = (np.array(call()) for call in every.values())
    off = [0.0, *(np.linalg.norm(each - expected) / np.linalg.norm(expected) for each in found)]
    least = least_seconds(every, given.repeats)
    print(f"march, {EDGE_VOXELS}^3 voxels, {given.size}^2 pixels, {VIEW}, {device.name}")
    for (name, seconds), deviation in zip(least.items(), off, strict=True):
        print(f"{name}: {seconds / least['by hand']:.1f} times, {deviation:.1e} apart")
    device.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
