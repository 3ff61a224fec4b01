"""Stored values of DICOM images. Run as a program, it decodes for another process.

The native decoders can be brought down by a damaged stream, or to run for ever, so compressed
images are decoded in a process of its own (`fluoro.volume.dicom_pixels`). One request a line comes
in on stdin: {"path": ..., "indices": [...]}. For each frame a line {"shape": ..., "dtype": ...} and
the values' bytes go out, or a line {"error": ...}.

This file imports nothing of fluoro, because it runs by itself.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

__all__ = ["stored_frames"]

MEMORY_LIMIT_BYTES = 8 << 30
"""Of the decoding process: a damaged stream may ask for anything."""


def stored_frames(path: str, indices: Sequence[int]) -> Iterator[NDArray[Any]]:
    """Frames of one file as they are stored, each of shape (rows, columns), before any rescale.

    Raises:
        Exception: Of any kind, where pydicom or a decoder meets what it cannot read.
    """
    import pydicom
    from pydicom.pixels.utils import iter_pixels
    from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

    syntax = pydicom.filereader.read_file_meta_info(path).TransferSyntaxUID
    source: Any = path
    if syntax == DeflatedExplicitVRLittleEndian:  # pydicom finds its pixels only in memory
        source = pydicom.dcmread(path)
    plugin = "pydicom" if syntax == RLELossless else "gdcm" if syntax.is_compressed else ""
    yield from iter_pixels(
        source, indices=indices, raw=True, decoding_plugin=plugin, correct_unused_bits=False
    )


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    for line in requests:
        request = json.loads(line)
        try:
            for values in stored_frames(request["path"], request["indices"]):
                _answer(answers, {"shape": values.shape, "dtype": values.dtype.str})
                answers.write(np.ascontiguousarray(values).tobytes())
        except Exception as error:  # noqa: BLE001  (told to the process that asked)
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
