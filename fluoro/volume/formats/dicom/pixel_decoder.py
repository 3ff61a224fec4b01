"""Stored values of DICOM images. Run as a program, it decodes for another process.

The native decoders can be brought down by a damaged stream, or to run for ever, so compressed
images are decoded in a process of its own (`fluoro.volume.formats.dicom.pixels`). One request a
line comes in on stdin: {"path": ..., "indices": [...]}. For each frame a line {"shape": ...,
"dtype": ...} and the values' bytes go out, or a line {"error": ...}.

This file imports nothing of fluoro, because it runs by itself.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["stored_frames"]

PIXEL_DATA = (0x7FE0, 0x0010)
DECODED = {
    "1.2.840.10008.1.2.4.50": "JPEG baseline, 8 bits",
    "1.2.840.10008.1.2.4.51": "JPEG extended, of which GDCM reads 8 bits",
    "1.2.840.10008.1.2.4.57": "JPEG lossless",
    "1.2.840.10008.1.2.4.70": "JPEG lossless, first-order prediction",
    "1.2.840.10008.1.2.4.80": "JPEG-LS lossless",
    "1.2.840.10008.1.2.4.81": "JPEG-LS near-lossless",
    "1.2.840.10008.1.2.4.90": "JPEG 2000 lossless",
    "1.2.840.10008.1.2.4.91": "JPEG 2000",
    "1.2.840.10008.1.2.5": "RLE",
}
"""Compressed transfer syntaxes that are decoded (DICOM PS3.5 A.4)."""
MEMORY_LIMIT_BYTES = 8 << 30
"""Memory limit of the decoding process: a damaged stream may request any amount."""


def stored_frames(path: str, indices: Sequence[int]) -> Iterator[NDArray[Any]]:
    """Frames of one file as they are stored, each of shape (rows, columns), before any rescale.

    Raises:
        Exception: Of any kind, where pydicom or a decoder meets what it cannot read.
    """
    import pydicom
    from pydicom.pixels.utils import iter_pixels
    from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

    source: Any = path
    bare = _bare(path)
    meta = bare.file_meta if bare else pydicom.filereader.read_file_meta_info(path)
    syntax = meta.TransferSyntaxUID
    if bare:
        source = bare
        _require_length(source, len(source.PixelData))
        if not syntax.is_encapsulated:
            _require_clean_end(path, little_endian=syntax.is_little_endian)
    elif syntax == DeflatedExplicitVRLittleEndian:  # pydicom finds its pixels only in memory
        source = pydicom.dcmread(path)
        _require_length(source, len(source.PixelData))
    elif syntax.is_encapsulated and syntax not in DECODED:
        raise ValueError(f"the transfer syntax {syntax.name} ({syntax}) is not read")
    elif not syntax.is_encapsulated:
        _require_clean_end(path, little_endian=syntax.is_little_endian)
    plugin = "pydicom" if syntax == RLELossless else "gdcm" if syntax.is_encapsulated else ""
    if plugin == "gdcm":
        _require_gdcm()
    yield from iter_pixels(
        source, indices=indices, raw=True, decoding_plugin=plugin, correct_unused_bits=False
    )


def _bare(path: str) -> Any | None:
    """Return the data set of a file without DICOM's preamble; None: it has one.

    Where no group 0002 names the transfer syntax, it is little endian, and the first attribute
    shows whether types are written (DICOM PS3.5 A.1).
    """
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

    with Path(path).open("rb") as file:
        if file.read(132)[128:] == b"DICM":
            return None
    dataset = pydicom.dcmread(path, force=True)
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit = dataset.original_encoding[0]
        plain = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        dataset.file_meta.TransferSyntaxUID = plain
    return dataset


def _require_gdcm() -> None:
    """Check that pydicom's decoder is there, and keep it quiet."""
    try:
        import gdcm
    except ImportError:
        way = f"{sys.executable} -m pip install python-gdcm"
        raise ValueError(f"JPEG needs the package python-gdcm: {way}") from None
    for off in (gdcm.Trace.WarningOff, gdcm.Trace.ErrorOff, gdcm.Trace.DebugOff):
        off()


def _require_clean_end(path: str, *, little_endian: bool) -> None:
    """Check that the file ends with the pixels, or goes on with a later attribute.

    Else bytes were put in, as a transfer as text does, and the pixels are shifted.
    """
    import pydicom

    order: Literal["little", "big"] = "little" if little_endian else "big"
    with Path(path).open("rb") as file:
        dataset = pydicom.dcmread(file, stop_before_pixels=True, force=True)
        file.seek(4, os.SEEK_CUR)
        rest = file.read(8)
        implicit = bool(dataset.original_encoding[0])
        length = int.from_bytes(rest[:4] if implicit else rest[4:], order)
        _require_length(dataset, length)
        file.seek(length - (4 if implicit else 0), os.SEEK_CUR)
        tail = file.read(4)
    tag = (int.from_bytes(tail[:2], order), int.from_bytes(tail[2:], order))
    if tail and tag <= PIXEL_DATA:
        raise ValueError("bytes that are no attribute follow its pixels")


def _require_length(dataset: Any, length: int) -> None:
    """Check that there are no more bytes than pixels, but one that makes their number even.

    With more, the place of the first pixel is unknown; with fewer, the decoder reports it.
    """
    samples = int(dataset.get("SamplesPerPixel") or 1) * int(dataset.get("NumberOfFrames") or 1)
    pixels = samples * int(dataset.Rows) * int(dataset.Columns)
    needed = pixels * int(dataset.BitsAllocated) // 8
    if length > needed + needed % 2:
        raise ValueError(f"{needed} bytes are needed, {length} are there")


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    for line in requests:
        request = json.loads(line)
        try:
            for values in stored_frames(request["path"], request["indices"]):
                _answer(answers, {"shape": values.shape, "dtype": values.dtype.str})
                answers.write(np.ascontiguousarray(values).tobytes())
        except Exception as error:  # noqa: BLE001  (reported to the parent process)
            _answer(answers, {"error": " ".join(f"{error}".split()) or type(error).__name__})
        answers.flush()


def _answer(answers: BinaryIO, document: dict[str, Any]) -> None:
    answers.write(json.dumps(document).encode() + b"\n")


def _main() -> None:
    import resource
    import warnings

    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the decoders' own words
    _serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    _main()
