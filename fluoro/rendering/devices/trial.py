"""Try a device in a separate process, so that its faults harm no other; keep the result.

The trial itself is fluoro/diagnostics/device_trial.py. A result stays in the cache until driver,
libraries, kernels or configuration change.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluoro.paths import cache_dir, shader_files
from fluoro.rendering.devices.nvidia_driver import driver_file
from fluoro.rendering.devices.vulkan_adapters import vulkan_adapters

if TYPE_CHECKING:
    from fluoro.config import Config

__all__ = ["TrialResult", "forget_trial_results", "trial_sections", "try_device"]

log = logging.getLogger(__name__)

LIMIT_S = 120.0
"""A device that takes longer has stopped; a first compilation takes a tenth of it."""

PACKAGE = Path(__file__).parents[2]
NVIDIA_PACKAGES = ("cupy-cuda12x", "cupy-cuda13x", "nvidia-cuda-nvrtc-cu12", "nvidia-cuda-nvrtc")
SURROUNDINGS = ("CUDA_VISIBLE_DEVICES", "CUDA_PATH", "LD_LIBRARY_PATH", "VK_ICD_FILENAMES")
"""Environment variables that decide which device and which libraries are found."""


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """What came of a trial.

    Attributes:
        fault: What is wrong, in one clause; None: nothing.
        absent: Whether there is no such device at all.
        lasting: Whether the next trial will find the same.
    """

    fault: str | None = None
    absent: bool = False
    lasting: bool = True


def trial_sections(config: Config) -> dict[str, Any]:
    """Return what of a configuration a device is tried with."""
    wanted = config.model_dump(
        mode="json",
        by_alias=True,
        include={
            "volume": {"motion", "contrast", "materials", "hu_to_mu"},
            "renderer": {"projector", "step_mm", "texture", "fused"},
            "image_chain": True,
            "carm": {"source_to_detector_mm", "source_to_isocenter_mm"},
        },
    )
    return dict(wanted)


def try_device(choice: Mapping[str, Any], sections: Mapping[str, Any]) -> TrialResult:
    """Return whether a device renders a small scene as it should.

    Args:
        choice: `kind`, `adapter` and `index` of the device.
        sections: Of a configuration: see `fluoro.diagnostics.device_trial.Trial`.
    """
    path = _folder() / f"{_key(choice, sections)}.json"
    known = _read(path)
    if known is not None:
        return known
    log.info("trying %s", choice)
    result = _ask(choice, sections)
    if result.lasting:
        _write(path, result)
    return result


def forget_trial_results() -> None:
    """Have every device tried again."""
    for path in _folder().glob("*.json"):
        path.unlink(missing_ok=True)


def _ask(choice: Mapping[str, Any], sections: Mapping[str, Any]) -> TrialResult:
    """What a process says that opens the device."""
    path = os.pathsep.join(filter(None, (str(PACKAGE.parent), os.environ.get("PYTHONPATH"))))
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "fluoro.diagnostics.device_trial"],
            input=json.dumps({"choice": choice, "sections": sections}),
            env=os.environ | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return TrialResult(fault=f"it gave no image within {LIMIT_S:g} s")
    except OSError as error:
        return TrialResult(fault=f"it could not be tried ({error})", lasting=False)
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        return TrialResult(fault=f"it ended the process that tried it ({name})")
    return _answer(done)


def _answer(done: subprocess.CompletedProcess[str]) -> TrialResult:
    try:
        return TrialResult(**json.loads(done.stdout.strip().splitlines()[-1]))
    except (IndexError, ValueError, TypeError):
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["no message"]
        return TrialResult(fault=f"the process that tried it failed ({said[-1].strip()})")


def _folder() -> Path:
    return cache_dir() / "device-trials"


def _read(path: Path) -> TrialResult | None:
    try:
        return TrialResult(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _write(path: Path, result: TrialResult) -> None:
    """Store a result; where the cache cannot be written the device is tried again."""
    unfinished = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(json.dumps(asdict(result)), encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        log.info("the result of a device's trial is not stored: %s", error)


def _key(choice: Mapping[str, Any], sections: Mapping[str, Any]) -> str:
    """Return a hash of all that a result depends on."""
    facts = [dict(choice), dict(sections), sys.version, _drivers(choice)]
    facts += [{name: os.environ.get(name) for name in SURROUNDINGS}, _versions()]
    known = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    for source in (*shader_files(), *sorted(PACKAGE.rglob("*.py"))):
        known.update(source.read_bytes())
    return known.hexdigest()[:24]


def _drivers(choice: Mapping[str, Any]) -> Any:
    if choice["kind"] == "vulkan":
        return [asdict(adapter) for adapter in vulkan_adapters()]
    path = driver_file()
    if path is None:
        return None
    facts = path.stat()
    return [str(path), facts.st_size, facts.st_mtime_ns]


def _versions() -> dict[str, str]:
    found = {}
    for name in ("slangpy", *NVIDIA_PACKAGES):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
