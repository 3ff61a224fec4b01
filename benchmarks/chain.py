"""What each stage of the image chain costs beside the march through the materials.

.venv/bin/python benchmarks/chain.py        a minute; writes benchmarks/results/chain_cpu.json

The chain runs as in a stream, its stages fused where they can be; once more stage by stage.
512 x 512 pixels of the chest CT (the phantom where that was not fetched), LAO 30 / CRA 20, one
thread, processor time, medians of rounds in which everything takes turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


from benchmarks.harness.command_line import count
from fluoro.config import ImageChainConfig, VolumeConfig
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.imaging.chain import ImageChain
from fluoro.imaging.stages.order import ORDER
from fluoro.physics.tissues import tissue_map
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.material_renderer import MaterialRenderer
from fluoro.rendering.renderer import DrrRenderer
from fluoro.volume.load import load_volume
from fluoro.volume.material_volume import MaterialVolume

RESULTS = Path(__file__).parent / "results" / "chain_cpu.json"
PIXELS, PITCH_MM = 512, 0.7
CARM = CarmGeometry(
    source_to_detector_mm=1200.0,
    source_to_isocenter_mm=800.0,
    detector_width_px=PIXELS,
    detector_height_px=PIXELS,
    pixel_spacing_mm=PITCH_MM,
)
BARE: dict[str, Any] = {"poisson": False, "log": False}
PLAIN = ImageChainConfig.model_validate(BARE)
STAGES: dict[str, dict[str, Any]] = {
    stage.keys[0]: {**stage.example} for stage in ORDER if not stage.is_on(PLAIN) and stage.example
}
"""Each stage's own example: a new stage is measured by being in the order."""
del STAGES["beer_lambert"]  # its example is a chain without photons
OTHERS = {
    *("veiling_glare", "image_intensifier", "blur_sigma_mm", "dsa", "pulse_rate_hz", "brightness"),
}
"""Not in "whole chain", which is a flat panel with a steady dose, live."""
PANEL = {
    key: value
    for name, stage in STAGES.items()
    if name not in OTHERS
    for key, value in stage.items()
}
"""A flat panel with every stage that it has: "whole chain"."""
BASES = {
    "share_of_march": "march, three materials",
    "share_of_joseph": "joseph, three materials",
}
"""What the chain's times are held against."""

BY_STAGE = "whole chain, stage by stage"


def main() -> None:
    """Measure, print a table, write the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=count, default=7)
    rounds = parser.parse_args().rounds
    jobs = {**marches(), **chains()}
    times = medians(jobs, rounds)
    figures = table(times)
    RESULTS.write_text(json.dumps(figures, indent=1) + "\n")


def scene() -> MaterialVolume:
    """The chest CT as air, soft tissue and bone."""
    try:
        volume = load_volume(VolumeConfig(path=Path("cache:chest-ct")))
    except InputError:
        volume = load_volume(VolumeConfig(phantom="thorax", spacing_mm=(1.0, 1.0, 1.0)))
    return MaterialVolume(volume=volume, tissues=tissue_map("soft_and_bone"))


def marches() -> dict[str, Callable[[], Any]]:
    """The march at one energy and with materials, and Joseph's, which is faster."""
    three, device = scene(), CpuDevice(1)
    five = MaterialVolume(volume=three.volume, tissues=tissue_map("tissues"))
    view = CARM.view(CarmPose(lao_deg=30, cra_deg=20), three.volume.grid.center_xyz_mm)
    renderers = {
        "march, one energy": DrrRenderer(three.volume, device),
        "march, three materials": MaterialRenderer(three, device),
        "march, five materials": MaterialRenderer(five, device),
        "joseph, one energy": DrrRenderer(three.volume, device, projector="joseph"),
        "joseph, three materials": MaterialRenderer(three, device, projector="joseph"),
    }
    return {name: lambda r=each: r.render(view) for name, each in renderers.items()}


def chains() -> dict[str, Callable[[], Any]]:
    """The bare chain of many energies, the same with each stage, and all of a flat panel."""
    configs = {"bare chain": {}, **STAGES, "whole chain": PANEL, BY_STAGE: PANEL}
    thicknesses = marches()["march, three materials"]()
    materials = tissue_map("soft_and_bone").materials
    shared = {**BARE, "xray": {}}
    return {
        name: chain_job(
            ImageChainConfig.model_validate({**shared, **each}),
            thicknesses,
            materials,
            fused=name != BY_STAGE,
        )
        for name, each in configs.items()
    }


def chain_job(
    config: ImageChainConfig, thicknesses: Any, materials: Any, *, fused: bool
) -> Callable[[], Any]:
    """A chain that goes on from frame to frame."""
    chain, numbers = ImageChain(CpuDevice(1), 0, materials, fused=fused), iter(range(10**9))
    return lambda: chain.apply(thicknesses, config, next(numbers), PITCH_MM, CARM)


def medians(jobs: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Processor time of each job [ms]."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for job in jobs.values():
        job()
    for _ in range(rounds):
        for name, job in jobs.items():
            start = time.process_time()
            job()
            times[name].append(1e3 * (time.process_time() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def table(times: dict[str, float]) -> dict[str, Any]:
    """Print and return the figures: times [ms], shares of both ways through three materials."""
    bare = times["bare chain"]
    added = {name: times[name] - bare for name in STAGES}
    rows = {name: value for name, value in times.items() if name not in STAGES}
    rows |= {f"+ {name}": value for name, value in added.items()}
    for name, value in rows.items():
        shares = [f"{100 * value / times[base]:.1f} %" for base in BASES.values()]
        print(f"| {name} | {value:.1f} | {' | '.join(shares)} |")
    figures: dict[str, Any] = {"milliseconds": times, "added_milliseconds": added}
    for key, base in BASES.items():
        figures[key] = {name: value / times[base] for name, value in (times | added).items()}
    return figures


if __name__ == "__main__":
    main()
