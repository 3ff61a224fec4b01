"""Estimates a second of a sweep that is followed frame by frame, and their error."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.harness.stopwatch import timed
from fluoro.config import ImageChainConfig, SweepPoses
from fluoro.geometry.carm import CarmGeometry
from fluoro.imaging.chain import ImageChain
from fluoro.registration.measures.metrics import cube_corners_xyz_mm, mtre_mm
from fluoro.registration.register import Registrar
from fluoro.registration.targets.frame_target import target_from_frame
from fluoro.registration.tracking.tracker import PoseTracker
from fluoro.rendering.renderer import DrrRenderer

__all__ = ["follow_sweep"]

FPS = 15.0
SWEEP = SweepPoses.model_validate(
    {"kind": "sweep", "lao_range_deg": [-40, 40], "cra_range_deg": [0, 25], "period_s": 20}
)
CHAIN = ImageChainConfig.model_validate({"dose_ngy": 5.0, "window": {"level": 3.1, "width": 4.4}})


def follow_sweep(
    registrar: Registrar, renderer: DrrRenderer, geometry: CarmGeometry, *, frames: int = 60
) -> dict[str, Any]:
    """Follow a sweep of the C-arm from the right pose on, every frame in its turn.

    Args:
        registrar: Of the CT.
        renderer: Makes the frames, by another projector.
        geometry: The detector.
        frames: How many, at 15 a second; frame 0 compiles and is not counted.
    """
    x, y, z = registrar.center_xyz_mm.tolist()
    trajectory, corners = SWEEP.trajectory(), cube_corners_xyz_mm(registrar.center_xyz_mm)
    tracker = PoseTracker(registrar, trajectory(0.0), (x, y, z))
    chain, device = ImageChain(renderer.device, 0), renderer.device
    rows = []
    for number in range(frames + 1):
        pose = trajectory(number / FPS)
        integrals = renderer.render(geometry.view(pose, (x, y, z)))
        shown = chain.apply(integrals, CHAIN, number, geometry.pixel_spacing_mm, geometry)
        image = device.to_host(shown)

        def estimate(image: Any = image, number: int = number) -> Any:
            target = target_from_frame(image, CHAIN, geometry.pixel_spacing_mm)
            return tracker.track(target, geometry, number=number, time_s=number / FPS)

        found, seconds, cpu_seconds = timed(estimate)
        error = mtre_mm(found.world_from_carm, pose.world_from_carm((x, y, z)), corners)
        rows.append((seconds, cpu_seconds, error, found.converged))
    seconds, cpu_seconds, errors, converged = np.array(rows[1:], float).T
    return {
        "frames": frames,
        "estimates_per_second": float(1 / np.median(seconds)),
        "cpu_seconds_per_estimate": float(np.median(cpu_seconds)),
        "believed": int(converged.sum()),
        "median_mm": float(np.median(errors)),
        "p95_mm": float(np.quantile(errors, 0.95)),
    }
