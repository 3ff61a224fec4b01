"""What labels cost a frame: masks, path lengths and what is visible, beside the frame without.

.venv/bin/python benchmarks/labels.py       a minute; writes benchmarks/results/labels_cpu.json
                                            and the table in docs/benchmarks/results.md

512 x 512 pixels of the chest CT (`app.py fetch chest-ct`), five tissues by Joseph's method and the
bare chain of many energies, LAO 30 / CRA 20, one thread, CPU time, medians of alternating rounds.
117 labels are those of the CT, the largest cut in two until there are as many.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.chain import BARE, CARM, chain_job, medians
from benchmarks.harness.command_line import count
from benchmarks.harness.report import publish
from fluoro.config import ImageChainConfig, LabelsConfig, VolumeConfig
from fluoro.geometry.carm import CarmPose
from fluoro.physics.tissues import tissue_map
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.label_renderer import LabelRenderer
from fluoro.rendering.material_renderer import MaterialRenderer
from fluoro.volume.labels.label_volume import LabelVolume
from fluoro.volume.labels.load import load_labels
from fluoro.volume.labels.structures import named
from fluoro.volume.load import load_volume
from fluoro.volume.material_volume import MaterialVolume
from fluoro.volume.volumes import MuVolume

CHEST = Path("cache:chest-ct")
TWENTY_FOUR = ("heart", "lung", "aorta", "liver", "spleen", "kidney_left", "kidney_right",
               "stomach", "trachea", "vertebrae_T*")  # fmt: skip
FRAME = "frame, five tissues"
GOALS = {"24 labels, masks": 1.5, "117 labels, masks": 2.5}
"""Most times of the frame without labels."""


def main() -> None:
    """Measure, print a table, write the results and the table in docs/benchmarks/results.md."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=count, default=7)
    times = medians(jobs(), parser.parse_args().rounds)
    ratios = {
        name: (times[FRAME] + ms) / times[FRAME] for name, ms in times.items() if name != FRAME
    }
    results = {"milliseconds": times, "times_the_frame": ratios, "goals": GOALS}
    publish("labels_cpu", results, table(times, ratios), None, document=True)


def jobs() -> dict[str, Callable[[], Any]]:
    """The frame, and what is added to it."""
    volume, device = load_volume(VolumeConfig(path=CHEST)), CpuDevice(1)
    view = CARM.view(CarmPose(lao_deg=30, cra_deg=20), volume.grid.center_xyz_mm)
    few, many = labels(volume, TWENTY_FOUR, 24), labels(volume, None, 117)
    few_renderer, many_renderer = (LabelRenderer(each, device, volume) for each in (few, many))
    return {
        FRAME: frame(volume, view, device),
        "24 labels, masks": lambda: few_renderer.masks(view),
        "24 labels, masks and lengths": lambda: few_renderer.lengths(view),
        "24 labels, masks and visible masks": lambda: few_renderer.integrals(view, 0.1),
        "117 labels, masks": lambda: many_renderer.masks(view),
        "117 labels, masks and lengths": lambda: many_renderer.lengths(view),
        "117 labels, masks and visible masks": lambda: many_renderer.integrals(view, 0.1),
    }


def frame(volume: MuVolume, view: Any, device: CpuDevice) -> Callable[[], Any]:
    """Thicknesses of five tissues, and the chain."""
    tissues = tissue_map("tissues")
    materials = MaterialVolume(volume=volume, tissues=tissues)
    renderer = MaterialRenderer(materials, device, projector="joseph")
    config = ImageChainConfig.model_validate({**BARE, "xray": {}})
    chain = chain_job(config, renderer.render(view), tissues.materials, fused=True)

    def both() -> None:
        renderer.render(view)
        chain()

    return both


def labels(volume: MuVolume, names: tuple[str, ...] | None, wanted: int) -> LabelVolume:
    """As many of the CT's labels; where there are fewer, the largest are cut in two across z."""
    config = VolumeConfig(path=CHEST, labels=LabelsConfig(path=CHEST, structures=names))
    found = load_labels(config, volume.grid)
    assert found is not None
    if len(found.structures) > wanted:
        return found.subset(list(range(1, wanted + 1)))
    number = found.label_zyx.copy()
    for new in range(len(found.structures) + 1, wanted + 1):
        sizes = np.bincount(number.ravel(), minlength=2)[1:]
        old = int(sizes.argmax()) + 1
        at = np.flatnonzero((number == old).any(axis=(1, 2)))
        upper = number[at[len(at) // 2] :]
        upper[upper == old] = new
    structures = named({n: f"part {n}" for n in range(1, wanted + 1)})
    return replace(found, structures=tuple(structures.values()), label_zyx=number)


def table(times: dict[str, float], ratios: dict[str, float]) -> str:
    """Return the results as a Markdown table."""
    lines = ["| | ms | frame with it, times the frame | goal |", "|---|---|---|---|"]
    lines.append(f"| {FRAME} | {times[FRAME]:.0f} | 1.00 | |")
    for name, ratio in ratios.items():
        goal = f"{GOALS[name]:g}" if name in GOALS else ""
        lines.append(f"| + {name} | {times[name]:.0f} | {ratio:.2f} | {goal} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
