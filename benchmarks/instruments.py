"""What instruments cost a frame, beside the same scene without.

.venv/bin/python benchmarks/instruments.py  a minute; writes benchmarks/results/instruments_cpu.json
                                            and the table in docs/benchmarks/results.md

512 x 512 pixels of the thorax phantom (1.4 mm), five tissues by Joseph's method and the bare chain
of many energies, LAO 30 / CRA 20, one thread, CPU time, medians of alternating rounds. The wire
moves in every round, and each image has a view of its own. The catheter has 500 straight pieces of
four shells each.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.chain import BARE, CARM, chain_job, medians
from benchmarks.harness.command_line import count
from benchmarks.harness.report import publish
from fluoro.config import ImageChainConfig, VolumeConfig
from fluoro.config.scene import ToolInclusion, WireInclusion
from fluoro.geometry.carm import CarmPose
from fluoro.physics.tissues import tissue_map
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.material_renderer import MaterialRenderer
from fluoro.scene.setup import SceneSetup
from fluoro.volume.load import load_volume
from fluoro.volume.material_volume import MaterialVolume
from fluoro.volume.posed_solid import PosedSolid
from fluoro.volume.volumes import MuVolume

PIECES = 500
SCENES = ("catheter of 500 pieces", "the same of 8000 pieces", "K-wire", "screw and stent")
MANY_PIECES = 8000
GOAL_MS = 4.0
"""Most CPU time that a catheter adds to rendering and chain: 2 ms on 2 cores."""


def main() -> None:
    """Measure, print a table, write the results and the table in docs/benchmarks/results.md."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=count, default=15)
    times = medians(jobs(), parser.parse_args().rounds)
    results = {
        "milliseconds": times,
        "goal_ms": {SCENES[0]: GOAL_MS},
        "microseconds_per_piece": microseconds_per_piece(times),
    }
    publish("instruments_cpu", results, table(times), None, document=True)


def jobs() -> dict[str, Callable[[], Any]]:
    """Rendering and chain, of each scene."""
    volume, device = load_volume(VolumeConfig(phantom="thorax", spacing_mm=1.4)), CpuDevice(1)
    made: dict[str, Callable[[], Any]] = {}
    for name, posed in {"no instrument": (), **scenes()}.items():
        made |= scene_jobs(name, volume, posed, device)
    return made


def scenes() -> dict[str, tuple[PosedSolid, ...]]:
    """What is in the beam, by name."""
    points = [(10.0, 20.0, -100.0), (25.0, 45.0, 0.0), (25.0, 20.0, 90.0)]
    points += [(-12.0, -30.0, 60.0), (20.0, -50.0, 20.0), (80.0, -50.0, -40.0)]
    # the pieces are laid along the whole path; the wire ends within it
    catheter, of_many = (
        WireInclusion(
            kind="wire", preset="catheter", path_mm=tuple(points), piece_mm=425.0 / pieces,
            inserted=({"time_s": 0, "inserted_mm": 415}, {"time_s": 1000, "inserted_mm": 417}),
        )
        for pieces in (PIECES, MANY_PIECES)
    )  # fmt: skip
    wire, screw, stent = (
        ToolInclusion(kind="tool", preset=preset, poses=({"position_mm": place, "axis": axis},))
        for preset, place, axis in (
            ("k_wire", (0.0, 30.0, 0.0), (1.0, 0.3, 0.2)),
            ("screw", (0.0, 60.0, 0.0), (0.3, 1.0, 0.0)),
            ("stent", (30.0, -40.0, 10.0), (0.5, 0.5, -0.7)),
        )
    )
    given = ((catheter,), (of_many,), (wire,), (screw, stent))
    return {
        name: tuple(solid for each in sections for solid in each.posed(SceneSetup()))
        for name, sections in zip(SCENES, given, strict=True)
    }


def scene_jobs(
    name: str, volume: MuVolume, posed: Sequence[PosedSolid], device: CpuDevice
) -> dict[str, Callable[[], Any]]:
    """Rendering of a scene, and the chain behind it."""
    view = CARM.view(CarmPose(lao_deg=30, cra_deg=20), volume.grid.center_xyz_mm)
    materials = MaterialVolume(volume=volume, tissues=tissue_map("tissues"), posed=tuple(posed))
    renderer = MaterialRenderer(materials, device, projector="joseph")
    image = renderer.render(view)
    config = ImageChainConfig.model_validate({**BARE, "xray": {}})
    numbers = itertools.count()

    def rendering() -> Any:
        return renderer.render(replace(view), image, time_s=float(next(numbers)))

    return {
        f"{name}, rendering": rendering,
        f"{name}, chain": chain_job(config, np.array(image), materials.materials, fused=True),
    }


def microseconds_per_piece(times: dict[str, float]) -> float:
    """Return the CPU time of one more piece [us]."""
    few, many = (times[f"{name}, rendering"] for name in SCENES[:2])
    return 1000 * (many - few) / (MANY_PIECES - PIECES)


def table(times: dict[str, float]) -> str:
    """Return the results as a Markdown table."""
    lines = ["| | rendering, ms | added | chain, ms | added | goal |", "|---|---|---|---|---|---|"]
    bare = [times[f"no instrument, {what}"] for what in ("rendering", "chain")]
    lines.append(f"| no instrument | {bare[0]:.1f} | | {bare[1]:.1f} | | |")
    for name in SCENES:
        render, chain = (times[f"{name}, {what}"] for what in ("rendering", "chain"))
        goal = f"{GOAL_MS:g} (2 ms on 2 cores)" if name == SCENES[0] else ""
        lines.append(
            f"| {name} | {render:.1f} | {render - bare[0]:.1f} | {chain:.1f} | "
            f"{chain - bare[1]:.1f} | {goal} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
