"""Foreign images as arrays: PNG, TIFF and JPEG as a viewer shows them, and NPY."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.volume.formats.dicom.series import is_dicom

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

__all__ = ["read_target_image"]

FORMATS = ("PNG", "TIFF", "JPEG")
"""Pillow's names of the formats that are read."""
GREY_MODES = frozenset({"L", "I;16", "I;16B", "I;16L", "I", "F"})
"""Pillow's modes of one channel whose numbers are the image's own."""
OTHER_MODES = frozenset({"1", "P", "PA", "LA", "RGB", "RGBA"})
"""Modes of 8 bits in which an image may be grey in all but name."""
BITS, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339
"""Tags of TIFF 6.0."""
WHITE_IS_ZERO, SIGNED = 0, 2


def read_target_image(path: Path) -> NDArray[Any]:
    """Return the grey values of an image file, shape (height, width), in the file's own type.

    Larger is brighter, and the image lies as a viewer shows it: a TIFF whose 0 is white is
    inverted, an orientation (EXIF) is applied. An image in colour must be grey in all but name,
    and nothing in it may be transparent.

    Raises:
        InputError: A missing or unreadable file, another format, several images, colour, or an
            array of another shape.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    values = _read_npy(path) if path.suffix.lower() == ".npy" else _read_image(path)
    if values.ndim != 2 or values.size == 0 or values.dtype.kind not in "uif":
        raise InputError(
            f"{path}: must hold one grey image, (height, width); got {values.dtype} {values.shape}"
        )
    return values


def _read_npy(path: Path) -> NDArray[Any]:
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: not a readable NPY file: {error}") from None
    return _native(np.asarray(values))


def _read_image(path: Path) -> NDArray[Any]:
    from PIL import Image, UnidentifiedImageError

    try:
        # A file by its name is mapped, and a mapped TIFF that is to be turned is scrambled.
        with warnings.catch_warnings(), path.open("rb") as file:
            warnings.simplefilter("ignore")
            image = Image.open(file, formats=FORMATS)
            _require_one_grey(path, image)
            return _shown(path, image)
    except InputError:
        raise
    except UnidentifiedImageError:
        if is_dicom(path):
            raise InputError(f"{path}: is a DICOM file: give target.frame, 1 or more") from None
        raise InputError(
            f"{path}: must be a PNG, TIFF or JPEG image of a kind that docs/registration.md lists"
        ) from None
    except Exception as error:  # noqa: BLE001  (Pillow raises all kinds on a damaged file)
        text = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: not a readable PNG, TIFF or JPEG image: {text}") from None


def _require_one_grey(path: Path, image: ImageFile) -> None:
    count = getattr(image, "n_frames", 1)
    if count != 1:
        raise InputError(f"{path}: must hold one image, got {count}")
    if image.mode not in GREY_MODES | OTHER_MODES:
        raise InputError(f"{path}: must be a grey image, got mode {image.mode}")
    if image.mode in OTHER_MODES and _has_16_bits(image):
        raise InputError(f"{path}: 16 bits are read in grey without alpha only; write it as that")


def _has_16_bits(image: ImageFile) -> bool:
    """Whether the file's numbers are longer than the 8 bits of Pillow's mode."""
    bits = getattr(image, "tag_v2", {}).get(BITS, (8,))
    return max(bits) > 8 or any(";16" in str(tile.args) for tile in image.tile)


def _shown(path: Path, image: ImageFile) -> NDArray[Any]:
    """The grey values of an image whose file is open."""
    from PIL import ImageOps

    tags = _tags(path, image)
    image.load()
    upright = image if tags else ImageOps.exif_transpose(image)  # a TIFF is turned as it is loaded
    _require_opaque(path, upright)
    if upright.mode in GREY_MODES:
        return _as_tagged(path, _native(np.array(upright)), tags)
    return _grey(path, np.array(upright.convert("RGB")))


def _tags(path: Path, image: ImageFile) -> dict[int, Any]:
    """What a TIFF says of its values; empty for other formats."""
    from PIL.TiffImagePlugin import TiffImageFile

    if not isinstance(image, TiffImageFile):
        return {}
    if PHOTOMETRIC not in image.tag_v2:
        raise InputError(f"{path}: does not say whether 0 is black (PhotometricInterpretation)")
    return {
        tag: image.tag_v2[tag] for tag in (BITS, PHOTOMETRIC, SAMPLE_FORMAT) if tag in image.tag_v2
    }


def _as_tagged(path: Path, values: NDArray[Any], tags: dict[int, Any]) -> NDArray[Any]:
    """The values of a grey TIFF where Pillow ignores their sign or that 0 is white."""
    signed = tags.get(SAMPLE_FORMAT, (1,))[0] == SIGNED
    if values.dtype == np.uint8 and signed:
        return values.view(np.int8)
    if values.dtype == np.int32 and tags.get(BITS) == (32,) and not signed:
        return values.view(np.uint32)
    if tags.get(PHOTOMETRIC) != WHITE_IS_ZERO or values.dtype == np.uint8:  # Pillow inverts these
        return values
    if values.dtype != np.uint16:
        raise InputError(f"{path}: 0 is white, but {values.dtype} has no black; invert its values")
    return np.iinfo(np.uint16).max - values


def _require_opaque(path: Path, image: Image) -> None:
    if not image.has_transparency_data:
        return
    if image.mode.startswith("I;16"):
        clear = bool((np.array(image) == image.info["transparency"]).any())
    else:
        clear = bool((np.array(image.convert("RGBA"))[..., 3] < 255).any())
    if clear:
        raise InputError(f"{path}: some of its pixels are transparent; write it without alpha")


def _native(values: NDArray[Any]) -> NDArray[Any]:
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _grey(path: Path, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    red, green, blue = np.moveaxis(rgb, -1, 0)
    if (red != green).any() or (red != blue).any():
        raise InputError(f"{path}: must be a grey image, got one in colour")
    return np.ascontiguousarray(red)
