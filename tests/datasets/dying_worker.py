"""A worker whose item 1 ends its process or its memory: for tests of `in_processes`."""

import os
import signal
from pathlib import Path

from fluoro.errors import OutputError


class Dying:
    """Does item 1 only after as many attempts as `text` says, FOLDER/COUNT/KIND."""

    def __init__(self, text):
        folder, count, self._kind = text.rsplit("/", 2)
        self._folder, self._count = Path(folder), int(count)

    def make(self, number, on_frame):
        on_frame(10 * number)
        if number == 1:
            attempt = len(list(self._folder.iterdir()))
            (self._folder / f"attempt-{attempt}").touch()
            if attempt < self._count:
                self._fail()
        return f"result {number}"

    def _fail(self):
        if self._kind == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self._kind == "memory":
            raise MemoryError
        if self._kind == "full":
            raise OutputError("x.tar: cannot be written: No space left on device")
        raise ValueError("a broken kernel\nand more")

    def close(self):
        pass
