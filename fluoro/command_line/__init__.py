"""What the command line prints and where."""

from __future__ import annotations

from fluoro.lazy_names import lazy_names

TYPE_CHECKING = False  # as in typing, which takes longer to import than all else here

if TYPE_CHECKING:
    from fluoro.command_line.terminal import Bars, Reporter, make_reporter, say

__all__ = [
    "Bars",
    "Reporter",
    "make_reporter",
    "say",
]

if not TYPE_CHECKING:  # a type checker is to miss a name that is not there
    __getattr__, __dir__ = lazy_names(__name__)
