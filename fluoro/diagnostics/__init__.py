"""Whether a device computes what it should."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoro.lazy_names import names_for_type_checkers

if TYPE_CHECKING:
    from fluoro.diagnostics.device_parity import Finding, findings
    from fluoro.diagnostics.device_trial import Trial

__all__ = [
    "Finding",
    "Trial",
    "findings",
]

if not TYPE_CHECKING:  # a type checker is to miss a name that is not there
    __getattr__ = names_for_type_checkers(__name__)


def __dir__() -> list[str]:
    return sorted(__all__)
