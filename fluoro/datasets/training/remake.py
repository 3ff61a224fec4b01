"""One frame of a finished set again, from its own line of configuration."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from fluoro.datasets.training.frame_files import FrameFiles, frame_files, npy_bytes, spec_of
from fluoro.datasets.training.plan import Plan
from fluoro.datasets.training.set_folder import read_manifest
from fluoro.datasets.training.shard_maker import ShardMaker
from fluoro.datasets.training.shards import read_frame
from fluoro.errors import InputError
from fluoro.files.atomic_write import whole_file, writing

__all__ = ["RemadeFrame", "remake"]


@dataclass(frozen=True, kw_only=True, eq=False)
class RemadeFrame:
    """A frame made again.

    Attributes:
        key: Of the frame.
        files: What it is now.
        differing: Names of files that are not bit-identical to those of the set.
    """

    key: str
    files: FrameFiles
    differing: tuple[str, ...]

    def write(self, folder: Path) -> None:
        """Write the files into a folder.

        Raises:
            OutputError: They cannot be written.
        """
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            with whole_file(folder / f"{self.key}.{name}") as unfinished:
                unfinished.write_bytes(npy_bytes(content))


def remake(place: str) -> RemadeFrame:
    """Make a frame of a set again and compare it.

    Args:
        place: `SHARD:KEY`, such as `output/dataset/shard-000000.tar:00000012`.

    Raises:
        InputError: There is no such frame, or the set's folder does not say what it is.
        DeviceError: The device of the set is not there.
    """
    path_text, colon, key = place.rpartition(":")
    if not colon or not path_text:
        raise InputError(f"--frame must be SHARD:KEY, got {place}")
    path = Path(path_text)
    files = read_frame(path, key)
    try:
        spec = spec_of(files)
    except (KeyError, ValueError):
        raise InputError(f"{path}: frame {key} has no configuration") from None
    file = read_manifest(path.parent)
    with closing(ShardMaker(Plan(file=file, out=path.parent))) as maker:
        now = frame_files(spec, maker.made(spec), file.config.pixels)
    names = sorted({*files, *now})
    differing = (n for n in names if _bytes(files, n) != _bytes(now, n))
    return RemadeFrame(key=key, files=now, differing=tuple(differing))


def _bytes(files: FrameFiles, name: str) -> bytes | None:
    return npy_bytes(files[name]) if name in files else None
