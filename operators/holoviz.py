"""The native window; Holoviz itself needs an NVIDIA GPU."""

from __future__ import annotations

from typing import Any

from fluoro.config import HolovizConfig
from fluoro.errors import DeviceError

__all__ = ["make_holoviz"]


def make_holoviz(fragment: Any, config: HolovizConfig) -> Any:
    """Holoscan's Holoviz operator, showing the picture as grey levels.

    Raises:
        DeviceError: Holoviz does not load on this machine.
    """
    try:
        from holoscan.operators import HolovizOp
    except ImportError as error:
        raise DeviceError(
            f"holoviz.enabled needs an NVIDIA GPU with its driver ({error}); "
            "use the console instead"
        ) from None
    return HolovizOp(
        fragment,
        tensors=[{"name": "view", "type": "color", "opacity": 1.0, "priority": 0}],
        headless=config.headless,
        window_title="fluoro",
        name="holoviz",
    )
