"""The newest frame to the browser console."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fluoro.config import ImageChainConfig
from fluoro.console.controls import LiveControls
from fluoro.console.scene_view import SceneModel
from fluoro.console.server import Console
from fluoro.console.tracking_view import TrackingView
from fluoro.imaging.frame import FluoroFrame, FrameHeader
from fluoro.imaging.stages.window import rewindowed
from fluoro.registration.targets.frame_target import shown
from fluoro.registration.tracking.track_record import ScoredEstimate, TrackedFrame
from operators.live_chain import with_controls
from operators.monitor import StreamMonitor
from operators.sinks.base import Sink

if TYPE_CHECKING:
    from operators.context import RunContext

__all__ = ["ConsoleSink"]


class ConsoleSink(Sink):
    """Shows frames and estimates; a frame that is overtaken by a newer one is counted.

    Args:
        console: Shows them.
        monitor: Tells how the stream is doing, and counts what was dropped here.
        config: Chain that made the frames, whose window the estimates' images take.
        controls: Window and polarity of the moment.
        url: Address of the console.
        ready_images: Whether the images come ready, of a bag: window and polarity are set here.
    """

    name = "console"

    def __init__(
        self,
        console: Console,
        monitor: StreamMonitor,
        config: ImageChainConfig,
        controls: LiveControls,
        url: str,
        *,
        ready_images: bool = False,
    ) -> None:
        self._console, self._monitor = console, monitor
        self._config, self._controls, self.url = config, controls, url
        self._ready_images = ready_images

    @classmethod
    def from_config(cls, context: RunContext) -> ConsoleSink | None:
        """Return the console, served; None where it is off or on another machine."""
        config = context.config
        if not config.console.enabled or context.shown_elsewhere:
            return None
        scene = SceneModel(
            isocenter_xyz_mm=context.isocenter_xyz_mm,
            patient_position=config.volume.patient_position,
        )
        console = Console(
            config.console,
            context.controls,
            scene=scene,
            surfaces=context.surfaces,
            on_save=context.files.save_frame,
        )
        url = console.start()
        context.stack.callback(console.close)
        return cls(
            console,
            context.monitor,
            config.image_chain,
            context.controls,
            url,
            ready_images=config.pose_source.brings_images,
        )

    def take(self, frame: FluoroFrame) -> None:
        """Show one frame."""
        self._monitor.count_shown(self.name, frame.number)
        self._console.show(self._windowed(frame), self._monitor.status())

    def show_again(self, frame: FluoroFrame) -> None:
        """Show the held frame with another window."""
        self._console.show_again(self._windowed(frame))

    def _windowed(self, frame: FluoroFrame) -> FluoroFrame:
        """The frame as the controls show it, where the image chain has not done so."""
        if not self._ready_images:
            return frame
        now = with_controls(self._config, self._controls.snapshot())
        return replace(frame, image=rewindowed(frame.image, self._config, now))

    def take_estimate(
        self, tracked: TrackedFrame, header: FrameHeader, scored: ScoredEstimate
    ) -> None:
        """Show one estimate beside its frame."""
        del header
        config = with_controls(self._config, self._controls.snapshot())
        estimate = tracked.estimate
        self._console.show_tracking(
            TrackingView(
                number=estimate.number,
                pose=estimate.pose,
                mtre_mm=scored.mtre_mm,
                ncc=estimate.ncc,
                converged=estimate.converged,
                state=estimate.state,
                confidence=estimate.confidence,
                reason=estimate.reason,
                next_step=estimate.next_step,
                seconds=estimate.seconds,
                frame=rewindowed(tracked.image, self._config, config)
                if self._ready_images
                else tracked.image,
                rendered=shown(estimate.rendered, config),
            )
        )

    def dropped(self) -> dict[str, int]:
        """Return 0 for the console: the monitor counts what it misses."""
        return {self.name: 0}
