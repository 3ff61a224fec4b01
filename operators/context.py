"""What the parts of a run share."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from fluoro.annotations.truth import TruthMaker
from fluoro.config import Config
from fluoro.console.controls import LiveControls
from fluoro.console.stream_status import StreamStatus
from fluoro.geometry.carm import CarmGeometry
from fluoro.imaging.chain import ImageChain
from fluoro.poses.base import PoseImages, PoseSource
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.rendering.patient_renderer import PatientRenderer
from fluoro.volume.patient_surface import PatientSurfaces
from fluoro.volume.volumes import MuVolume
from operators.links import Links
from operators.monitor import StreamMonitor
from operators.run_files import RunFiles

__all__ = ["Reporter", "RunContext"]


class Reporter(Protocol):
    """Told what goes on, in the main thread but for stages."""

    def stage(self, what: str, fraction: float) -> None:
        """Something that takes a while is done to a fraction, 0 to 1; any thread may tell."""

    def started(
        self, *, console_url: str | None, device: str, folder: Path | None, links: Sequence[str]
    ) -> None:
        """The stream is about to start."""

    def streaming(self, frames: int, status: StreamStatus) -> None:
        """Report the number of frames done."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RunContext:
    """What pose source, renderer, image chain and sinks of a run are made from.

    Attributes:
        config: What to run.
        reporter: Told of progress.
        stack: Closes what is opened, in reverse order.
        stop: Ends the stream when set.
        volume: The patient.
        geometry: The C-arm's lengths and detector.
        isocenter_xyz_mm: Isocentre of the untranslated C-arm, patient LPS [mm].
        poses: Where the C-arm stands from frame to frame.
        images: Images that come with their poses; None: they are rendered.
        controls: What a user sets while the stream runs.
        device: Where frames are rendered; `renderer` and `chain` are prepared on it.
        truth: Annotates frames; None: not requested.
        monitor: Counts frames and what was dropped.
        files: Folder, journal and record of the run.
        links: Connections to other programs.
        shown_elsewhere: Whether the display runs on another machine.
    """

    config: Config
    reporter: Reporter
    stack: ExitStack
    stop: threading.Event
    volume: MuVolume
    geometry: CarmGeometry
    isocenter_xyz_mm: tuple[float, float, float]
    poses: PoseSource
    images: PoseImages | None
    controls: LiveControls
    device: ComputeDevice
    renderer: PatientRenderer
    chain: ImageChain
    truth: TruthMaker | None
    monitor: StreamMonitor
    files: RunFiles
    links: Links
    shown_elsewhere: bool

    @cached_property
    def surfaces(self) -> PatientSurfaces:
        """Skin and bone of the patient, which cost a second: made when a sink draws them."""
        return PatientSurfaces(self.volume)
