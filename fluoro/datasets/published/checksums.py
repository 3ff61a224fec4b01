"""Checksums of a data set's files, compared with those that lie beside them.

The publishers of DeepFluoro and Ljubljana state none. These are looked for in the folder of a file
and in those above it, as far as the data set goes:

- `NAME.sha256`, `NAME.md5`, and `SHA256SUMS`, `MD5SUMS` and the like, in coreutils' or BSD's form;
- what Hugging Face's client keeps of a download: SHA-256 of a large file, Git's SHA-1 of a small
  one, in `.cache/huggingface/download/NAME.metadata` or as the name of the blob in its cache.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fluoro.errors import InputError
from fluoro.volume.store.atomic_folder import content_sha256

__all__ = ["Checked", "check_files"]

SUMS = {
    "sha256": (
        "SHA256SUMS",
        "SHA256SUMS.txt",
        "sha256sums.txt",
        "sha256sum.txt",
        "checksums.sha256",
    ),
    "md5": ("MD5SUMS", "MD5SUMS.txt", "md5sums.txt", "md5sum.txt", "checksums.md5"),
}
"""Names of files with the checksums of others."""
DIGITS = {"sha256": 64, "md5": 32, "git": 40}
COREUTILS = re.compile(r"\\?([0-9a-fA-F]{32,64})(?: [ *]?(.+))?")
BSD = re.compile(r"(?:SHA256|MD5) ?\((.+)\) = ([0-9a-fA-F]{32,64})")
CHUNK = 1 << 20


@dataclass(frozen=True)
class Checked:
    """What is known of the content of a data set's files.

    Attributes:
        sha256: Of the file; of several files of the lines "SHA-256  name".
        files: How many files there are.
        compared: How many of them have a checksum beside them, and agree with it.
    """

    sha256: str
    files: int
    compared: int

    def line(self) -> str:
        """Return this for a terminal."""
        if not self.compared:
            return f"SHA-256 {self.sha256}; compared with nothing: no checksum is beside the data"
        return f"{self.compared} of {self.files} files agree with the checksums beside them"


@dataclass(frozen=True)
class _Stated:
    """What a file must have."""

    kind: str
    digest: str
    where: Path


def check_files(
    folder: Path,
    sizes: Mapping[str, int],
    top: Path,
    progress: Callable[[float], None] = lambda _: None,
) -> Checked:
    """Read files and compare them with the checksums beside them.

    Args:
        folder: What the names are relative to.
        sizes: The files' names and sizes [bytes].
        top: The folder above which no checksums are looked for.
        progress: Told the fraction read, 0 to 1.

    Raises:
        InputError: A file cannot be read, has another checksum, or a file of checksums is damaged.
    """
    every, done = sum(sizes.values()) or 1, 0
    lines, compared = [], 0
    for name, size in sorted(sizes.items()):

        def share(part: float, done: int = done, size: int = size) -> None:
            progress((done + part * size) / every)

        stated = list(_stated(folder / name, top))
        digest = content_sha256(folder / name, share)
        for each in stated:
            _require_same(folder / name, each, digest)
        compared += bool(stated)
        lines.append(f"{digest}  {name}\n")
        done += size
    if len(lines) == 1:
        return Checked(lines[0][: DIGITS["sha256"]], 1, compared)
    return Checked(hashlib.sha256("".join(lines).encode()).hexdigest(), len(lines), compared)


def _require_same(path: Path, stated: _Stated, sha256: str) -> None:
    got = sha256 if stated.kind == "sha256" else _digest(path, stated.kind)
    if got != stated.digest:
        name = {"sha256": "SHA-256", "md5": "MD5", "git": "Git SHA-1"}[stated.kind]
        raise InputError(
            f"{path}: must have the {name} {stated.digest} of {stated.where}, got {got}: "
            "bring the file again"
        )


def _digest(path: Path, kind: str) -> str:
    """MD5, or Git's SHA-1 of a file and its length."""
    try:
        with path.open("rb") as file:
            if kind == "md5":
                return hashlib.file_digest(
                    file, lambda: hashlib.md5(usedforsecurity=False)
                ).hexdigest()
            hasher = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
            while data := file.read(CHUNK):
                hasher.update(data)
            return hasher.hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None


def _stated(path: Path, top: Path) -> Iterator[_Stated]:
    """All checksums of a file that lie beside it."""
    for kind in SUMS:
        beside = path.with_name(f"{path.name}.{kind}")
        if beside.is_file():
            yield _Stated(kind, _only(beside, path.name, kind), beside)
    for folder in (path.parent, *path.parent.parents):
        name = path.relative_to(folder).as_posix()
        yield from _in_sums(folder, name)
        note = folder / ".cache" / "huggingface" / "download" / f"{name}.metadata"
        if note.is_file():
            yield _noted(note)
        if folder == top:
            break
    blob = path.readlink() if path.is_symlink() else path
    if blob.parent.name == "blobs" and (of := _kind(blob.name)):
        yield _Stated(of, blob.name, blob)


def _in_sums(folder: Path, name: str) -> Iterator[_Stated]:
    for kind, names in SUMS.items():
        for sums in (folder / each for each in names):
            if sums.is_file():
                found = _lines(sums, kind)
                if name in found:
                    yield _Stated(kind, found[name], sums)


def _only(path: Path, name: str, kind: str) -> str:
    """The checksum of a file that has one, with or without a name."""
    found = _lines(path, kind)
    digest = found.get(name) or (next(iter(found.values())) if len(found) == 1 else None)
    if digest is None:
        raise InputError(
            f"{path}: must have the checksum of {name}, has {len(found)} of other files"
        )
    return digest


def _lines(path: Path, kind: str) -> dict[str, str]:
    """Checksums by name; an empty name where there is none."""
    found = {}
    for number, line in enumerate(_text(path).splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if match := BSD.fullmatch(line.strip()):
            name, digest = match.groups()
        elif match := COREUTILS.fullmatch(line.strip()):
            digest, name = match.group(1), match.group(2) or ""
        else:
            name, digest = "", ""
        if len(digest) != DIGITS[kind]:
            raise InputError(
                f"{path}: line {number} must be {DIGITS[kind]} hexadecimal digits and a name, "
                f"got {line[:80]}"
            )
        found[name.removeprefix("./")] = digest.lower()
    return found


def _noted(path: Path) -> _Stated:
    """The second line of a note of Hugging Face's client."""
    lines = _text(path).splitlines()
    digest = lines[1].strip().lower() if len(lines) > 1 else ""
    kind = _kind(digest)
    if kind is None:
        raise InputError(f"{path}: its second line must be a SHA-256 or a SHA-1, got {digest[:80]}")
    return _Stated(kind, digest, path)


def _kind(digest: str) -> str | None:
    """Which of the two checksums of Hugging Face's client this is, if it is one."""
    if re.fullmatch("[0-9a-f]*", digest):
        return {DIGITS["sha256"]: "sha256", DIGITS["git"]: "git"}.get(len(digest))
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is no readable file of checksums: {error}") from None
