"""Ctrl-C while the program is still being imported: one line, as later.

Imported first by app.py, and by the command `fluoro` before it imports app.py. It has an effect in
these programs only, not where app.py is imported by another one. It imports nothing that Python has
not imported by then, so what is left to Python's own traceback is Python's own start.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from types import FrameType
else:
    import _signal as signal  # the part of signal that is there from the start

__all__ = ["EXIT_INTERRUPTED", "end_early_stop"]

EXIT_INTERRUPTED = 128 + signal.SIGINT
"""As shells have it."""
BY_DEFAULT = (signal.default_int_handler, signal.SIG_DFL)
"""Python's own answer to Ctrl-C, and app.py's before this module; not what ignores it (nohup)."""
PROGRAMS = ("app.py", "fluoro", "__main__.py")


def _stop(_number: int, _frame: FrameType | None) -> None:
    os.write(2, b"fluoro: interrupted\n")
    os._exit(EXIT_INTERRUPTED)


def _is_the_program() -> bool:
    main = sys.modules.get("__main__")
    path = str(getattr(main, "__file__", None) or "").replace("\\", "/")
    *_, folder, name = ("", *path.split("/"))
    return name in PROGRAMS and (name != "__main__.py" or folder == "fluoro")


def end_early_stop() -> None:
    """Let Ctrl-C raise KeyboardInterrupt again, as there is something to close from now on."""
    if signal.getsignal(signal.SIGINT) is _stop:
        signal.signal(signal.SIGINT, signal.default_int_handler)


if _is_the_program() and signal.getsignal(signal.SIGINT) in BY_DEFAULT:
    signal.signal(signal.SIGINT, _stop)
