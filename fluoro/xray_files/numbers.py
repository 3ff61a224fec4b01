"""Decimal numbers as DICOM's text holds them."""

from __future__ import annotations

__all__ = ["decimal"]

LENGTH = 16
"""Most characters of a DS."""


def decimal(value: float, digits: int = 5) -> str:
    """Return a number as a DS, rounded to a number of decimals, without trailing zeros."""
    text = f"{value:.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    text = "0" if text == "-0" else text
    return text if len(text) <= LENGTH else f"{value:.9g}"
