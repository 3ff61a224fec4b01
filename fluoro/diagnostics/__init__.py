"""Whether a device computes what it should."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoro.lazy_names import lazy_names

if TYPE_CHECKING:
    from fluoro.diagnostics.device_parity import Finding, findings
    from fluoro.diagnostics.device_trial import Trial

__all__ = [
    "Finding",
    "Trial",
    "findings",
]

if not TYPE_CHECKING:  # a type checker is to miss a name that is not there
    __getattr__, __dir__ = lazy_names(__name__)
