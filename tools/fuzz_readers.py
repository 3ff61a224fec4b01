#!/usr/bin/env python3
"""Damages CT files at random and counts what the readers make of them.

    python tools/fuzz_readers.py                      10,000 of each kind
    python tools/fuzz_readers.py --kind nii --count 500 --seed 7

Each case is a small valid file with a few changes: bits, bytes, pieces cut out, doubled or put in,
an end that is missing. It must be refused by one line, or read as a volume that is whole. What is
read otherwise than the undamaged file is counted apart: a format without checksums cannot tell a
changed voxel or spacing from a meant one. Where another library can say it (GDCM, through
SimpleITK, for DICOM that is not compressed), it must have found the same.
"""

from __future__ import annotations

import argparse
import gzip
import io
import logging
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import SimpleITK as sitk
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless

from fluoro.errors import InputError
from fluoro.volume import dicom as dicom_reader
from fluoro.volume.dicom_pixels import FrameReader
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.read_options import ArrayLayout, ReadOptions
from fluoro.volume.readers import read_hu
from fluoro.volume.volumes import HuVolume
from tests import dicom_files as dicom
from tests.volume_files import meta_bytes, nifti_bytes, nrrd_bytes, ramp

PATIENCE_S = 30
CHARACTERS = b"\0\xff 0123456789-.\n=:,()\\naif"
"""Bytes that make a header mean something else rather than nothing."""
PLAIN = ReadOptions()
LAYOUT = ReadOptions(
    array=ArrayLayout(
        spacing_xyz_mm=(1.0, 2.0, 3.0),
        origin_xyz_mm=(0.0, 0.0, 0.0),
        direction=(1, 0, 0, 0, 1, 0, 0, 0, 1),
    )
)
LARGE = (np.arange(3 * 36 * 40).reshape(3, 36, 40) - 1000).astype(np.int16)
LARGE_GRID = VolumeGrid(shape_zyx=LARGE.shape, spacing_xyz_mm=(1.0, 2.0, 3.0))


class HangError(Exception):
    """A case took longer than anybody waits."""


@dataclass
class Subject:
    """A valid input, of which one file is damaged."""

    place: Path
    damaged: Path
    options: ReadOptions = PLAIN
    header_share: float = 0.7
    second_opinion: bool = False


def subjects(folder: Path) -> dict[str, Callable[[], Subject]]:
    """By kind, what makes the undamaged input."""
    return {
        "nii": lambda: _file(folder / "ct.nii", nifti_bytes(qform_code=0)),
        "nii.gz": lambda: _file(folder / "ct.nii.gz", gzip.compress(nifti_bytes())),
        "mha": lambda: _file(folder / "ct.mha", meta_bytes()),
        "nrrd": lambda: _file(folder / "ct.nrrd", nrrd_bytes()),
        "npy": lambda: _file(folder / "ct.npy", _numpy(np.save), LAYOUT),
        "npz": lambda: _file(folder / "ct.npz", _numpy(np.savez_compressed), LAYOUT),
        "dicom": lambda: _series(folder / "dicom"),
        "multi-frame": lambda: _multi_frame(folder / "ct.dcm"),
        "jpeg-lossless": lambda: _compressed(folder / "jpeg", JPEGLosslessSV1),
        "jpeg-ls": lambda: _compressed(folder / "jls", JPEGLSLossless),
        "jpeg-2000": lambda: _compressed(folder / "j2k", JPEG2000Lossless),
        "rle": lambda: _compressed(folder / "rle", RLELossless),
    }


def _file(path: Path, raw: bytes, options: ReadOptions = PLAIN) -> Subject:
    path.write_bytes(raw)
    return Subject(place=path, damaged=path, options=options)


def _numpy(save: Callable[..., Any]) -> bytes:
    buffer = io.BytesIO()
    save(buffer, ramp())
    return buffer.getvalue()


def _series(folder: Path) -> Subject:
    dicom.series(folder)
    damaged = sorted(folder.iterdir())[1]
    return Subject(place=folder, damaged=damaged, header_share=0.97, second_opinion=True)


def _multi_frame(path: Path) -> Subject:
    dicom.enhanced(path)
    return Subject(place=path, damaged=path, header_share=0.97)


def _compressed(folder: Path, syntax: Any) -> Subject:
    dicom.series(folder, LARGE, LARGE_GRID)
    damaged = sorted(folder.iterdir())[1]
    dicom.compressed(damaged, syntax)
    return Subject(place=folder, damaged=damaged, header_share=0.2)


def damaged(raw: bytes, rng: random.Random, header_share: float) -> bytes:
    """A few changes; in the first 60 % of the file with the probability given."""
    data = bytearray(raw)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        span = int(len(data) * 0.6) if rng.random() < header_share else len(data)
        at = rng.randrange(max(1, span))
        length = rng.choice((1, 2, 4, 8, 30))
        kind = rng.randrange(6)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at] = rng.choice(CHARACTERS)
        elif kind == 2:
            data[at : at + length] = rng.randbytes(length)
        elif kind == 3:
            del data[at : at + length]
        elif kind == 4:
            data[at:at] = data[at : at + length]
        else:
            del data[rng.randrange(max(1, len(data))) if rng.random() < 0.2 else len(data) :]
        if not data:
            break
    return bytes(data)


def outcome(subject: Subject, whole: HuVolume) -> str:
    """What became of a case; raises where it is a mistake."""
    try:
        hu = read_hu(subject.place, subject.options)
    except InputError as error:
        text = str(error)
        if "\n" in text or not text.strip():
            raise ValueError(f"not one line: {text!r}") from None
        return "refused"
    if hu.hu_zyx.shape != hu.grid.shape_zyx or not np.isfinite(hu.hu_zyx).all():
        raise ValueError(f"no volume: {hu.hu_zyx.shape}, {hu.grid}")
    if np.array_equal(hu.hu_zyx, whole.hu_zyx) and _same_place(hu.grid, whole.grid):
        return "as before"
    if subject.second_opinion:
        return _second_opinion(subject, hu)
    return "read otherwise"


def _same_place(grid: VolumeGrid, other: VolumeGrid) -> bool:
    return np.allclose(grid.world_from_index, other.world_from_index, atol=1e-6)


def _second_opinion(subject: Subject, hu: HuVolume) -> str:
    """Whether GDCM finds the damaged slice's values at the place where they were read."""
    try:
        image = sitk.ReadImage(str(subject.damaged), sitk.sitkFloat64)
    except RuntimeError:
        return "read otherwise, GDCM does not"
    values = sitk.GetArrayFromImage(image)
    if values.ndim != 3 or len(values) != 1 or image.GetSize()[:2] != hu.grid.shape_xyz[:2]:
        return "read otherwise, in another shape than GDCM"
    corner = np.array(image.GetOrigin())
    index = (hu.grid.index_from_world @ [*corner, 1.0])[:3]
    z = round(index[2])
    near = np.abs(index - [0, 0, z]).max() < 0.1 and 0 <= z < hu.grid.shape_zyx[0]
    if not near:
        return "read otherwise, in another place than GDCM"
    gap = np.abs(values[0] - hu.hu_zyx[z])
    clipped = (hu.hu_zyx[z] == -1024) & (gap > 0)
    if gap[~clipped].max(initial=0) > 0.5:
        return "read otherwise, with other values than GDCM"
    return "read otherwise, as GDCM"


def run(kind: str, count: int, seed: int, folder: Path) -> Counter[str]:
    """Outcomes of so many cases of one kind; a case that fails is kept beside the script."""
    subject = subjects(folder)[kind]()
    raw = subject.damaged.read_bytes()
    whole = read_hu(subject.place, subject.options)
    found: Counter[str] = Counter()
    for number in range(count):
        rng = random.Random(f"{kind} {seed} {number}")
        subject.damaged.write_bytes(damaged(raw, rng, subject.header_share))
        signal.alarm(PATIENCE_S)
        try:
            found[outcome(subject, whole)] += 1
        except Exception as error:  # noqa: BLE001  (whatever it is, it is what is looked for)
            found[f"FAILED: {type(error).__name__}: {error}"[:200]] += 1
            shutil.copy(subject.damaged, Path(f"fuzz-{kind}-{seed}-{number}"))
        finally:
            signal.alarm(0)
    return found


def _hang(_number: int, _frame: Any) -> None:
    raise HangError(f"longer than {PATIENCE_S} s")


class _SharedReader(FrameReader):
    """One decoding process for all cases; a new one only where one has died."""

    def __exit__(self, *_error: object) -> None:
        self.padded = 0


def main() -> int:
    """Run the kinds asked for; 1 if a case failed."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--kind", action="append")
    arguments.add_argument("--count", type=int, default=10_000)
    arguments.add_argument("--seed", type=int, default=0)
    given = arguments.parse_args()
    logging.disable()
    signal.signal(signal.SIGALRM, _hang)
    shared = _SharedReader()
    dicom_reader.FrameReader = lambda: shared  # type: ignore[misc, assignment]
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for kind in given.kind or subjects(Path(folder)):
            start = time.perf_counter()
            found = run(kind, given.count, given.seed, Path(folder))
            seconds = time.perf_counter() - start
            figures = ", ".join(f"{n} {what}" for what, n in found.most_common())
            print(f"{kind}: {given.count} in {seconds:.0f} s: {figures}", flush=True)
            failed |= any(what.startswith("FAILED") for what in found)
    FrameReader.__exit__(shared, None, None, None)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
