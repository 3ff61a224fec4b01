"""Makes the files of a training set, one after the other, on a device of its own."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from fluoro.config import Config
from fluoro.datasets.training.frame_files import FrameFiles, frame_files
from fluoro.datasets.training.frame_maker import FrameMaker, MadeFrame
from fluoro.datasets.training.plan import Plan, ShardReport
from fluoro.datasets.training.sampling import FrameSpec, Sampler, checked_config
from fluoro.datasets.training.shards import Place, file_sha256, writing_shard
from fluoro.errors import InputError
from fluoro.files.atomic_write import replacing, writing
from fluoro.rendering.devices.selection import open_device

__all__ = ["ENTRY", "ShardMaker", "shard_maker"]

ENTRY = "fluoro.datasets.training.shard_maker:shard_maker"
"""What makes a worker of a plan's text, in a process of its own."""

OnFrame = Callable[[int], None]
"""Receives the number of bytes of each frame that is done."""


class ShardMaker:
    """Makes files; what a patient needs is prepared once for those that show him.

    Args:
        plan: Of the whole set.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan, self._sampler = plan, Sampler(plan.file)
        self._maker: FrameMaker | None = None

    def make(self, number: int, on_frame: OnFrame = lambda _bytes: None) -> ShardReport:
        """Write a file and its report.

        Args:
            number: Of the file, from 0.
            on_frame: Receives the bytes of each frame that is done.

        Raises:
            OutputError: It cannot be written; nothing of it stays.
            DeviceError: Rendering failed.
        """
        plan, settings = self._plan, self._plan.file.config
        path, rows, left_out = plan.shard_path(number), [], Counter[str]()
        with writing_shard(path, settings.format) as shard:
            for index in settings.frames_of(number):
                try:
                    spec, frame = self.frame(index)
                except InputError as error:
                    left_out[str(error).splitlines()[0]] += 1
                    continue
                files = frame_files(spec, frame, settings.pixels)
                rows.append(_row(spec, frame, path.name, shard.add(spec.key, files)))
                on_frame(_size(files))
        with writing(path):
            sha256, size = file_sha256(path), path.stat().st_size
        report = ShardReport(
            shard=number, sha256=sha256, bytes=size, rows=rows, left_out=dict(left_out)
        )
        with replacing(plan.report_path(number)) as file:
            file.write(report.text())
        return report

    def frame(self, index: int) -> tuple[FrameSpec, MadeFrame]:
        """Return a frame of the set and what it was made from.

        Raises:
            InputError: It cannot be made.
            DeviceError: Rendering failed.
        """
        spec = self._sampler.spec(index)
        return spec, self.made(spec)

    def made(self, spec: FrameSpec) -> MadeFrame:
        """Return the frame of a specification.

        Raises:
            InputError: It cannot be made.
            DeviceError: Rendering failed.
        """
        return self.rendered(checked_config(spec, self._plan.file.folder), spec.time_s)

    def rendered(self, config: Config, time_s: float = 0.0) -> MadeFrame:
        """Return the frame of a configuration.

        Raises:
            InputError: It cannot be made.
            DeviceError: Rendering failed.
        """
        return self._frames(config).make(config, time_s)

    def close(self) -> None:
        """Release the device."""
        if self._maker:
            self._maker.close()

    def _frames(self, config: Config) -> FrameMaker:
        if self._maker is None:
            wanted = config.renderer
            device = open_device(wanted.device, workers=wanted.workers or self._plan.threads)
            self._maker = FrameMaker(device)
        return self._maker


def shard_maker(text: str) -> ShardMaker:
    """Return the maker of a plan's text."""
    return ShardMaker(Plan.from_text(text))


def _size(files: FrameFiles) -> int:
    return sum(len(each) if isinstance(each, bytes) else each.nbytes for each in files.values())


def _row(spec: FrameSpec, frame: MadeFrame, shard: str, place: Place | None) -> dict[str, Any]:
    """A line of the index."""
    pose, camera = frame.pose, frame.camera()
    x, y, z = pose.translation_mm
    return {
        "key": spec.key,
        "index": spec.index,
        "case": spec.case,
        "shard": shard,
        "first_byte": place[0] if place else None,
        "bytes": place[1] if place else None,
        "time_s": spec.time_s,
        "width_px": frame.view.width_px,
        "height_px": frame.view.height_px,
        "lao_deg": pose.lao_deg,
        "cra_deg": pose.cra_deg,
        "roll_deg": pose.roll_deg,
        "x_mm": x,
        "y_mm": y,
        "z_mm": z,
        "pixel_from_camera": _flat(camera["pixel_from_camera"]),
        "camera_from_world": _flat(camera["camera_from_world"]),
        "dose_ngy": frame.dose_ngy,
        "config": json.dumps(spec.document, separators=(",", ":")),
    }


def _flat(rows: list[list[float]]) -> list[float]:
    return [value for row in rows for value in row]
