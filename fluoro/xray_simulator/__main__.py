"""xray_simulator's command line: `python -m fluoro.xray_simulator preprocess|render`.

A preset says how; the arguments say which CT, where the C-arm stands, and where images go.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fluoro.errors import FluoroError, InputError
from fluoro.files.atomic_write import replacing
from fluoro.fluorosim.image_saving import save_image
from fluoro.xray_simulator.config import PreprocessingSettings, SimulatorConfig
from fluoro.xray_simulator.geometry import CANONICAL_FRAME, VIEWS, view_rotation
from fluoro.xray_simulator.pose import Pose
from fluoro.xray_simulator.simulator import xray_simulator
from fluoro.xray_simulator.volume import PreprocessedVolume, VolumePreprocessor

__all__ = ["main", "synthetic_ct"]

SOURCES = ("synthetic", "nifti", "dicom", "cache")


def synthetic_ct(settings: PreprocessingSettings | None = None) -> VolumePreprocessor:
    """Return a ball of soft tissue with a smaller one of bone beside its middle, 64 mm a side."""
    z, y, x = np.indices((64, 64, 64), np.float32) - 31.5
    hu = np.full(z.shape, -1000.0, np.float32)
    hu[x**2 + y**2 + z**2 < 25**2] = 40.0
    hu[(x - 8) ** 2 + (y + 5) ** 2 + z**2 < 8**2] = 900.0
    return VolumePreprocessor.from_numpy(
        hu, (1.0, 1.0, 1.0), settings=settings, anatomical_frame=CANONICAL_FRAME
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    asked = _parser().parse_args(arguments)
    try:
        plan = _plan(asked)
        if asked.dryrun:
            sys.stdout.write(json.dumps(plan, indent=2) + "\n")
        elif asked.command == "preprocess":
            _preprocess(asked)
        else:
            _render(asked, plan)
    except (FluoroError, FileNotFoundError) as error:
        sys.stderr.write(f"xray_simulator: {error}\n")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fluoro.xray_simulator", description=(__doc__ or "").splitlines()[0]
    )
    commands = parser.add_subparsers(dest="command", required=True)
    preprocess = commands.add_parser("preprocess", help="from a CT to a folder of attenuation")
    render = commands.add_parser("render", help="from a CT or such a folder to images")
    for each in (preprocess, render):
        each.add_argument("--config", type=Path, required=True, help="preset, .json or .yaml")
        each.add_argument("--output", type=Path, help="folder to make; it must not exist")
        each.add_argument("--dryrun", "--dry-run", action="store_true", help="only print the plan")
        source = each.add_mutually_exclusive_group(required=True)
        source.add_argument("--synthetic", action="store_true", help="a ball with a bone in it")
        source.add_argument("--nifti", type=Path, help="a NIfTI file")
        source.add_argument("--dicom", type=Path, help="a folder with a DICOM series")
        if each is render:
            source.add_argument("--cache", type=Path, help="what preprocess has written")
    pose = render.add_mutually_exclusive_group()
    pose.add_argument("--view", choices=[*VIEWS], help="a named view; needs a volume in LPS")
    pose.add_argument(
        "--rotation-deg", type=_finite, nargs=3, metavar=("RX", "RY", "RZ"), help="Rz Rx Ry [deg]"
    )
    render.add_argument(
        "--translation-mm", type=_finite, nargs=3, default=(0.0, 0.0, 0.0), metavar=("X", "Y", "Z"),
        help="of the isocentre from the volume's centre [mm]",
    )  # fmt: skip
    render.add_argument("--frames", type=_count, default=1, help="images of the pose (1)")
    render.add_argument("--fps", type=_rate, default=15.0, help="rate they are meant for (15)")
    render.add_argument(
        "--calibrate-display", type=_finite, nargs=2, metavar=("LOW", "HIGH"),
        help="percentiles of the first image that its log window is fitted to",
    )  # fmt: skip
    return parser


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"must be finite, got {text}")
    return value


def _rate(text: str) -> float:
    value = _finite(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"must be above 0, got {text}")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return value


def _plan(asked: argparse.Namespace) -> dict[str, Any]:
    """What is about to be done, checked as far as that goes without reading voxels."""
    config = SimulatorConfig.from_preset(asked.config)
    kind = next(name for name in SOURCES if getattr(asked, name, None))
    path = None if kind == "synthetic" else getattr(asked, kind)
    if path is not None and not path.exists():
        raise InputError(f"--{kind}: {path} is not there")
    if kind == "cache" and config.preprocessing != PreprocessingSettings():
        raise InputError(
            f"{asked.config}: preprocessing has no effect on a cache, which is attenuation already"
        )
    plan: dict[str, Any] = {
        "command": asked.command,
        "source": {"kind": kind, "path": None if path is None else str(path)},
        "output": str(_output(asked, config)),
        "preset": config.to_dict(),
        "preprocessing": config.to_dict()["preprocessing"],
    }
    if asked.command == "render":
        plan |= {"pose": _pose(asked).to_dict(), "frames": asked.frames, "fps": asked.fps}
        plan["calibration"] = asked.calibrate_display
    return plan


def _output(asked: argparse.Namespace, config: SimulatorConfig) -> Path:
    given = asked.output or (config.output.output_dir if asked.command == "render" else None)
    if given is None:
        raise InputError("--output: must name a folder")
    if Path(given).exists():
        raise InputError(f"--output: {given} is there already: name a new folder")
    return Path(given)


def _pose(asked: argparse.Namespace) -> Pose:
    shift = tuple(asked.translation_mm)
    if asked.view:
        return Pose(view_rotation(asked.view), shift, view=asked.view)
    rx, ry, rz = (math.radians(angle) for angle in asked.rotation_deg or (0.0, 0.0, 0.0))
    return Pose((rx, ry, rz), shift)


def _preprocessor(asked: argparse.Namespace, config: SimulatorConfig) -> VolumePreprocessor:
    settings = config.preprocessing
    if asked.synthetic:
        return synthetic_ct(settings)
    if asked.nifti:
        return VolumePreprocessor.from_nifti(asked.nifti, settings)
    return VolumePreprocessor.from_dicom(asked.dicom, settings)


def _preprocess(asked: argparse.Namespace) -> None:
    config = SimulatorConfig.from_preset(asked.config)
    folder = _output(asked, config)
    volume = _preprocessor(asked, config).preprocess(output_dir=folder)
    sys.stdout.write(f"{folder}: {volume}\n")


def _render(asked: argparse.Namespace, plan: dict[str, Any]) -> None:
    config = SimulatorConfig.from_preset(asked.config)
    folder, pose = _output(asked, config), _pose(asked)
    if getattr(asked, "cache", None):
        volume = PreprocessedVolume.load(asked.cache)
    else:
        volume = _preprocessor(asked, config).preprocess()
    frame = getattr(volume.metadata, "anatomical_frame", None)
    if asked.view and frame != CANONICAL_FRAME:
        raise InputError(
            f"--view: needs a volume whose anatomical_frame is {CANONICAL_FRAME}, got {frame}: "
            "give --rotation-deg"
        )
    simulator = xray_simulator(volume, config.with_output(save_to_disk=False))
    if asked.calibrate_display:
        low, high = asked.calibrate_display
        display = simulator.calibrate_display(pose, (low, high))
        plan["preset"]["post_processing"]["display"]["log_window"] = list(display.log_window)
        plan["preset"]["post_processing"]["display"]["scaling"] = display.scaling
    for each in simulator.stream([pose] * asked.frames):
        each.save(folder / f"frame_{each.frame_idx:04d}.{config.output.format}")
        if each.intensity is not None:
            save_image(folder / f"intensity_{each.frame_idx:04d}.npy", each.intensity, {})
    plan["volume_metadata"] = vars(volume.metadata)
    with replacing(folder / "run.json") as file:
        file.write(json.dumps(plan, indent=2, default=str) + "\n")
    sys.stdout.write(f"{folder}: {asked.frames} images and run.json\n")
    simulator.close()


if __name__ == "__main__":
    sys.exit(main())
