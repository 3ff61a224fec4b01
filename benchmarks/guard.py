#!/usr/bin/env python3
"""Guards the kernels' speed: fails when one has become 1.3 times slower than it was.

    python benchmarks/guard.py            compares with benchmarks/results/guard.json
    python benchmarks/guard.py --store    keeps the figures of this run there
    python benchmarks/guard.py --against WORKTREE
        compares with another work tree of this project, in nine rounds that alternate: for every
        kernel the median of the rounds' quotients must be at most 1.05

It takes CPU time of one thread, as a multiple of the time of a plain march in C++
(harness/plain_march.cpp) that alternates with the kernels: this quotient hardly changes on a
loaded machine. It differs between vector units, so it is stored for each kind;
where none is stored, march and Joseph must at least not be slower than the plain march.

Four kernels of the image chain stand for all of it, the last, "fused", for stages that run as one;
"full chain" is the whole of a spectrum, scatter, a flat panel and automatic brightness.
What keeps pixels side by side there (INLINE_ALL and KEEP_LANES in
fluoro/rendering/devices/cpu/compiler.py) is lost as easily as a projector's vectors: without the
one the noise takes twice as long, without the other the blur.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.harness.beam_work import energies_call, physics_call
from benchmarks.harness.machine import describe_machine, vector_units
from benchmarks.harness.report import write_json
from benchmarks.harness.scene import make_views, synthetic_volume
from fluoro.config import ImageChainConfig
from fluoro.errors import DeviceError, FluoroError
from fluoro.geometry.projection import View
from fluoro.imaging.chain import ImageChain
from fluoro.imaging.mtf_kernels import light_taps
from fluoro.names import TissueMapName
from fluoro.physics.tissues import tissue_map
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.material_renderer import MaterialRenderer
from fluoro.rendering.projectors import PROJECTORS
from fluoro.rendering.reference import clip_rays
from fluoro.rendering.renderer import DrrRenderer
from fluoro.volume.material_volume import MaterialVolume

ROOT = Path(__file__).parents[1]
STORED = ROOT / "benchmarks" / "results" / "guard.json"
SOURCE = ROOT / "benchmarks" / "harness" / "plain_march.cpp"
ROUNDS = 9
"""Of a comparison with another work tree."""
WORSE_THAN_TREE = 1.05
"""A kernel fails when it takes that many times what it takes in the other work tree."""
WORSE = 1.3
"""A kernel fails when its quotient is that many times the stored one."""
NO_SLOWER = 1.0
"""Where nothing is stored: the limit of those that do the plain march's work."""
SAME_WORK = ("march", "joseph")
VIEWS = ("PA", "LAO 45 CRA 30")
ENERGIES = 5
PITCH_MM = 0.5
"""Of the image chain's pixels."""
TISSUES: TissueMapName = "tissues"
"""Whose materials projectors separate."""
OF_MATERIALS = ("joseph", "slab")
"""Projectors whose materials are guarded."""

Quotients = dict[str, float]


def plain_march(folder: Path) -> Callable[..., None]:
    """The reference kernel, compiled without vectors.

    Raises:
        DeviceError: No C++ compiler, or it fails.
    """
    library = folder / "plain_march.so"
    flags = ["-std=c++17", "-O2", "-fno-tree-vectorize", "-fPIC", "-shared"]
    compiler = shutil.which(os.environ.get("CXX", "g++")) or shutil.which("c++")
    if compiler is None:
        raise DeviceError("no C++ compiler found: install one (Debian, Ubuntu: apt install g++)")
    command = [compiler, *flags, str(SOURCE), "-o", str(library)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DeviceError(f"{SOURCE.name} does not compile: {done.stderr.partition(chr(10))[0]}")
    function = ctypes.CDLL(str(library)).plain_march
    pointer = ctypes.c_void_p
    function.argtypes = [pointer, pointer, pointer, ctypes.c_int, ctypes.c_float, pointer]
    function.restype = None
    return function


class Guard:
    """The kernels and the reference on one synthetic volume, each on the calling thread alone."""

    def __init__(self, folder: Path, *, size_px: int = 160, edge_voxels: int = 160) -> None:
        self.volume = synthetic_volume(edge_voxels)
        self.views = make_views(self.volume.grid, size_px, names=VIEWS)
        self.chain_px = 2 * size_px
        self._plain = plain_march(folder)
        self._step_mm = self.volume.grid.spacing_xyz_mm[0]

    def calls(self, view_name: str) -> dict[str, Callable[[], Any]]:
        """The reference, named "plain", and the kernels."""
        view, device = self.views[view_name], CpuDevice(workers=1)
        center = self.volume.grid.center_xyz_mm
        body = MaterialVolume(volume=self.volume, tissues=tissue_map(TISSUES))
        shape = (len(body.materials), view.height_px, view.width_px)
        worth = np.ones(shape, np.float32)
        calls = {"plain": self.plain(view_name), **self._projectors(view, device)}
        for name in OF_MATERIALS:
            one = MaterialRenderer(body, device, projector=name)
            calls[f"{name} materials"] = lambda one=one: one.render(view)
            calls[f"{name} materials jacobian"] = lambda one=one: one.render_jacobian(
                view, center, worth
            )
        return calls

    def _projectors(self, view: View, device: CpuDevice) -> dict[str, Callable[[], Any]]:
        """An image and a Jacobian of every projector."""
        center, calls = self.volume.grid.center_xyz_mm, {}
        for name, projector in PROJECTORS.items():
            step = {"step_mm": self._step_mm} if projector.steps else {}
            one = DrrRenderer(self.volume, device, projector=projector.name, **step)
            calls[name] = lambda one=one: one.render(view)
            if projector.differentiable:
                calls[f"{name} jacobian"] = lambda one=one: one.render_jacobian(view, center)
        return calls

    def chain_calls(self) -> dict[str, Callable[[], Any]]:
        """The reference on the first view, named "plain", and kernels of the image chain."""
        device = CpuDevice(workers=1)
        return {
            "plain": self.plain(next(iter(self.views))),
            "polychromatic": energies_call(device, self.chain_px, ENERGIES),
            "poisson": noise_call(device, self.chain_px),
            "convolve": blur_call(device, self.chain_px),
            "fused": fused_call(device, self.chain_px),
            "full chain": physics_call(device, self.chain_px),
        }

    def plain(self, view_name: str) -> Callable[[], Any]:
        """The reference on a view; it returns line integrals, shape (height, width)."""
        view = self.views[view_name]
        rays = clip_rays(view, self.volume.grid)
        columns = [rays.start, rays.extent, rays.length_mm[:, None]]
        packed = np.ascontiguousarray(np.concatenate(columns, axis=1), np.float32)
        size = np.array(self.volume.grid.shape_xyz, np.int32)
        out = np.empty((view.height_px, view.width_px), np.float32)

        def call() -> Any:
            pointers = (array.ctypes.data for array in (self.volume.mu_zyx, size, packed))
            self._plain(*pointers, len(packed), self._step_mm, out.ctypes.data)
            return out

        return call

    def quotients(self, rounds: int = 7) -> Quotients:
        """Least thread time of each kernel over that of the reference, by kernel and view."""
        found = {}
        for view in self.views:
            measured = _quotients(self.calls(view), rounds)
            found |= {f"{name}, {view}": quotient for name, quotient in measured.items()}
        return found | _quotients(self.chain_calls(), rounds)


def blur_call(device: CpuDevice, size_px: int) -> Callable[[], Any]:
    """The spread of a converter's light on a square image: 17 x 17 taps."""
    source = np.linspace(0.0, 1.0, size_px**2, dtype=np.float32).reshape(size_px, size_px)
    taps, image = light_taps(0.5, 0.1), np.empty_like(source)
    threads = (-(-size_px // device.packet_pixels), size_px, 1)
    uniforms = {"image": image, "image_size": (size_px, size_px, 1)}
    uniforms |= {"source": source, "taps": taps, "radius": len(taps) - 1}

    def call() -> Any:
        device.launch("convolve", "convolve", threads, uniforms, exact=True)
        return image

    return call


def noise_call(device: CpuDevice, size_px: int) -> Callable[[], Any]:
    """Quantum noise of a square image of 0 to 1000 photons a pixel."""
    expected = np.linspace(0.0, 1000.0, size_px**2, dtype=np.float32).reshape(size_px, size_px)
    image, zero = np.empty_like(expected), (0, 0, 0)
    threads = (-(-size_px // device.packet_pixels), size_px, 1)
    uniforms = {"image": image, "image_size": (size_px, size_px, 1), "seed": zero, "frame": zero}

    def call() -> Any:
        image[:] = expected
        device.launch("poisson", "poisson", threads, uniforms, exact=True)
        return image

    return call


def fused_call(device: CpuDevice, size_px: int) -> Callable[[], Any]:
    """The chain from line integrals of 0 to 8 to the image: noise, logarithm and window."""
    ramp = np.linspace(0.0, 8.0, size_px**2, dtype=np.float32).reshape(size_px, size_px)
    chain, config, frames = ImageChain(device, 0, fused=True), ImageChainConfig(), count()
    return lambda: chain.apply(ramp, config, next(frames), PITCH_MM)


def _quotients(calls: Mapping[str, Callable[[], Any]], rounds: int) -> Quotients:
    least = _least_seconds(calls, rounds)
    plain = least.pop("plain")
    return {name: seconds / plain for name, seconds in least.items()}


def _least_seconds(calls: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    least = dict.fromkeys(calls, float("inf"))
    for number in range(rounds + 1):
        for name, call in calls.items():
            call()  # so that the caches hold its own memory, not that of the kernel before it
            start = time.thread_time()
            call()
            if number:  # the first round compiles
                least[name] = min(least[name], time.thread_time() - start)
    return least


def find_slower(found: Quotients, stored: Quotients | None) -> list[str]:
    """One line for each kernel beyond its limit; without stored quotients, the general limit.

    A kernel that is stored and was not measured is beyond its limit too.
    """
    lines = []
    for name, limit in _limits(found, stored).items():
        quotient = found.get(name)
        if quotient is None:
            lines.append(f"{name}: was not measured")
        elif quotient > limit:
            lines.append(f"{name}: {quotient:.3f} of the plain march, limit {limit:.3f}")
    return lines


def _limits(found: Quotients, stored: Quotients | None) -> Quotients:
    if stored is not None:
        return {name: WORSE * quotient for name, quotient in stored.items()}
    return {name: NO_SLOWER for name in found if name.partition(",")[0] in SAME_WORK}


def against(tree: Path, rounds: int = ROUNDS) -> Quotients:
    """Return the time of each kernel here over its time in another work tree.

    Each round measures both trees in processes of their own, in turn; the median of the rounds
    counts. A kernel that the other tree lacks is left out.

    Raises:
        DeviceError: One of the trees cannot be measured.
    """
    ratios: dict[str, list[float]] = {}
    for number in range(rounds):
        pair = (ROOT, tree) if number % 2 else (tree, ROOT)
        found = {each: _measured(each) for each in pair}
        for name in found[ROOT].keys() & found[tree].keys():
            ratios.setdefault(name, []).append(found[ROOT][name] / found[tree][name])
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return {name: statistics.median(each) for name, each in sorted(ratios.items())}


def _measured(tree: Path) -> Quotients:
    """Return the quotients of a tree, from its own guard.

    Raises:
        DeviceError: It fails, or knows no --json.
    """
    command = [sys.executable, str(tree / "benchmarks" / "guard.py"), "--json"]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise DeviceError(f"{tree}: its guard cannot be run: {reason}")
    return dict(json.loads(done.stdout))


def compare(tree: Path) -> int:
    """Print each kernel beside another work tree's; 1 where one is slower than allowed."""
    found = against(tree)
    for name, ratio in found.items():
        print(f"{name}: {ratio:.3f} of {tree.name}")
    slower = [name for name, ratio in found.items() if ratio > WORSE_THAN_TREE]
    print(f"SLOWER than {WORSE_THAN_TREE:g}: {', '.join(slower)}" if slower else "guard: as fast")
    return 1 if slower else 0


def read_stored(path: Path = STORED) -> dict[str, Any]:
    """What was stored, by kind of vector units."""
    return dict(json.loads(path.read_text())) if path.is_file() else {}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, compare or store."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--store", action="store_true")
    parser.add_argument("--against", type=Path, metavar="WORKTREE")
    parser.add_argument("--json", action="store_true", help="print the quotients alone")
    arguments = parser.parse_args(argv)
    store, units, stored = arguments.store, vector_units(), read_stored()
    try:
        if arguments.against:
            return compare(arguments.against.resolve())
        with tempfile.TemporaryDirectory() as folder:
            found = Guard(Path(folder)).quotients()
    except FluoroError as error:
        print(f"guard: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps(found))
        return 0
    known = stored.get(units, {}).get("quotients")
    for name, quotient in found.items():
        before = f", stored {known[name]:.3f}" if known and name in known else ""
        print(f"{name}: {quotient:.3f} of the plain march{before}")
    if store:
        entry = {"machine": describe_machine(), "quotients": found}
        write_json(STORED, stored | {units: entry})
        return 0
    if known is None:
        print(f"nothing is stored for {units}: only march and Joseph have a limit, 1.0")
    slower = find_slower(found, known)
    print("\n".join(["SLOWER THAN IT WAS:", *slower]) if slower else "guard: as fast as it was")
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
