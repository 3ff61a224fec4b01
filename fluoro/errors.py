"""Errors whose message is one line that names the key or file, what was expected and what came."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = [
    "DeviceError",
    "DeviceMemoryError",
    "FluoroError",
    "InputError",
    "KeyInputError",
    "NoDeviceError",
    "OutputError",
    "of_key",
    "require_type",
    "to_install",
]


class FluoroError(Exception):
    """Base of every error that fluoro raises on purpose; its message is fit to show to a user."""


class InputError(FluoroError, ValueError):
    """A file, a key or an argument holds something that fluoro cannot use."""


class KeyInputError(InputError):
    """A key of the configuration, or the file that it names, cannot be used.

    Args:
        key: The key, as far as it is known where the error is raised; `of_key` completes it.
        message: A sentence about it.
    """

    def __init__(self, key: str, message: str) -> None:
        self.key, self.message = key, message
        super().__init__(f"{key}: {message}")


class OutputError(FluoroError, OSError):
    """Something could not be written: a full or read-only disk, a port in use."""


class DeviceError(FluoroError, RuntimeError):
    """A compute device, a compiler or a driver is missing or failed."""


class NoDeviceError(DeviceError):
    """There is no such device on this machine."""


class DeviceMemoryError(DeviceError):
    """A device's memory is too small, or taken by others at the moment."""


@contextmanager
def of_key(key: str) -> Iterator[None]:
    """Name the key that is at work: an `InputError` within is one of that key.

    Args:
        key: Of the configuration, or of a section whose key another `of_key` names.

    Raises:
        KeyInputError: An `InputError` was raised within.
    """
    try:
        yield
    except KeyInputError as error:
        raise KeyInputError(f"{key}.{error.key}", error.message) from None
    except InputError as error:
        raise KeyInputError(key, str(error)) from None


def require_type(name: str, value: object, kind: type, source: str) -> None:
    """Require that an argument has a class.

    Args:
        name: The argument, for the message.
        value: What was given for it.
        kind: The class that it must have.
        source: What makes such a value, for the message.

    Raises:
        InputError: `value` has another class.
    """
    if not isinstance(value, kind):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        wanted = f"{article} {kind.__name__} ({source} makes one)"
        raise InputError(f"{name} must be {wanted}, got {type(value).__name__}")


def to_install(package: str) -> str:
    """Return the command that installs a package for the interpreter that runs."""
    return f"{sys.executable} -m pip install {package}"
