"""Files: written whole or not at all; image files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoro.lazy_names import lazy_names

if TYPE_CHECKING:
    from fluoro.files.atomic_write import (
        WholeAppends,
        remove_unfinished,
        replacing,
        whole_file,
        writing,
    )
    from fluoro.files.image_files import PngFrames, save_image

__all__ = [
    "PngFrames",
    "WholeAppends",
    "remove_unfinished",
    "replacing",
    "save_image",
    "whole_file",
    "writing",
]

if not TYPE_CHECKING:  # a type checker is to miss a name that is not there
    __getattr__, __dir__ = lazy_names(__name__)
