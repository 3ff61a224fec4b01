"""Whether Cyclone DDS is there, which some machines have no package for."""

from __future__ import annotations

from importlib.util import find_spec

from fluoro.errors import DeviceError

__all__ = ["require_cyclonedds"]


def require_cyclonedds(key: str) -> None:
    """Refuse a key of the configuration that needs DDS or its message types.

    Args:
        key: The key, such as `dds.frames`.

    Raises:
        DeviceError: The package cyclonedds is not installed.
    """
    if find_spec("cyclonedds") is None:
        raise DeviceError(
            f"{key} needs the package cyclonedds, which is not installed: pip install cyclonedds "
            "(it has no wheel for ARM or Python 3.14: build it there, or leave the key out)"
        )
