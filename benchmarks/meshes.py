#!/usr/bin/env python3
"""What a mesh of 100,000 triangles costs a frame, beside gVirtualXray on llvmpipe.

    python benchmarks/meshes.py            half a minute
    python benchmarks/meshes.py --gvxr-python /tmp/gvxr/bin/python

512 x 512 pixels, a mesh over a fifth of them, in a cube of soft tissue of 128 voxels a side by
Joseph's method, two threads, medians of alternating rounds. Another interpreter renders the mesh
with gvxr (benchmarks/peers/gvxr_peer.py). Writes benchmarks/results/meshes_cpu.json and a table in
docs/benchmarks/results.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.harness.command_line import count
from benchmarks.harness.report import publish
from benchmarks.harness.stopwatch import Timed, timed
from fluoro.geometry.projection import View
from fluoro.geometry.triangles import Surface
from fluoro.physics.materials import material
from fluoro.physics.tissues import tissue_map
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.material_renderer import MaterialRenderer
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.material_volume import MaterialVolume
from fluoro.volume.rigid_solids import MeshSolid
from fluoro.volume.volumes import MuVolume

PIXELS, PITCH_MM = 512, 0.6
SOURCE_MM, DETECTOR_MM = (0.0, 600.0, 0.0), (0.0, -400.0, 0.0)
AROUND, ACROSS = 400, 125
MAJOR_MM, MINOR_MM = 30.5, 17.5
TRIANGLES = 2 * AROUND * ACROSS
GOAL_MS = 15.0
SCENE = "without the mesh"


def main() -> None:
    """Measure, print a table, write the results and the table in docs/benchmarks/results.md."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=count, default=15)
    parser.add_argument("--gvxr-python", type=Path, help="interpreter that has gvxr")
    options = parser.parse_args()
    device, mesh = CpuDevice(2), torus()
    times, cpu_times = medians(jobs(device, mesh), options.rounds)
    added = {name: ms - cpu_times[SCENE] for name, ms in cpu_times.items() if name != SCENE}
    lengths = image_of(device, mesh)
    share = float((lengths > 0).mean())
    results: dict[str, Any] = {
        "triangles": TRIANGLES, "share_of_image": share,
        "milliseconds": times, "cpu_milliseconds": cpu_times,
        "added_cpu_milliseconds": added, "threads": device.workers, "goal_ms": GOAL_MS,
    }  # fmt: skip
    if options.gvxr_python:
        results["gvxr"] = beside_gvxr(options.gvxr_python, mesh, lengths, options.rounds)
    publish("meshes_cpu", results, table(results), None, document=True)


def torus() -> Surface:
    """A closed surface of `TRIANGLES` triangles, counter-clockwise from outside."""
    u, v = np.meshgrid(
        np.arange(AROUND) * 2 * np.pi / AROUND,
        np.arange(ACROSS) * 2 * np.pi / ACROSS,
        indexing="ij",
    )
    far = MAJOR_MM + MINOR_MM * np.cos(v)
    corners = np.stack([far * np.cos(u), MINOR_MM * np.sin(v), far * np.sin(u)], axis=2)
    number = np.arange(AROUND * ACROSS).reshape(AROUND, ACROSS)
    a, b = number, np.roll(number, -1, axis=0)
    c, d = np.roll(b, -1, axis=1), np.roll(a, -1, axis=1)
    faces = np.concatenate([np.stack(t, axis=2).reshape(-1, 3) for t in ((a, c, b), (a, d, c))])
    return Surface(
        vertices_xyz_mm=corners.reshape(-1, 3).astype(np.float32), faces=faces.astype(np.int32)
    )


def view() -> View:
    """From the front, as the source and the detector stand for gvxr too."""
    half = PIXELS / 2 * PITCH_MM
    return View(
        source_xyz_mm=np.array(SOURCE_MM),
        corner_xyz_mm=np.array([half, DETECTOR_MM[1], half]),
        column_step_xyz_mm=np.array([-PITCH_MM, 0, 0]),
        row_step_xyz_mm=np.array([0, 0, -PITCH_MM]),
        width_px=PIXELS,
        height_px=PIXELS,
    )


def scene(*solids: MeshSolid) -> MaterialVolume:
    """A cube of soft tissue with meshes."""
    grid = VolumeGrid(shape_zyx=(128,) * 3, spacing_xyz_mm=(1.5,) * 3, origin_xyz_mm=(-95.25,) * 3)
    tissue = MuVolume(mu_zyx=np.full(grid.shape_zyx, 0.0206, np.float32), grid=grid)
    return MaterialVolume(volume=tissue, tissues=tissue_map("tissues"), posed=solids)


def solid(mesh: Surface, *, displaces: bool) -> MeshSolid:
    """The mesh at its place."""
    still = SimpleNamespace(at=lambda _time_s: np.eye(4))
    return MeshSolid("mesh", mesh, material("titanium"), still, displaces=displaces)


def jobs(device: CpuDevice, mesh: Surface) -> dict[str, Callable[[], Any]]:
    """A frame of each kind."""
    kinds = {
        SCENE: (),
        "the mesh adds to the tissue": (solid(mesh, displaces=False),),
        "the mesh takes the tissue's place": (solid(mesh, displaces=True),),
    }
    renderers = {
        name: MaterialRenderer(scene(*solids), device, projector="joseph")
        for name, solids in kinds.items()
    }
    return {name: lambda each=each: each.render(view()) for name, each in renderers.items()}


def medians(
    called: dict[str, Callable[[], Any]], rounds: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Median of each by the clock and in CPU time [ms]; the first round compiles."""
    found: dict[str, list[Timed]] = {name: [] for name in called}
    for _ in range(rounds + 1):
        for name, call in called.items():
            found[name].append(timed(call))
    clock, cpu = (
        {name: 1000 * statistics.median(getattr(each, key) for each in calls[1:])
         for name, calls in found.items()}
        for key in ("seconds", "cpu_seconds")
    )  # fmt: skip
    return clock, cpu


def image_of(device: CpuDevice, mesh: Surface) -> Any:
    """Path lengths through the mesh [mm]."""
    renderer = MaterialRenderer(scene(solid(mesh, displaces=False)), device)
    return device.to_host(renderer.render(view()))[-1]


def beside_gvxr(python: Path, mesh: Surface, lengths: Any, rounds: int) -> dict[str, float]:
    """Time of gvxr's image, and how far its path lengths are from ours."""
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        write_stl(mesh, where / "mesh.stl")
        job = {
            "mesh": str(where / "mesh.stl"), "source_mm": SOURCE_MM, "detector_mm": DETECTOR_MM,
            "pixels": PIXELS, "pitch_mm": PITCH_MM, "rounds": rounds,
        }  # fmt: skip
        (where / "job.json").write_text(json.dumps(job))
        script = Path(__file__).parent / "peers" / "gvxr_peer.py"
        command = [python, script, where / "job.json", where / "out.npz"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with np.load(where / "out.npz") as out:
            seconds, cpu, theirs = out["seconds"], out["cpu_seconds"], out["lengths_mm"]
    off = np.abs(theirs - lengths)
    return {
        "milliseconds": 1000 * float(np.median(seconds)),
        "cpu_milliseconds": 1000 * float(np.median(cpu)),
        "median_difference_mm": float(np.median(off[lengths > 1])),
        "p99_difference_mm": float(np.quantile(off[lengths > 1], 0.99)),
    }


def write_stl(mesh: Surface, path: Path) -> None:
    """Write a binary STL."""
    record = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    triangles = np.zeros(len(mesh.faces), record)
    triangles["corners"] = mesh.vertices_xyz_mm[mesh.faces]
    path.write_bytes(bytes(80) + np.uint32(len(triangles)).tobytes() + triangles.tobytes())


def table(results: dict[str, Any]) -> str:
    """Return the results as a Markdown table."""
    clock, cpu = results["milliseconds"], results["cpu_milliseconds"]
    head = f"CPU ms added by {results['threads']} threads each"
    lines = [f"| | ms | CPU ms | {head} | goal |", "|---|---|---|---|---|"]
    lines.append(f"| {SCENE} | {clock[SCENE]:.1f} | {cpu[SCENE]:.1f} | | |")
    for name, ms in results["added_cpu_milliseconds"].items():
        each = ms / results["threads"]
        goal = f"{results['goal_ms']:g}"
        lines.append(f"| {name} | {clock[name]:.1f} | {cpu[name]:.1f} | {each:.1f} | {goal} |")
    gvxr = results.get("gvxr")
    if gvxr:
        ms, used = gvxr["milliseconds"], gvxr["cpu_milliseconds"]
        each = used / results["threads"]
        name = "gvxr on llvmpipe, the mesh alone"
        lines.append(f"| {name} | {ms:.1f} | {used:.1f} | {each:.1f} | |")
    share = results["share_of_image"]
    lines += ["", f"{results['triangles']} triangles over {share:.2f} of 512 x 512 pixels."]
    if gvxr:
        lines[-1] += (
            f" Path lengths of gvxr differ by {gvxr['median_difference_mm']:.1e} mm (median) and "
            f"{gvxr['p99_difference_mm']:.1e} mm (99 %)."
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
