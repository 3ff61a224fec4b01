"""Copies of the volume are made before the stream, or beside it, so that no frame waits for one.

Which copies a frame is rendered from depends on its pose (`fluoro.rendering.packed_volume`). Those
of poses that are known are made before the stream starts. Where others can follow, by hand or sent,
the rest is made beside the stream, by one thread of the CPU.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from fluoro.geometry.carm import CarmPose
from fluoro.geometry.from_config import make_limits
from fluoro.geometry.limits import CarmLimits
from fluoro.geometry.projection import View
from fluoro.rendering.devices.cpu.device import CpuDevice
from fluoro.rendering.patient_renderer import PatientRenderer
from operators.context import RunContext

__all__ = ["make_volume_copies"]

SAMPLES = 500
"""Poses of a path that are looked at, at most."""
AHEAD_S = 60.0
"""How much of a path without an end is looked at [s]."""
LAO_DEG, CRA_DEG = (-180.0, 180.0), (-90.0, 90.0)
"""Angles of a C-arm without limits [degrees]."""
STEPS = 13
"""Of each angle that are looked at between its limits."""


def make_volume_copies(context: RunContext) -> None:
    """Make the copies of known poses, and begin with those of others beside the stream.

    Args:
        context: The run; its `stack` ends the thread. Images that come ready need no copies.
    """
    if context.images:
        return
    context.renderer.make_copies(_views(context, _known_poses(context)), context.device)
    if _all_known(context):
        return
    others = _views(context, _reachable_poses(make_limits(context.config.carm)))
    if context.device.kind != "cpu":  # a GPU makes them in milliseconds, and in one order
        context.renderer.make_copies(others, context.device)
        return
    beside = _CopiesBeside(context.renderer, others)
    beside.start()
    context.stack.callback(beside.close)


def _known_poses(context: RunContext) -> list[CarmPose]:
    """Poses of the path, where the source has one."""
    path, run = context.poses.path(), context.config.run
    if path is None:
        return [context.poses.start_pose()]
    frames = run.frames or round(AHEAD_S * run.fps)
    times_s = np.linspace(0, (frames - 1) / run.fps, min(frames, SAMPLES))
    return [path(float(time_s)) for time_s in times_s]


def _all_known(context: RunContext) -> bool:
    """Whether no frame can have another pose than those of the path."""
    config = context.config
    by_hand = config.console.enabled and config.pose_source.obeys_hand
    ends = config.run.frames is not None
    return ends and not by_hand and context.poses.path() is not None


def _reachable_poses(limits: CarmLimits) -> list[CarmPose]:
    """Poses over the angles that the limits leave, those of a steep secondary angle last.

    Roll and translation hardly change which copies are needed.
    """
    primary, secondary = (
        np.linspace(*span, STEPS).tolist()
        for span in (limits.lao_deg or LAO_DEG, limits.cra_deg or CRA_DEG)
    )
    flattest_first = sorted(secondary, key=abs)
    return [CarmPose(lao_deg=lao, cra_deg=cra) for cra in flattest_first for lao in primary]


def _views(context: RunContext, poses: Sequence[CarmPose]) -> list[View]:
    return [context.geometry.view(pose, context.isocenter_xyz_mm) for pose in poses]


class _CopiesBeside:
    """Makes copies on a thread of its own.

    Args:
        renderer: Renders from them meanwhile.
        views: Whose copies; the first ones first.
    """

    def __init__(self, renderer: PatientRenderer, views: Sequence[View]) -> None:
        self._renderer, self._views = renderer, views
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.make, name="volume_copies")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End after the copy that is being made."""
        self._stop.set()
        self._thread.join()

    def make(self) -> None:
        """Make them all, in this thread."""
        device = CpuDevice(workers=1)  # the other threads go on with frames
        for view in self._views:
            if self._stop.is_set():
                return
            self._renderer.make_copies([view], device)
