#!/usr/bin/env python3
"""How near the projectors are to what the machine can do: samples and bytes a second.

    python benchmarks/rates.py                   20 seconds on two cores
    python benchmarks/rates.py --device cuda

Writes benchmarks/results/rates_cpu.json (or rates_gpu.json) and a table in
docs/benchmarks/results.md.
Two units, measured in the same run: the rate at which the device copies an image that is larger
than its caches, and, for the march, its own rate on a volume that is small enough for them.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.harness.command_line import count
from benchmarks.harness.machine import describe_machine, load_average
from benchmarks.harness.report import publish
from benchmarks.harness.scene import load_ct, make_views
from benchmarks.harness.stopwatch import timed
from fluoro.errors import FluoroError
from fluoro.geometry.projection import View
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.rendering.devices.selection import open_device
from fluoro.rendering.projectors import PROJECTORS
from fluoro.rendering.renderer import DrrRenderer
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.volumes import MuVolume

FILES = {"cpu": "cpu", "cuda": "gpu", "llvmpipe": "llvmpipe"}
VIEWS = ("PA", "LAO 45 CRA 30")
COPY_PX = 8192
"""Edge of the image that is copied: 256 MiB."""
SMALL_VOXELS = 16
"""Edge of the volume that fits into a first cache: 16 KiB."""
VOXEL_BYTES, COPIED_VOXEL_BYTES = 4, 2
"""Of a voxel of the volume itself, and of a copy."""


@dataclass(frozen=True, kw_only=True)
class Rate:
    """One projector in one view.

    Attributes:
        seconds: Of an image.
        samples: That it took.
        sample_bytes: That a sample asks for.
        cached_seconds: Of an image with as many samples, of a small volume; None: not comparable.
    """

    seconds: float
    samples: int
    sample_bytes: int
    cached_seconds: float | None


def samples_of(renderer: DrrRenderer, volume: MuVolume, view: View) -> int:
    """Samples of an image: steps, voxel planes, slabs or voxels along all rays together."""
    return PROJECTORS[renderer.projector].samples(volume, view, renderer.step_mm)


def small_volume(grid: VolumeGrid) -> MuVolume:
    """So few voxels in the same box."""
    edges = np.multiply(grid.spacing_xyz_mm, grid.shape_xyz) / SMALL_VOXELS
    x, y, z = edges.tolist()
    corner = np.asarray(grid.origin_xyz_mm) - np.divide(grid.spacing_xyz_mm, 2)
    a, b, c = (corner + edges / 2).tolist()
    there = VolumeGrid(
        shape_zyx=(SMALL_VOXELS,) * 3, spacing_xyz_mm=(x, y, z), origin_xyz_mm=(a, b, c)
    )
    return MuVolume(mu_zyx=np.full(there.shape_zyx, 0.01, np.float32), grid=there)


def median_seconds(call: Callable[[], Any], repeats: int) -> float:
    """Wall time of a call, after one that does not count."""
    call()
    return statistics.median(timed(call).seconds for _ in range(repeats))


def copy_rate(device: ComputeDevice, repeats: int, edge_px: int = COPY_PX) -> float:
    """Bytes that are read and written a second when a large image is copied."""
    source, image = (device.to_device(np.zeros((edge_px, edge_px), np.float32)) for _ in "ab")
    size = (edge_px, edge_px, 1)
    uniforms = {"image": image, "image_size": size, "integrals": source}

    def copy() -> None:
        device.launch("copy_integrals", "copy_integrals", size, uniforms, exact=True)

    return 8 * edge_px**2 / median_seconds(copy, repeats)


def projectors(volume: MuVolume, device: ComputeDevice) -> dict[str, dict[str, Any]]:
    """Names and settings."""
    half_mm = min(volume.grid.spacing_xyz_mm) / 2
    found: dict[str, dict[str, Any]] = {}
    for name, projector in PROJECTORS.items():
        step = {"step_mm": half_mm} if projector.steps else {}
        found[f"{name} 0.5 voxel" if step else name] = {"projector": name, **step}
    if device.kind != "cpu":
        found["march 0.5 voxel texture"] = {"step_mm": half_mm, "texture": True}
    return found


def measure(
    volume: MuVolume, device: ComputeDevice, size_px: int, repeats: int
) -> dict[str, list[Rate]]:
    """Every projector in every view."""
    found: dict[str, list[Rate]] = {}
    small = small_volume(volume.grid)
    for name, setting in projectors(volume, device).items():
        renderer = DrrRenderer(volume, device, **setting)
        steps = "step_mm" in setting
        cached = DrrRenderer(small, device, **setting) if steps else None
        found[name] = [
            _rate(renderer, cached, volume, view, repeats)
            for view in make_views(volume.grid, size_px, names=VIEWS).values()
        ]
    return found


def _rate(
    renderer: DrrRenderer, cached: DrrRenderer | None, volume: MuVolume, view: View, repeats: int
) -> Rate:
    seconds = median_seconds(lambda: renderer.render(view), repeats)
    voxels = PROJECTORS[renderer.projector].voxels_per_sample
    return Rate(
        seconds=seconds,
        samples=samples_of(renderer, volume, view),
        sample_bytes=voxels * (COPIED_VOXEL_BYTES if renderer.copies_bytes() else VOXEL_BYTES),
        cached_seconds=median_seconds(lambda: cached.render(view), repeats) if cached else None,
    )


def rows_of(rates: Mapping[str, Sequence[Rate]], bytes_per_s: float) -> list[dict[str, Any]]:
    """One row a projector, medians over the views."""
    return [_row(name, views, bytes_per_s) for name, views in rates.items()]


def _row(name: str, views: Sequence[Rate], bytes_per_s: float) -> dict[str, Any]:
    rate = statistics.median(view.samples / view.seconds for view in views)
    asked = statistics.median(view.samples * view.sample_bytes / view.seconds for view in views)
    shares = [view.cached_seconds / view.seconds for view in views if view.cached_seconds]
    return {
        "name": name,
        "seconds": statistics.median(view.seconds for view in views),
        "samples_per_s": rate,
        "bytes_per_s": asked,
        "share_of_copy_rate": asked / bytes_per_s,
        "share_of_cached_rate": statistics.median(shares) if shares else None,
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """For the terminal and the document."""
    heads = (
        "projector | ms | samples, billions a second | requested, GB/s | of the copy's rate "
        "| of its own rate in the cache"
    )
    lines = [f"| {heads} |", "|" + "---|" * (heads.count("|") + 1)]
    for row in rows:
        share = row["share_of_cached_rate"]
        lines.append(
            f"| {row['name']} | {1e3 * row['seconds']:.1f} | {1e-9 * row['samples_per_s']:.2f} "
            f"| {1e-9 * row['bytes_per_s']:.1f} | {row['share_of_copy_rate']:.0%} "
            f"| {'' if share is None else f'{share:.0%}'} |"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", choices=tuple(FILES), default="cpu")
    parser.add_argument("--size", type=count, default=512, help="columns and rows [pixels]")
    parser.add_argument("--repeats", type=count, default=5)
    parser.add_argument("--folder", type=Path, help="for the results (default: benchmarks/results)")
    options = parser.parse_args(argv)
    machine = describe_machine() | {"load_before": load_average()}
    try:
        volume, device = load_ct(), open_device(options.device)
        bytes_per_s = copy_rate(device, options.repeats)
        rows = rows_of(measure(volume, device, options.size, options.repeats), bytes_per_s)
    except FluoroError as error:
        print(f"rates: {error}", file=sys.stderr)
        return 1
    machine |= {"device": device.name, "load_after": load_average()}
    conditions = (
        f"{options.size} x {options.size} pixels, views {' and '.join(VIEWS)}; a copy moves "
        f"{1e-9 * bytes_per_s:.1f} GB/s; {device.name}, {machine['processor']}; load average "
        f"{machine['load_before']} before, {machine['load_after']} after"
    )
    results = {"machine": machine, "copy_bytes_per_s": bytes_per_s, "rows": rows}
    text = f"{table(rows)}\n\n{conditions}\n"
    kind = FILES[options.device]
    publish(f"rates_{kind}", results, text, options.folder, document=kind != "llvmpipe")
    return 0


if __name__ == "__main__":
    sys.exit(main())
