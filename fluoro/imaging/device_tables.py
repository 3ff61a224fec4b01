"""What stages take from frame to frame without a change: made once, and on the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from fluoro.rendering.devices.base import ComputeDevice

__all__ = ["Tables"]

KEPT = 4
"""Number of results of a function that are kept: more than a chain needs in one frame."""

T = TypeVar("T")


class Tables:
    """Results of functions, their arrays on the device, as long as the arguments stay equal.

    Args:
        device: Where the kernels run.
    """

    def __init__(self, device: ComputeDevice) -> None:
        self._device = device
        self._kept: dict[Any, list[tuple[tuple[Any, ...], Any]]] = {}

    def of(self, make: Callable[..., T], *arguments: Any) -> T:
        """Return what `make` returns for the arguments; not to be changed.

        Args:
            make: A pure function that returns arrays, or lists or dictionaries of them.
            arguments: Compared by ==, so no arrays.
        """
        kept = self._kept.setdefault(make, [])
        for known, result in kept:
            if known == arguments:
                return result  # type: ignore[no-any-return]
        made = self._on_device(make(*arguments))
        self._kept[make] = [(arguments, made), *kept[: KEPT - 1]]
        return made  # type: ignore[no-any-return]

    def _on_device(self, made: Any) -> Any:
        if isinstance(made, np.ndarray):
            return self._device.to_device(made)
        if isinstance(made, dict):
            return {name: self._on_device(value) for name, value in made.items()}
        if isinstance(made, list):
            return [self._on_device(each) for each in made]
        return made
