"""The native window; Holoviz itself needs an NVIDIA GPU."""

from __future__ import annotations

from typing import Any

from fluoro.config import HolovizConfig
from fluoro.errors import DeviceError
from fluoro.rendering.choose import choose_device

__all__ = ["make_holoviz", "require_holoviz"]

FIX = "leave it out (holoviz.enabled: false) and use the console"


def require_holoviz() -> None:
    """See whether Holoviz can run here, before anything is loaded for it.

    Raises:
        DeviceError: No NVIDIA GPU, or Holoviz does not load.
    """
    try:
        choose_device("cuda")
    except DeviceError:
        raise DeviceError(
            f"holoviz.enabled: true needs an NVIDIA GPU and its driver, which are not here; {FIX}"
        ) from None
    try:
        from holoscan.operators import HolovizOp  # noqa: F401
    except ImportError as error:
        raise DeviceError(
            f"holoviz.enabled: true needs libraries that do not load ({error}); {FIX}"
        ) from None


def make_holoviz(fragment: Any, config: HolovizConfig) -> Any:
    """Holoscan's Holoviz operator, showing the picture as grey levels; see `require_holoviz`."""
    from holoscan.operators import HolovizOp

    return HolovizOp(
        fragment,
        tensors=[{"name": "view", "type": "color", "opacity": 1.0, "priority": 0}],
        headless=config.headless,
        window_title="fluoro",
        name="holoviz",
    )
