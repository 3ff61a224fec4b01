"""Files: written whole or not at all; image files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoro.lazy_names import names_for_type_checkers

if TYPE_CHECKING:
    from fluoro.files.atomic_write import WholeAppends, replacing, writing
    from fluoro.files.image_files import PngFrames

__all__ = [
    "PngFrames",
    "WholeAppends",
    "replacing",
    "writing",
]

if not TYPE_CHECKING:  # a type checker is to miss a name that is not there
    __getattr__ = names_for_type_checkers(__name__)


def __dir__() -> list[str]:
    return sorted(__all__)
