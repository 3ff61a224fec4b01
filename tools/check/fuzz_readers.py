#!/usr/bin/env python3
"""Damages CT and X-ray files at random and counts what the readers make of them.

    python tools/check/fuzz_readers.py                      10,000 of each kind
    python tools/check/fuzz_readers.py --kind nii --count 500 --seed 7

Each case is a small valid file with a few changes: bits, bytes, pieces cut out, doubled or put in,
an end that is missing. It must be refused by one line, with nothing of a library's own on stderr,
or read as a volume that is whole. What is read otherwise than the undamaged file is counted apart:
a format without checksums cannot tell a changed voxel or spacing from a meant one. There another
reader must have found the same: our own, plane by plane, beside SimpleITK's for NIfTI, NRRD and
MetaImage; GDCM, through SimpleITK, for DICOM that is not compressed.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless

from fluoro.config import ArrayConfig, ReadOptions, VolumeConfig
from fluoro.errors import InputError
from fluoro.volume.formats.dicom import dicom_ct as dicom_reader
from fluoro.volume.formats.dicom.pixels import FrameReader
from fluoro.volume.grid import VolumeGrid
from fluoro.volume.load import load_volume, preprocess_volume
from fluoro.volume.open_ct import open_ct
from fluoro.xray_files import xray_file
from fluoro.xray_files.report import report_lines
from fluoro.xray_files.xray_file import XrayFile
from tests import dicom_files as dicom
from tests import xray_dicom
from tests.volume_files import SHAPE_ZYX, meta_bytes, nifti_bytes, nrrd_bytes, ramp

PATIENCE_S = 30
"""CPU time [s]; the limit of wall time is ten times that, for a loaded machine."""
FAILED = Path(__file__).parents[2] / "output" / "fuzz"
"""Keeps the files of failed cases, named by kind, seed and number."""
CHARACTERS = b"\0\xff 0123456789-.\n=:,()\\naif"
"""Bytes that make a header mean something else rather than nothing."""
PLAIN = ReadOptions()
PLACE = {
    "spacing_xyz_mm": (1.0, 2.0, 3.0),
    "origin_xyz_mm": (0.0, 0.0, 0.0),
    "direction": (1, 0, 0, 0, 1, 0, 0, 0, 1),
}
LAYOUT = ReadOptions(array=ArrayConfig(**PLACE))
NIFTI = Path(__file__).parents[2] / "tests" / "data" / "nifti"
"""Written by nibabel."""
RAW_LAYOUT = ReadOptions(array=ArrayConfig(**PLACE, shape_zyx=SHAPE_ZYX, dtype="int16"))
MOST_FRAMES = 64
"""Of an X-ray file that is read whole."""
LARGE = (np.arange(3 * 36 * 40).reshape(3, 36, 40) - 1000).astype(np.int16)
LARGE_GRID = VolumeGrid(shape_zyx=LARGE.shape, spacing_xyz_mm=(1.0, 2.0, 3.0))


class HangError(Exception):
    """A case took longer than anybody waits."""


Reading = tuple[NDArray[Any], VolumeGrid]
"""Voxels, shape (z, y, x), and where they lie."""


@dataclass
class Subject:
    """A valid input, of which one file is damaged.

    Attributes:
        place: What is read.
        damaged: The file that is damaged.
        options: How it is read.
        header_share: Of the changes, how many go into the first 60 % of the file.
        read: Reads it.
        second_opinion: Asked where something else was read than before.
    """

    place: Path
    damaged: Path
    options: ReadOptions = PLAIN
    header_share: float = 0.7
    read: Callable[[Subject], Reading] = lambda subject: _read_ct(subject)
    second_opinion: Callable[[Subject, Reading], str] | None = None


def _read_ct(subject: Subject) -> Reading:
    hu = open_ct(subject.place, subject.options).volume()
    return hu.hu_zyx, hu.grid


def _read_attenuation(subject: Subject) -> Reading:
    volume = load_volume(VolumeConfig(path=subject.place))
    return volume.mu_zyx, volume.grid


def subjects(folder: Path) -> dict[str, Callable[[], Subject]]:
    """By kind, what makes the undamaged input."""
    deflated = zlib.compress(ramp().tobytes())
    return {
        "nii": lambda: _file(folder / "ct.nii", nifti_bytes(qform_code=0)),
        "nii.gz": lambda: _file(folder / "ct.nii.gz", gzip.compress(nifti_bytes())),
        "nii-2": lambda: _file(folder / "two.nii", (NIFTI / "two.nii").read_bytes()),
        "nii-pair": lambda: _pair(folder / "two.hdr"),
        "mha": lambda: _file(folder / "ct.mha", meta_bytes()),
        "mha-zlib": lambda: _file(
            folder / "zlib.mha",
            meta_bytes(deflated, CompressedData="True", CompressedDataSize=str(len(deflated))),
        ),
        "mhd": lambda: _detached(folder / "ct.mhd"),
        "nrrd": lambda: _file(folder / "ct.nrrd", nrrd_bytes()),
        "nrrd-gzip": lambda: _file(
            folder / "gzip.nrrd", nrrd_bytes(gzip.compress(ramp().tobytes()), encoding="gzip")
        ),
        "nhdr": lambda: _detached(folder / "ct.nhdr"),
        "npy": lambda: _array(folder / "ct.npy", _numpy(np.save)),
        "npz": lambda: _array(folder / "ct.npz", _numpy(np.savez_compressed)),
        "raw": lambda: _array(folder / "ct.raw", ramp().tobytes(), RAW_LAYOUT),
        "folder-facts": lambda: _folder(folder / "ours", "volume.json"),
        "folder-voxels": lambda: _folder(folder / "voxels", "mu_volume.npy"),
        "fluorosim-facts": lambda: _fluorosims(folder / "theirs", "metadata.json"),
        "fluorosim-voxels": lambda: _fluorosims(folder / "their-voxels", "mu_volume.npy"),
        "dicom": lambda: _series(folder / "dicom"),
        "multi-frame": lambda: _multi_frame(folder / "ct.dcm"),
        "jpeg-lossless": lambda: _compressed(folder / "jpeg", JPEGLosslessSV1),
        "jpeg-ls": lambda: _compressed(folder / "jls", JPEGLSLossless),
        "jpeg-2000": lambda: _compressed(folder / "j2k", JPEG2000Lossless),
        "rle": lambda: _compressed(folder / "rle", RLELossless),
        "xa": lambda: _xray(folder / "xa.dcm", xray_dicom.rotating()),
        "enhanced-xa": lambda: _xray(folder / "exa.dcm", xray_dicom.full_pose()),
        "xa-jpeg-ls": lambda: _xray(folder / "jls.dcm", xray_dicom.rotating(), JPEGLSLossless),
    }


def _file(path: Path, raw: bytes) -> Subject:
    path.write_bytes(raw)
    return Subject(place=path, damaged=path, second_opinion=_plane_by_plane)


def _pair(header: Path) -> Subject:
    """NIfTI of version 2 in two files, the header damaged."""
    shutil.copy(NIFTI / "two.img", header.with_suffix(".img"))
    subject = _file(header, (NIFTI / "two.hdr").read_bytes())
    subject.header_share = 0.0
    return subject


def _detached(path: Path) -> Subject:
    """A header whose voxels lie in a file of their own."""
    voxels = path.with_name(f"{path.name}.bin")
    voxels.write_bytes(ramp().tobytes())
    if path.suffix == ".nhdr":
        raw = nrrd_bytes(b"", data_file=voxels.name)
    else:
        raw = meta_bytes(b"").replace(b"LOCAL", voxels.name.encode())
    subject = _file(path, raw)
    subject.header_share = 0.0
    return subject


def _array(path: Path, raw: bytes, options: ReadOptions = LAYOUT) -> Subject:
    path.write_bytes(raw)
    return Subject(place=path, damaged=path, options=options)


def _numpy(save: Callable[..., Any]) -> bytes:
    buffer = io.BytesIO()
    save(buffer, ramp())
    return buffer.getvalue()


def _folder(folder: Path, damaged_name: str) -> Subject:
    """A folder that fluoro has preprocessed."""
    source = folder.with_name(f"{folder.name}.nii")
    source.write_bytes(nifti_bytes())
    preprocess_volume(VolumeConfig(path=source), folder)
    return Subject(place=folder, damaged=folder / damaged_name, read=_read_attenuation)


def _fluorosims(folder: Path, damaged_name: str) -> Subject:
    """A folder as fluorosim writes it."""
    folder.mkdir()
    np.save(folder / "mu_volume.npy", np.float32(ramp() + 500) * np.float32(1e-5))
    facts = {
        "shape_zyx": SHAPE_ZYX,
        "spacing_zyx_mm": [3.0, 2.0, 1.0],
        "origin_xyz_mm": [10.0, 20.0, 30.0],
        "hu_range": [-1000.0, 3000.0],
        "mu_range": [0.0, 0.02],
        "source": "a CT",
    }
    (folder / "metadata.json").write_text(json.dumps(facts, indent=2))
    return Subject(place=folder, damaged=folder / damaged_name, read=_read_attenuation)


def _series(folder: Path) -> Subject:
    dicom.series(folder)
    damaged = sorted(folder.iterdir())[1]
    return Subject(place=folder, damaged=damaged, header_share=0.97, second_opinion=_gdcms)


def _multi_frame(path: Path) -> Subject:
    dicom.enhanced(path)
    return Subject(place=path, damaged=path, header_share=0.97)


def _compressed(folder: Path, syntax: Any) -> Subject:
    dicom.series(folder, LARGE, LARGE_GRID)
    damaged = sorted(folder.iterdir())[1]
    dicom.compressed(damaged, syntax)
    return Subject(place=folder, damaged=damaged, header_share=0.2)


def _xray(path: Path, dataset: Any, syntax: Any = None) -> Subject:
    """An X-ray file."""
    xray_dicom.saved(path.parent, dataset, path.name)
    if syntax:
        dicom.compressed(path, syntax)
    return Subject(place=path, damaged=path, header_share=0.9, read=_read_xray)


def _read_xray(subject: Subject) -> Reading:
    """Every frame, its report with it; the grid says no more than their shape."""
    file = XrayFile(subject.place)
    if file.count > MOST_FRAMES:  # a count that damage has raised: the pixels are missing
        file.frame(file.count)
    frames = list(file.read(1, file.count))
    lines = report_lines(file, frames[0])
    if any("\n" in line for line in lines):
        raise ValueError(f"a line of the report is none: {lines}")
    values = np.stack([frame.values for frame in frames])
    return values, VolumeGrid(shape_zyx=values.shape, spacing_xyz_mm=(1.0, 1.0, 1.0))


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


def outcome(subject: Subject, whole: Reading) -> str:
    """Return what became of a case; raise where it is an error."""
    try:
        reading = subject.read(subject)
    except InputError as error:
        text = str(error)
        if "\n" in text or not text.strip():
            raise ValueError(f"not one line: {text!r}") from None
        return "refused"
    values, grid = reading
    if values.shape != grid.shape_zyx or not np.isfinite(values).all():
        raise ValueError(f"no volume: {values.shape}, {grid}")
    if np.array_equal(values, whole[0]) and _same_place(grid, whole[1]):
        return "as before"
    return subject.second_opinion(subject, reading) if subject.second_opinion else OTHERWISE


OTHERWISE = "read otherwise"


def _same_place(grid: VolumeGrid, other: VolumeGrid) -> bool:
    return np.allclose(grid.world_from_index, other.world_from_index, atol=1e-6)


def _plane_by_plane(subject: Subject, reading: Reading) -> str:
    """Raises where our own reader finds other voxels than the imaging library."""
    planes = open_ct(subject.place, subject.options).planes
    values = np.stack([plane.copy() for plane in planes.read(0, planes.grid.shape_zyx[0])])
    if planes.grid != reading[1] or np.abs(values - reading[0].astype(np.float32)).max() > 1e-6:
        raise ValueError(f"two readers, two volumes: {planes.grid}, {reading[1]}")
    return OTHERWISE


def _gdcms(subject: Subject, reading: Reading) -> str:
    """Raises where GDCM finds other values in the damaged slice, or elsewhere."""
    hu_zyx, grid = reading
    try:
        image = sitk.ReadImage(str(subject.damaged), sitk.sitkFloat64)
    except RuntimeError:
        return f"{OTHERWISE}, GDCM does not"
    values = sitk.GetArrayFromImage(image)
    if values.ndim != 3 or len(values) != 1 or image.GetSize()[:2] != grid.shape_xyz[:2]:
        raise ValueError("in another shape than GDCM")
    corner = np.array(image.GetOrigin())
    index = (grid.index_from_world @ [*corner, 1.0])[:3]
    z = round(index[2])
    near = np.abs(index - [0, 0, z]).max() < 0.1 and 0 <= z < grid.shape_zyx[0]
    if not near:
        raise ValueError("in another place than GDCM")
    gap = np.abs(values[0] - hu_zyx[z])
    clipped = (hu_zyx[z] == -1024) & (gap > 0)
    if gap[~clipped].max(initial=0) > 0.5:
        raise ValueError("with other values than GDCM")
    return f"{OTHERWISE}, as GDCM"


@contextlib.contextmanager
def caught_words() -> Iterator[Callable[[], str]]:
    """Keeps what libraries write to stderr; what is yielded tells it, each word once."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield lambda: _unread(file)
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)


def _unread(file: Any) -> str:
    sys.stderr.flush()
    if os.fstat(file.fileno()).st_size == 0:
        return ""
    file.seek(0)
    text = file.read().decode(errors="replace")
    file.seek(0)
    file.truncate()
    return str(text)


class Cases:
    """Cases of one kind.

    Args:
        kind: A key of `subjects`.
        folder: Where its files lie.
    """

    def __init__(self, kind: str, folder: Path) -> None:
        self.subject = subjects(folder)[kind]()
        self._raw = self.subject.damaged.read_bytes()
        values, grid = self.subject.read(self.subject)
        self._whole = values.copy(), grid

    def run(self, rng: random.Random, words: Callable[[], str]) -> str:
        """Return what became of one; raise where it is an error."""
        # a new file each time: an earlier volume may still be mapped
        self.subject.damaged.unlink()
        self.subject.damaged.write_bytes(damaged(self._raw, rng, self.subject.header_share))
        found = outcome(self.subject, self._whole)
        said = words()
        if said:
            raise ValueError(f"a library's own words: {said!r}")
        return found


def run(kind: str, count: int, seed: int, folder: Path) -> Counter[str]:
    """Return outcomes of `count` cases of one kind; a failed case is kept in `FAILED`."""
    cases = Cases(kind, folder)
    found: Counter[str] = Counter()
    with caught_words() as words:
        for number in range(count):
            _be_patient(PATIENCE_S)
            try:
                found[cases.run(random.Random(f"{kind} {seed} {number}"), words)] += 1
            except Exception as error:  # noqa: BLE001  (whatever it is, it is what is looked for)
                found[f"FAILED: {type(error).__name__}: {error}"[:200]] += 1
                FAILED.mkdir(parents=True, exist_ok=True)
                shutil.copy(cases.subject.damaged, FAILED / f"{kind}-{seed}-{number}")
            finally:
                _be_patient(0)
    return found


def _be_patient(seconds: float) -> None:
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, 10 * seconds)


def _hang(_number: int, _frame: Any) -> None:
    raise HangError(f"longer than {PATIENCE_S} s")


class SharedReader(FrameReader):
    """One decoding process for all cases; a new one only where one has died."""

    def __exit__(self, *_error: object) -> None:
        self.padded = 0


def main() -> int:
    """Run the kinds requested; 1 if a case failed."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--kind", action="append")
    arguments.add_argument("--count", type=int, default=10_000)
    arguments.add_argument("--seed", type=int, default=0)
    given = arguments.parse_args()
    logging.disable()
    for number in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(number, _hang)
    shared = SharedReader()
    dicom_reader.FrameReader = lambda: shared  # type: ignore[misc, assignment]
    xray_file.FrameReader = lambda: shared  # type: ignore[misc, assignment]
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FLUORO_CACHE_DIR"] = f"{folder}/cache"
        for kind in given.kind or subjects(Path(folder)):
            start = time.perf_counter()
            found = run(kind, given.count, given.seed, Path(folder))
            seconds = time.perf_counter() - start
            figures = ", ".join(f"{n} {what}" for what, n in found.most_common())
            print(f"{kind}: {given.count} in {seconds:.0f} s: {figures}", flush=True)
            failed |= any(what.startswith("FAILED") for what in found)
    shared.close()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
