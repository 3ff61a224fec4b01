"""Masks and categories in the words of COCO's data format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluoro.volume.labels.structures import Structure

__all__ = ["compressed_counts", "decoded_counts", "mask_rle", "structure_categories"]


def structure_categories(structures: Sequence[Structure]) -> list[dict[str, Any]]:
    """Return a category for each structure: its number, name, group and colour."""
    return [
        {
            "id": each.number,
            "name": each.name,
            "supercategory": each.group,
            "color": list(each.colour),
        }
        for each in structures
    ]


def mask_rle(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Return a mask, shape (height, width), as run lengths: `size` and `counts`.

    Runs go down the columns, of 0 first, and are written as pycocotools reads them.
    """
    flat = np.concatenate([[False], np.asarray(mask, bool).ravel(order="F"), [False]])
    ends = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate([[0], ends, [mask.size]]))
    if ends.size and ends[-1] == mask.size:
        counts = counts[:-1]
    return {"size": [int(n) for n in mask.shape], "counts": compressed_counts(counts.tolist())}


def compressed_counts(counts: Sequence[int]) -> str:
    """Return run lengths as COCO's text: differences to the run before last, 5 bits a character."""
    text = []
    for number, count in enumerate(counts):
        value = count - counts[number - 2] if number > 2 else count
        more = True
        while more:
            bits, value = value & 31, value >> 5
            more = value != -1 if bits & 16 else value != 0
            text.append(chr(48 + (bits | 32 if more else bits)))
    return "".join(text)


def decoded_counts(text: str) -> list[int]:
    """Return the run lengths of `compressed_counts`."""
    counts: list[int] = []
    at = 0
    while at < len(text):
        value = shift = 0
        more = True
        while more:
            bits = ord(text[at]) - 48
            value |= (bits & 31) << shift
            shift, at, more = shift + 5, at + 1, bool(bits & 32)
            if not more and bits & 16:
                value |= -1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
    return counts
