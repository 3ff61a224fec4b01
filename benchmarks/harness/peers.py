"""The peers: their environment, and each in a process of its own that times itself."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import venv
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.contestants import FORWARD, GRADIENT, Call, Contestant
from benchmarks.harness.exact_integrals import gradient_every
from fluoro.errors import OutputError
from fluoro.geometry.converters import DiffdrrPose, NanodrrPose, RtkPose
from fluoro.geometry.converters.patient_frames import turn
from fluoro.geometry.projection import View
from fluoro.geometry.se3 import translation
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.volumes import MuVolume

__all__ = ["PEERS", "PeerProcess", "make_environment", "open_peers"]

ROOT = Path(__file__).parents[2]
ENVIRONMENT = ROOT / "benchmarks" / ".venv-peers"
REQUIREMENTS = ROOT / "benchmarks" / "peers" / "requirements.txt"
TORCH = "torch==2.13.0"
"""From where pip looks, with what it needs: the build for CPUs where pip finds one, else CUDA's."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """A peer.

    Attributes:
        name: As tables say it.
        program: Module benchmarks/peers/`program`_peer.py.
        variant: Which of its renderers.
        tasks: What it can do.
        pose: A view in its words.
        devices: Where it runs.
    """

    name: str
    program: str
    variant: str = ""
    tasks: tuple[str, ...] = (FORWARD, GRADIENT)
    pose: Callable[[View, VolumeGrid], dict[str, Any]]
    devices: tuple[str, ...] = ("cpu", "cuda")


def _turned(pose: NanodrrPose | DiffdrrPose) -> dict[str, Any]:
    return asdict(pose) | {"lps_turn": turn("ZXY", pose.rotation_deg).tolist()}


def _nanodrr(view: View, grid: VolumeGrid) -> dict[str, Any]:
    return _turned(NanodrrPose.from_view(view, isocenter_xyz_mm=grid.center_xyz_mm))


def _diffdrr(view: View, grid: VolumeGrid) -> dict[str, Any]:
    return _turned(DiffdrrPose.from_view(view, center_xyz_mm=grid.center_xyz_mm))


def _rtk(view: View, grid: VolumeGrid) -> dict[str, Any]:
    return asdict(RtkPose.from_view(view, lps_from_rtk=translation(grid.center_xyz_mm)))


PEERS = (
    Program(name="RTK Joseph", program="rtk", tasks=(FORWARD,), pose=_rtk, devices=("cpu",)),
    Program(name="nanodrr", program="nanodrr", pose=_nanodrr),
    Program(name="DiffDRR siddon", program="diffdrr", variant="siddon", pose=_diffdrr),
    Program(name="DiffDRR trilinear", program="diffdrr", variant="trilinear", pose=_diffdrr),
)


class PeerProcess(Contestant):
    """A peer's process.

    Args:
        program: Which peer.
        python: Interpreter of the peers' environment.
        volume: What it projects.
        folder: Where volume and images are handed over; `volume.npy` lies there.
        threads: How many it may use.
        device: "cpu" or "cuda".

    Raises:
        OutputError: It does not start; the message says its reason.
    """

    def __init__(
        self,
        program: Program,
        python: Path,
        volume: MuVolume,
        folder: Path,
        *,
        threads: int,
        device: str,
    ) -> None:
        self.name, self.tasks = program.name, program.tasks
        self._program, self._grid, self._folder = program, volume.grid, folder
        self._process = subprocess.Popen(
            [str(python), "-m", "benchmarks.peers.serve"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(folder / f"{program.program}{program.variant}.log").open("w"),
            text=True,
        )
        self.versions: dict[str, str] = self._ask(
            "open",
            program=program.program,
            variant=program.variant,
            volume=str(folder / "volume.npy"),
            world_from_index=volume.grid.world_from_index.tolist(),
            threads=threads,
            device=device,
        )["versions"]

    def set_view(self, view: View) -> None:
        """Take the next view."""
        pose = self._program.pose(view, self._grid)
        self._ask("view", **pose, gradient_every=gradient_every(view))

    def run(self, task: str, *, keep: bool = False) -> Call:
        """Do a task once."""
        path = self._folder / "image.npy"
        answer = self._ask("run", task=task, keep=str(path) if keep else "")
        slope = answer["shift_gradient"]
        return Call(
            seconds=answer["seconds"],
            cpu_seconds=answer["cpu_seconds"],
            image=np.load(path) if keep else None,
            shift_gradient=None if slope is None else np.array(slope),
        )

    def render(self, view: View) -> NDArray[np.float32]:
        """A view's line integrals, shape (height, width)."""
        self.set_view(view)
        image = self.run(FORWARD, keep=True).image
        assert image is not None
        return np.asarray(image, np.float32)

    def register(
        self, target: NDArray[np.float32], start: View, method: Mapping[str, float]
    ) -> dict[str, Any]:
        """What the program's registration answers: pose, time, iterations.

        Args:
            target: Larger where more was in the beam, shape (height, width).
            start: Where the search starts.
            method: Iterations, rates and the correlation that is enough.
        """
        path = self._folder / "target.npy"
        np.save(path, target)
        self.set_view(start)
        return self._ask("register", target=str(path), **method)

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()  # type: ignore[union-attr]
        self._process.wait()

    def _ask(self, do: str, **details: Any) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin, stdout
        with contextlib.suppress(BrokenPipeError):
            stdin.write(json.dumps({"do": do, **details}, default=_plain) + "\n")
            stdin.flush()
        line = stdout.readline()  # type: ignore[union-attr]
        answer = json.loads(line) if line else {"error": f"ended with {self._process.wait()}"}
        if "error" in answer:
            raise OutputError(f"{self.name} failed: {answer['error']}")
        return dict(answer)


def _plain(value: NDArray[Any]) -> Any:
    return value.tolist()


def make_environment(folder: Path = ENVIRONMENT) -> Path:
    """The interpreter of the peers' environment, which is made if need be.

    Raises:
        OutputError: pip failed.
    """
    python = folder / "bin" / "python"
    stamp = folder / "installed.txt"
    content = f"{TORCH}\n{REQUIREMENTS.read_text()}"
    if stamp.is_file() and stamp.read_text() == content:
        return python
    print(f"making {folder} for the peers (1 to 4 GB to download, once) ...", flush=True)
    venv.create(folder, with_pip=True, clear=True)
    _pip_install(python, "--no-deps", "-r", str(REQUIREMENTS))
    _pip_install(python, TORCH)
    stamp.write_text(content)
    return python


def _pip_install(python: Path, *what: str) -> None:
    command = [str(python), "-m", "pip", "install", "--quiet", "--retries", "2", *what]
    if subprocess.run(command, check=False).returncode:
        raise OutputError(f"pip could not install {what[-1]} (see above); or use --no-peers")


@contextlib.contextmanager
def open_peers(
    volume: MuVolume,
    *,
    threads: int,
    device: str,
    python: Path | None = None,
    names: Collection[str] = (),
) -> Iterator[list[PeerProcess]]:
    """Those peers that run on the device, with the volume loaded; no names: all of them."""
    found: list[PeerProcess] = []
    python = python or make_environment()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        np.save(folder / "volume.npy", volume.mu_zyx)
        for program in PEERS:
            if device in program.devices and (program.name in names or not names):
                peer = PeerProcess(program, python, volume, folder, threads=threads, device=device)
                stack.callback(peer.close)
                found.append(peer)
        yield found
