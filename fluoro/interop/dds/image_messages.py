"""Images as messages and back; row 0 and column 0 stay where they are."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from fluoro.geometry.projection import View, camera_matrices
from fluoro.imaging.frame import to_uint8
from fluoro.interop.dds import i4h
from fluoro.interop.dds.holohub import VideoFrame
from fluoro.interop.dds.ros_sensor import CameraInfo, CompressedImage, Image, RegionOfInterest
from fluoro.interop.dds.timestamps import header_of
from fluoro.interop.refusals import FieldError
from fluoro.names import Encoding

__all__ = [
    "CAMERA_FRAME",
    "camera_info_message",
    "compressed_message",
    "i4h_image",
    "image_message",
    "image_of",
    "video_frame",
]

CAMERA_FRAME = "carm_camera"
"""Optical frame at the source: +z to the detector, +y along its rows (docs/conventions.md)."""
MAX_SIDE_PX = 8192
"""Largest side of a received image; a larger one is an error or an attack."""

DTYPES: dict[Encoding, str] = {
    "mono8": "u1", "8UC1": "u1", "mono16": "u2", "16UC1": "u2", "32FC1": "f4",
}  # fmt: skip


def image_message(
    image: NDArray[np.float32], encoding: Encoding, time_ns: int, frame_id: str = CAMERA_FRAME
) -> Image:
    """Return display values [0, 1], shape (height, width), as sensor_msgs/Image.

    Integers round to the nearest of their grey levels, 32FC1 is as it is.
    """
    pixels = np.ascontiguousarray(_quantised(image, encoding))
    height, width = pixels.shape
    return Image(
        header=header_of(time_ns, frame_id),
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=width * pixels.itemsize,
        data=pixels.data.cast("B"),
    )


def _quantised(image: NDArray[np.float32], encoding: Encoding) -> NDArray[np.generic]:
    if DTYPES[encoding] == "u1":
        return to_uint8(image)
    if DTYPES[encoding] == "u2":
        return np.asarray(np.clip(image, 0, 1) * 65535 + 0.5).astype("<u2")
    return np.asarray(image).astype("<f4", copy=False)


def image_of(message: Image) -> NDArray[np.float32]:
    """Return values of a grey image, shape (height, width): integers as [0, 1], floats as they are.

    Raises:
        FieldError: Another encoding, sizes that do not fit each other, values that are not finite.
    """
    if message.encoding not in DTYPES:
        known = ", ".join(DTYPES)
        raise FieldError("encoding", f"must be {known}, got {message.encoding[:40]!r}")
    width, height = _side("width", message.width), _side("height", message.height)
    if message.is_bigendian not in (0, 1):
        raise FieldError("is_bigendian", f"must be 0 or 1, got {message.is_bigendian}")
    dtype = np.dtype((">" if message.is_bigendian else "<") + DTYPES[message.encoding])
    data, step = memoryview(bytes(message.data)), int(message.step)
    if step < width * dtype.itemsize:
        raise FieldError("step", f"must be at least {width * dtype.itemsize} bytes, got {step}")
    if len(data) != step * height:
        raise FieldError("data", f"must be {height} rows of {step} bytes, got {len(data)} bytes")
    rows = np.frombuffer(data, np.uint8).reshape(height, step)[:, : width * dtype.itemsize]
    pixels = np.ascontiguousarray(rows).view(dtype)
    scale = 1.0 if dtype.kind == "f" else float(np.iinfo(dtype).max)
    image = (pixels / scale).astype(np.float32)
    if not np.isfinite(image).all():
        raise FieldError("data", "must hold finite values")
    return image


def _side(field: str, value: int) -> int:
    """Return an image's width or height where it is one."""
    if not 0 < int(value) <= MAX_SIDE_PX:
        raise FieldError(field, f"must be 1 to {MAX_SIDE_PX} pixels, got {value}")
    return int(value)


def compressed_message(
    image: NDArray[np.float32], quality: int, time_ns: int, frame_id: str = CAMERA_FRAME
) -> CompressedImage:
    """Return display values [0, 1] as JPEG in sensor_msgs/CompressedImage."""
    file = io.BytesIO()
    PillowImage.fromarray(to_uint8(image)).save(file, "jpeg", quality=quality)
    return CompressedImage(
        header=header_of(time_ns, frame_id), format="jpeg", data=file.getbuffer()
    )


def camera_info_message(view: View, time_ns: int, frame_id: str = CAMERA_FRAME) -> CameraInfo:
    """Return a view's matrices as ROS 2 has them: pixel centres at integers, so c is W/2 - 0.5.

    fx is negative: a radiograph is the mirror of what a camera at the source would take.
    """
    k, _ = camera_matrices(view, pixel_centers="integer")
    rows = k.tolist()
    return CameraInfo(
        header=header_of(time_ns, frame_id),
        height=view.height_px,
        width=view.width_px,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=[*rows[0], *rows[1], *rows[2]],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[*rows[0], 0.0, *rows[1], 0.0, *rows[2], 0.0],
        binning_x=0,
        binning_y=0,
        roi=RegionOfInterest(x_offset=0, y_offset=0, height=0, width=0, do_rectify=False),
    )


def video_frame(image: NDArray[np.float32], number: int, stream_id: int = 0) -> VideoFrame:
    """Return display values [0, 1] as HoloHub's RGBA."""
    grey = to_uint8(image)
    rgba = np.full((*grey.shape, 4), 255, np.uint8)
    rgba[..., :3] = grey[..., None]
    height, width = grey.shape
    return VideoFrame(
        stream_id=stream_id,
        frame_num=number % 2**32,
        width=width,
        height=height,
        data=rgba.data.cast("B"),
    )


def i4h_image(
    image: NDArray[np.float32], number: int, focal_length_px: float, stream_id: int = 0
) -> i4h.CameraInfo:
    """Return display values [0, 1] as 8-bit grey with the camera's focal length."""
    grey = to_uint8(image)
    height, width = grey.shape
    return i4h.CameraInfo(
        focal_len=focal_length_px,
        stream_id=stream_id,
        frame_num=number,
        width=width,
        height=height,
        data=grey.data.cast("B"),
    )
