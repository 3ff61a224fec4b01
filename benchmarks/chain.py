"""The cost of each stage of the image chain, compared with rendering the materials.

.venv/bin/python benchmarks/chain.py        a minute; writes benchmarks/results/chain_cpu.json
                                            and the table in docs/benchmarks/results.md

The chain runs as in a stream, its stages fused where they can be; once more stage by stage.
512 x 512 pixels of the chest CT (the phantom where that was not fetched), LAO 30 / CRA 20, one
thread, CPU time, medians of alternating rounds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


from benchmarks.harness.command_line import count
from benchmarks.harness.report import publish
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
"""The example of each stage; a new stage in the order is measured without a change here."""
del STAGES["beer_lambert"]  # its example is a chain without photons
OTHERS = {
    *("veiling_glare", "image_intensifier", "blur_sigma_mm", "dsa", "pulse_rate_hz", "brightness"),
    "grid",  # scatter's own factor stands in its place
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
"""The renderings with which the chain's times are compared."""

BY_STAGE = "whole chain, stage by stage"


def main() -> None:
    """Measure, print a table, write the results and the table in docs/benchmarks/results.md."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=count, default=7)
    rounds = parser.parse_args().rounds
    jobs = {**marches(), **chains()}
    times = medians(jobs, rounds)
    results = shares(times)
    publish("chain_cpu", results, table(results), None, document=True)


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
    """Return the CPU time of each job [ms]."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for job in jobs.values():
        job()
    for _ in range(rounds):
        for name, job in jobs.items():
            start = time.process_time()
            job()
            times[name].append(1e3 * (time.process_time() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def shares(times: dict[str, float]) -> dict[str, Any]:
    """Return times and added times of stages [ms], and both relative to the base renderings."""
    added = {name: times[name] - times["bare chain"] for name in STAGES}
    results: dict[str, Any] = {"milliseconds": times, "added_milliseconds": added}
    for key, base in BASES.items():
        results[key] = {name: value / times[base] for name, value in (times | added).items()}
    return results


def table(results: dict[str, Any]) -> str:
    """Return the results as a Markdown table; a stage's row is what it adds to the bare chain."""
    times, added = results["milliseconds"], results["added_milliseconds"]
    rows = {name: value for name, value in times.items() if name not in added}
    rows |= {f"+ {name.replace('_', ' ')}": value for name, value in added.items()}
    lines = [
        "| | ms | of the march, three materials | of Joseph, three materials |",
        "|---|---|---|---|",
    ]
    for name, value in rows.items():
        parts = [f"{100 * value / times[base]:.1f} %" for base in BASES.values()]
        lines.append(f"| {name} | {value:.1f} | {' | '.join(parts)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
