"""TIFF images written tag by tag, so that any of them can be unusual."""

from __future__ import annotations

import struct

import numpy as np

SHORT, LONG = 3, 4
CODES = {SHORT: "H", LONG: "I"}
SAMPLE_FORMATS = {"u": 1, "i": 2, "f": 3}


def tiff_bytes(values, *, order="<", tile=None, pages=1, **changes):
    """A TIFF of one strip, or of tiles of that edge.

    Args:
        values: Numbers, shape (height, width) or (height, width, samples).
        order: Byte order, `<` or `>`.
        tile: Edge of the tiles [pixels]; None: one strip.
        pages: How often the image is in the file.
        changes: Tags to add or replace by number, as `t262=0`; None leaves a tag out.
    """
    values = np.asarray(values)
    tags = _tags(values) | {int(key[1:]): value for key, value in changes.items()}
    pieces = _tiles(values, tile) if tile else [values]
    raw = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 0)
    link = 4
    for _ in range(pages):
        raw, offsets, counts = _with_pieces(raw, pieces, order)
        place = {324: offsets, 325: counts, 322: tile, 323: tile} if tile else {
            273: offsets, 278: len(values), 279: counts}  # fmt: skip
        raw, start, end = _with_directory(raw, tags | place, order)
        raw = raw[:link] + struct.pack(order + "I", start) + raw[link + 4 :]
        link = end
    return raw


def _tags(values):
    samples = 1 if values.ndim == 2 else values.shape[2]
    return {
        256: values.shape[1],
        257: values.shape[0],
        258: [8 * values.dtype.itemsize] * samples,
        259: 1,
        262: 1 if samples < 3 else 2,
        277: samples,
        339: [SAMPLE_FORMATS[values.dtype.kind]] * samples,
    }


def _tiles(values, edge):
    wide = np.zeros((-(-values.shape[0] // edge) * edge, -(-values.shape[1] // edge) * edge),
                    values.dtype)  # fmt: skip
    wide[: values.shape[0], : values.shape[1]] = values
    return [
        wide[y : y + edge, x : x + edge]
        for y in range(0, wide.shape[0], edge)
        for x in range(0, wide.shape[1], edge)
    ]


def _with_pieces(raw, pieces, order):
    offsets, counts = [], []
    for piece in pieces:
        data = np.ascontiguousarray(piece).astype(piece.dtype.newbyteorder(order)).tobytes()
        raw += b"\0" * (len(raw) % 2)
        offsets.append(len(raw))
        counts.append(len(data))
        raw += data
    return raw, offsets, counts


def _with_directory(raw, tags, order):
    """The bytes with a directory, where it starts, and where its link to the next one is."""
    entries = b""
    given = {tag: value for tag, value in sorted(tags.items()) if value is not None}
    for tag, value in given.items():
        numbers = value if isinstance(value, list) else [value]
        kind = LONG if tag in (273, 279, 324, 325) else SHORT
        packed = struct.pack(f"{order}{len(numbers)}{CODES[kind]}", *numbers)
        if len(packed) > 4:
            raw += b"\0" * (len(raw) % 2)
            packed, raw = struct.pack(order + "I", len(raw)), raw + packed
        entries += struct.pack(order + "HHI", tag, kind, len(numbers)) + packed.ljust(4, b"\0")
    raw += b"\0" * (len(raw) % 2)
    start = len(raw)
    raw += struct.pack(order + "H", len(given)) + entries + b"\0\0\0\0"
    return raw, start, len(raw) - 4
