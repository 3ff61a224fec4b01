"""Another program labels a CT: it is run, its result checked and kept in the cache."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from fluoro.config import ReadOptions, VolumeConfig
from fluoro.errors import InputError
from fluoro.paths import cache_dir
from fluoro.volume.ct import Ct
from fluoro.volume.labels.load import read_label_file
from fluoro.volume.labels.structures import totalsegmentator
from fluoro.volume.open_ct import open_ct
from fluoro.volume.store.atomic_folder import content_sha256, staged_folder
from fluoro.volume.store.fetch import volume_path

__all__ = ["SEGMENTERS", "segment", "segmented_path"]

SEGMENTERS = {
    "totalsegmentator": "TotalSegmentator -i {ct} -o {labels} --ml --task total",
}
"""Command of each program of `app.py segment --with`; {ct} and {labels} are NIfTI files."""

SAME_MM = 0.1
"""Difference between the grids of CT and labels that counts as none [mm]."""


def segmented_path(config: VolumeConfig) -> Path:
    """Return the labels that `segment` made of the configured CT.

    Raises:
        InputError: There are none, or the volume is no CT file.
    """
    if config.path is None:
        raise InputError("volume.labels: auto needs volume.path; {} stands for a phantom's parts")
    path = _kept(open_ct(volume_path(config.path), config), config)
    if not path.is_file():
        raise InputError(
            f"volume.labels: there are no labels of {config.path} yet; run "
            f"`app.py segment {config.path} --with totalsegmentator`"
        )
    return path


def segment(
    config: VolumeConfig, command: str, progress: Callable[[str, float], None] | None = None
) -> Path:
    """Have a program label a CT, check what it made and keep it.

    Args:
        config: Names the CT, and how it is read.
        command: Shell words; {ct} stands for the CT (NIfTI), {labels} for the file to make (NIfTI).
        progress: Told what is being done, and which fraction of it, 0 to 1.

    Returns:
        The labels in the cache, which `volume.labels: auto` takes.

    Raises:
        InputError: A program that is not there or fails, or a result that does not fit.
        OutputError: The cache's folder is full or cannot be written.
    """
    tell = progress or (lambda _what, _fraction: None)
    if config.path is None:
        raise InputError("volume.path: must name a CT")
    words = _words(command)
    ct = open_ct(volume_path(config.path), config)
    kept = _kept(ct, config)
    with staged_folder(kept.parent, lambda: False) as stage:
        with tempfile.TemporaryDirectory(dir=stage) as scratch:
            given = _as_nifti(ct, Path(scratch))
            labels = Path(scratch) / "labels.nii.gz"
            tell(f"running {words[0]}", 0.0)
            arguments = [word.format(ct=given, labels=labels) for word in words[1:]]
            _run([_program(words[0]), *arguments])
            tell(f"running {words[0]}", 1.0)
            _check(labels, ct, words[0])
            shutil.move(labels, stage / kept.name)
        facts = {"command": command, "ct": str(config.path)}
        (stage / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    return kept


def _words(command: str) -> list[str]:
    words = shlex.split(command)
    missing = [each for each in ("{ct}", "{labels}") if each not in command]
    if missing or not words:
        raise InputError(f"--command: must have {{ct}} and {{labels}}, got {command!r}")
    _program(words[0])
    return words


def _program(name: str) -> str:
    """The path of a program: in PATH, or beside the interpreter, where pip installs it."""
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        raise InputError(f"{name}: there is no such program; install it, or give --command")
    return found


def _kept(ct: Ct, options: ReadOptions) -> Path:
    """Where the labels of a CT lie: its content and how it is read decide."""
    facts = {
        "files": [content_sha256(part) for part in ct.files],
        "options": {
            key: options.given()[key] for key in ReadOptions.model_fields if key in options.given()
        },
    }
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
    return cache_dir() / "segmentations" / key / "labels.nii.gz"


def _as_nifti(ct: Ct, folder: Path) -> Path:
    if ct.kind == "NIfTI" and len(ct.files) == 1:
        return ct.files[0].resolve()
    import SimpleITK as sitk

    volume, path = ct.volume(), folder / "ct.nii.gz"
    image = sitk.GetImageFromArray(volume.hu_zyx)
    image.SetSpacing(volume.grid.spacing_xyz_mm)
    image.SetOrigin(volume.grid.origin_xyz_mm)
    image.SetDirection([value for row in volume.grid.direction for value in row])
    sitk.WriteImage(image, str(path))
    return path


def _run(words: Sequence[str]) -> None:
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except OSError as error:
        raise InputError(f"{words[0]}: cannot be run: {error.strerror or error}") from None
    if done.returncode != 0:
        lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        reason = lines[-1] if lines else "no message"
        raise InputError(f"{words[0]}: failed with exit code {done.returncode}: {reason}")


def _check(labels: Path, ct: Ct, program: str) -> None:
    """Refuse labels on another grid than the CT's, of other classes, or none at all."""
    if not labels.is_file():
        raise InputError(f"{program}: made no file of labels")
    numbers, grid = read_label_file(labels, ReadOptions())
    if grid.shape_zyx != ct.grid.shape_zyx or not np.allclose(
        grid.world_from_index, ct.grid.world_from_index, atol=SAME_MM
    ):
        raise InputError(
            f"{program}: its labels must be on the grid of the CT, {ct.grid.shape_xyz} voxels, got "
            f"{grid.shape_xyz} voxels with the first at {grid.origin_xyz_mm} mm"
        )
    there = [int(number) for number in np.flatnonzero(np.bincount(numbers.ravel())) if number]
    unknown = [number for number in there if number not in totalsegmentator()]
    if unknown or not there:
        found = f"got {unknown[0]}" if unknown else "got none"
        raise InputError(f"{program}: labels must be classes 1 to 117 of TotalSegmentator, {found}")
