"""What cache and preprocessing are built on: folders that appear whole, and content hashes."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fluoro.errors import InputError, OutputError
from fluoro.paths import cache_dir

__all__ = ["content_sha256", "staged_folder"]

log = logging.getLogger(__name__)

UNFINISHED = ".new-"
"""Start of the name of a folder that is still being filled."""
REPLACED = ".old-"
"""Start of the name of a folder that has been replaced and is being removed."""
OURS = re.compile(f"({re.escape(UNFINISHED)}|{re.escape(REPLACED)})[0-9a-f]{{32}}")
"""Names that only this module gives."""
ABANDONED_AFTER_S = 3600.0
"""A folder without a write for this time [s] was left by a crash."""
PIECE_BYTES = 1 << 22
"""Size of the pieces of a larger file; progress is reported after each."""
SETTLED_AFTER_NS = 2_000_000_000
"""A file changed later than this ago may change again within its time stamp's resolution."""


@contextmanager
def staged_folder(
    target: Path,
    is_usable: Callable[[], bool],
    *,
    what: str = "the cache",
    advice: str = "set FLUORO_CACHE_DIR to a folder with room",
) -> Iterator[Path]:
    """A new folder to fill, which becomes `target` when the block ends without error.

    It lies beside `target` under another name until then, so that neither a crash nor a full disk
    leaves a half-filled `target`.

    Args:
        target: The folder to be.
        is_usable: Whether what lies at `target` by then, perhaps just made by another process,
            is as good; then it stays, because somebody may be opening it. Else it is replaced.
        what: What cannot be written where something goes wrong.
        advice: What the user may do then.

    Raises:
        OutputError: The folder cannot be written; nothing of it is left.
    """
    stage = target.parent / f"{UNFINISHED}{uuid.uuid4().hex}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(target.parent)
        stage.mkdir()
        yield stage
        _flush(stage)
        with _only_one(target.parent):
            if not (target.exists() and is_usable()):
                _put_in_place(stage, target)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(
            f"{target.parent}: {what} cannot be written: {error.strerror or error} ({advice})"
        ) from None
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _remove_abandoned(folder: Path) -> None:
    for left in folder.glob(".*"):
        if OURS.fullmatch(left.name) and _idle_s(left) > ABANDONED_AFTER_S:
            shutil.rmtree(left, ignore_errors=True)


def _idle_s(folder: Path) -> float:
    """Time [s] since the folder or a file in it was last written to; 0 if it has just gone."""
    with suppress(OSError):
        last = max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
        return time.time() - last
    return 0.0


def _flush(folder: Path) -> None:
    for path in (*folder.iterdir(), folder):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Waits until no other process is in a block of the same folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _put_in_place(stage: Path, target: Path) -> None:
    old = target.parent / f"{REPLACED}{uuid.uuid4().hex}"
    with suppress(FileNotFoundError):
        target.rename(old)
    stage.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def content_sha256(
    path: Path, progress: Callable[[float], None] = lambda _: None, *, start: int = 0
) -> str:
    """Return SHA-256 of a file's content, remembered in the cache while size and time stamps stay.

    Args:
        path: The file.
        progress: Told the fraction read, 0 to 1, where a large file has to be read.
        start: First byte that counts.

    Raises:
        InputError: The file cannot be read.
    """
    try:
        status = path.stat()
        stamp = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        name = hashlib.sha256(os.fsencode(path.resolve()) + b"\0%d" % start).hexdigest()[:32]
        note = cache_dir() / "hashes" / f"{name}.json"
        known = _recall(note, stamp)
        if known:
            return known
        digest = _sha256(path, start, status.st_size, progress)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > SETTLED_AFTER_NS:
        _remember(note, stamp, digest)
    return digest


def _sha256(path: Path, start: int, size: int, progress: Callable[[float], None]) -> str:
    hasher, done = hashlib.sha256(), start
    with path.open("rb") as file:
        file.seek(start)
        while piece := file.read(PIECE_BYTES):
            hasher.update(piece)
            done += len(piece)
            if size > PIECE_BYTES:
                progress(min(done / size, 1.0))
    return hasher.hexdigest()


def _recall(note: Path, stamp: list[int]) -> str | None:
    with suppress(OSError, ValueError, KeyError, TypeError):
        document = json.loads(note.read_text(encoding="utf-8"))
        if document["stamp"] == stamp:
            return str(document["sha256"])
    return None


def _remember(note: Path, stamp: list[int], digest: str) -> None:
    """Best effort: without the note the file is only read once more."""
    unfinished = note.with_suffix(f".{uuid.uuid4().hex}")
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"stamp": stamp, "sha256": digest})
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(note)
    except OSError as error:
        log.debug("%s: not remembered: %s", note, error)
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
