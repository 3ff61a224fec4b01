"""What server and page say to each other over the WebSocket.

Text messages are JSON objects. Binary messages carry, little-endian: the header's length as
uint32, the header as JSON padded to four bytes, and a payload that the header describes.
"""

from __future__ import annotations

import base64
import io
import json
import struct
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fluoro.annotations.masks import FrameMasks
from fluoro.annotations.truth import FrameTruth
from fluoro.console.controls import ControlState, LiveControls, pose_values
from fluoro.errors import InputError
from fluoro.geometry.view_text import angle_label, orientation_letters
from fluoro.imaging.exposure.dose_meter import Exposure
from fluoro.imaging.frame import FluoroFrame, to_uint8

__all__ = [
    "controls_message",
    "frame_message",
    "hello_message",
    "in_parts",
    "packed",
    "parse_request",
    "preview_message",
    "text",
]

WORLD_ORIGIN = (0.0, 0.0, 0.0)
"""Orientation letters depend on directions only, so any isocentre will do."""

PART_BYTES = 16 * 1024
"""Of a longer message's parts. A page hears of a slow link's life with each of them."""

PREVIEW_PX = 256
"""Longest edge of the image with which a page starts, for frames that are larger."""
PREVIEW_QUALITY = 60
"""Its JPEG quality."""


def packed(header: dict[str, Any], payload: bytes) -> bytes:
    """Return one binary message."""
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 4)
    return struct.pack("<I", len(head)) + head + payload


def in_parts(message: bytes) -> list[bytes]:
    """Return a binary message as it is, or cut into messages of the kind `part`.

    Each part's header has `of`, the kind of the whole message, and `more`, whether parts follow;
    the payloads put together are the message. Parts of messages of different kinds may alternate.
    """
    if len(message) <= PART_BYTES:
        return [message]
    kind, ends = _kind(message), range(PART_BYTES, len(message) + PART_BYTES, PART_BYTES)
    return [
        packed(
            {"kind": "part", "of": kind, "more": end < len(message)},
            message[end - PART_BYTES : end],
        )
        for end in ends
    ]


def _kind(message: bytes) -> str:
    (length,) = struct.unpack_from("<I", message)
    return str(json.loads(message[4 : 4 + length])["kind"])


def text(kind: str, **fields: object) -> str:
    """Return one text message."""
    return json.dumps({"kind": kind, **fields})


def hello_message(controls: LiveControls, *, can_save: bool) -> str:
    """Return what a page needs to set itself up: the sliders' reach, and what there is."""
    return text(
        "hello",
        limits={key: asdict(limit) for key, limit in controls.limits.items()},
        follows_stream=controls.follows_stream,
        dose_has_effect=controls.dose_has_effect,
        features=sorted(controls.features),
        can_save=can_save,
    )


def controls_message(state: ControlState) -> str:
    """Return the state of the controls, the pose by slider."""
    fields = {key: value for key, value in vars(state).items() if key != "pose"}
    return text("controls", values={**fields, **pose_values(state.pose)})


def frame_message(frame: FluoroFrame, jpeg_quality: int) -> bytes:
    """Return one image with what is written on it."""
    view = frame.geometry.view(frame.pose, WORLD_ORIGIN)
    header = {
        "kind": "frame",
        "number": frame.number,
        "angles": angle_label(frame.pose),
        "letters": orientation_letters(view),
        "source_to_detector_mm": frame.geometry.source_to_detector_mm,
        "pose": pose_values(frame.pose),
        "dose": _dose(frame.exposure),
        "truth": _truth(frame.truth) if frame.truth else None,
    }
    return packed(header, _jpeg(to_uint8(frame.image), jpeg_quality))


def preview_message(frame: FluoroFrame) -> bytes | None:
    """Return a large frame at fewer pixels, which is there soon; None: it is not that large."""
    longest = max(frame.image.shape)
    if longest <= PREVIEW_PX:
        return None
    step = -(-longest // PREVIEW_PX)
    small = replace(frame, image=frame.image[::step, ::step], truth=None)
    return frame_message(small, PREVIEW_QUALITY)


def _dose(exposure: Exposure | None) -> dict[str, float | None] | None:
    """What the image was made with, and what the run has cost so far."""
    if exposure is None:
        return None
    total, tube = exposure.total, exposure.pulse.tube
    return {
        "tube_voltage_kv": tube.tube_voltage_kv if tube else None,
        "tube_current_ma": tube.tube_current_ma if tube else None,
        "charge_mas": tube.charge_mas if tube else None,
        "dose_ngy": exposure.pulse.dose_ngy,
        "kerma_area_mgycm2": total.kerma_area_mgycm2,
        "reference_kerma_mgy": total.reference_kerma_mgy,
        "skin_dose_mgy": total.skin_dose_mgy,
        "rate_mgy_per_min": total.rate_mgy_per_min,
        "alarms": total.alarms,
        "beam_s": total.beam_s,
    }


def _truth(truth: FrameTruth) -> dict[str, Any]:
    """What is in the image: a label image, names with colours and boxes, and landmarks."""
    masks, boxes, landmarks = truth.masks, truth.boxes, truth.landmarks
    structures = [
        {
            "name": each.name,
            "colour": list(each.colour),
            "box": boxes.boxes_px[n] if boxes else None,
            "seen": bool(masks.areas_px[n]) if masks else bool(boxes and boxes.boxes_px[n]),
        }
        for n, each in enumerate(truth.structures)
    ]
    return {
        "size": [truth.view.width_px, truth.view.height_px],
        "structures": structures,
        "labels": _label_png(masks) if masks else None,
        "landmarks": [
            {"name": name, "at": pixel}
            for name, pixel, inside in zip(
                landmarks.names, landmarks.pixels_uv.tolist(), landmarks.inside, strict=True
            )
            if inside
        ]
        if landmarks
        else [],
    }


def _label_png(masks: FrameMasks) -> str:
    """The label image as a PNG in the structures' colours, clear where there is none, base64."""
    labels = Image.fromarray(masks.label_image(), mode="P")
    colours = [value for each in masks.structures for value in each.colour]
    labels.putpalette([0, 0, 0, *colours])
    file = io.BytesIO()
    labels.save(file, "PNG", transparency=0, compress_level=1)
    return base64.b64encode(file.getvalue()).decode()


def _jpeg(grey: NDArray[np.uint8], quality: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "JPEG", quality=quality)
    return file.getvalue()


def parse_request(message: str | bytes) -> dict[str, Any]:
    """Return a page's request as an object.

    Raises:
        InputError: Anything but a JSON object, or a `set` in it that is no object.
    """
    try:
        request = json.loads(message)
    except (ValueError, RecursionError):
        request = None
    if not isinstance(request, dict):
        raise InputError(f"a request to the console must be a JSON object, got {message[:80]!r}")
    if not isinstance(request.get("set", {}), dict):
        raise InputError(f"set must be a JSON object, got {request['set']!r}")
    return request
