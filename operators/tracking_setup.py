"""What a graph needs to estimate poses: tracker, a user's optimiser, and their records."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fluoro import plugins
from fluoro.config import Config, OptimiserConfig, StartConfig
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.registration.measures.spectral import at_energy
from fluoro.registration.pose_loss import PoseLoss
from fluoro.registration.register import PROJECTOR, Registrar
from fluoro.registration.rigid_motion import motion_about
from fluoro.registration.search.starts import twist_at_mtre
from fluoro.registration.tracking.optimiser_loop import OptimiserLoop
from fluoro.registration.tracking.track_record import TrackRecord
from fluoro.registration.tracking.tracker import PoseTracker
from fluoro.registration.tracking.tracking_plot import write_optimiser_plot, write_tracking_plot
from fluoro.registration.tracking.user_optimiser import Optimiser, load_optimiser
from fluoro.rendering.devices.base import ComputeDevice
from fluoro.volume.labels.load import structures_alone
from fluoro.volume.volumes import MuVolume

__all__ = ["AnyEvent", "TrackingSetup", "make_registration", "optimiser_of", "projector_of"]

Position = Sequence[float]

STREAM_MEASURE: str = "local_fit"
"""Where `registration.measure` leaves it open: as exact as local_ncc in half the time, and blind
to scatter and hardening as well (docs/registration.md)."""
STREAM_PROJECTOR: str = "slab"
"""Where `registration.projector` leaves it open: the fastest with derivatives."""


class AnyEvent:
    """Set as soon as one of some events is."""

    def __init__(self, *events: threading.Event) -> None:
        self._events = events

    def is_set(self) -> bool:
        """Return whether one of the events is set."""
        return any(event.is_set() for event in self._events)


@dataclass(frozen=True, kw_only=True, eq=False)
class TrackingSetup:
    """Tracker and record, or a user's optimiser and its loss.

    Attributes:
        tracker: Estimates; None: nothing is tracked.
        record: Of the estimates.
        loss: For the optimiser.
        loop: The user's optimiser; None: there is none.
        done: Set when the optimiser's loop has ended.
    """

    record: TrackRecord
    tracker: PoseTracker | None = None
    loss: PoseLoss | None = None
    loop: OptimiserLoop | None = None
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def loops(self) -> bool:
        """Whether a loop decides when the run ends."""
        return self.loop is not None

    def sections(self) -> dict[str, Any]:
        """Return what run.json says of them, by key."""
        found: dict[str, Any] = {}
        if self.tracker:
            found["tracking"] = self.record.summary()
        if self.loop:
            found["optimiser"] = self.loop.facts()
        return found

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Tables of run.json, one row a line."""
        found = {"per_estimate": self.record.rows()} if self.tracker else {}
        return found | ({"per_iteration": self.loop.rows()} if self.loop else {})

    def failure(self) -> str | None:
        """Return why the run has not reached its goal, in one line."""
        if self.loop and not self.loop.stopped:
            return f"optimiser: it had not stopped after {len(self.loop.rows())} iterations"
        return None

    def write_plot(self, folder: Path) -> None:
        """Write a plot of the tracking or optimisation, where there is anything to show.

        Raises:
            OutputError: It cannot be written.
        """
        if self.record.estimates:
            write_tracking_plot(folder / "tracking.png", self.record.estimates)
        if self.loop and self.loop.rows():
            write_optimiser_plot(folder / "descent.png", self.loop.rows())


def optimiser_of(config: Config) -> Optimiser | None:
    """Return the user's optimiser; None: there is none.

    Raises:
        InputError: One that cannot be loaded, or whose import is not allowed.
    """
    wanted = config.optimiser
    if wanted is None:
        return None
    if not plugins.allowed(wanted.module):
        raise InputError(f"optimiser.class: needs --allow-plugins {wanted.module}")
    return load_optimiser(wanted.class_, wanted.settings)


def make_registration(
    config: Config,
    volume: MuVolume,
    device: ComputeDevice,
    geometry: CarmGeometry,
    isocenter_xyz_mm: Position,
    true_start: CarmPose,
    optimiser: Optimiser | None,
) -> TrackingSetup | None:
    """Return the configured parts with their kernels compiled; None: nothing is configured.

    Args:
        config: The application's configuration.
        volume: What the images show.
        device: Where to render.
        geometry: The C-arm's lengths and detector.
        isocenter_xyz_mm: Isocentre of the untranslated C-arm, patient LPS [mm].
        true_start: Where the C-arm stands at first, from which starts are displaced.
        optimiser: The user's, where one is configured.
    """
    record = TrackRecord(isocenter_xyz_mm)
    if config.optimiser and optimiser:
        start = _start(config.optimiser.start, true_start, isocenter_xyz_mm)
        return TrackingSetup(
            record=record,
            loss=_pose_loss(config.optimiser, volume, device, geometry, isocenter_xyz_mm),
            loop=OptimiserLoop(optimiser, start, isocenter_xyz_mm),
        )
    if not config.registration.enabled:
        return None
    tracker = _tracker(config, volume, device, isocenter_xyz_mm, true_start)
    tracker.prepare(geometry)
    return TrackingSetup(record=record, tracker=tracker)


def projector_of(config: Config) -> str:
    """Return the projector of the derivatives that a stream's registration needs."""
    return PROJECTOR if config.optimiser else config.registration.projector or STREAM_PROJECTOR


def _tracker(
    config: Config,
    volume: MuVolume,
    device: ComputeDevice,
    isocenter_xyz_mm: Position,
    true_start: CarmPose,
) -> PoseTracker:
    wanted = config.registration
    settings = wanted.model_copy(
        update={
            "measure": wanted.measure or STREAM_MEASURE,
            "projector": projector_of(config),
        }
    )
    shown = at_energy(volume, wanted.tissues_at_kev) if wanted.tissues_at_kev else volume
    shown = structures_alone(shown, config.volume, wanted.labels, "registration.labels")
    return PoseTracker(
        Registrar(
            shown,
            device,
            settings,
            center_xyz_mm=isocenter_xyz_mm,
            tolerance=config.carm.tolerance,
        ),
        _start(wanted.start, true_start, isocenter_xyz_mm),
        isocenter_xyz_mm,
        predict=wanted.predict,
    )


def _pose_loss(
    wanted: OptimiserConfig,
    volume: MuVolume,
    device: ComputeDevice,
    geometry: CarmGeometry,
    isocenter_xyz_mm: Position,
) -> PoseLoss:
    """The loss on voxels that suit the pixels worked at, its kernel compiled."""
    registrar = Registrar(volume, device, center_xyz_mm=isocenter_xyz_mm)
    pixels = min(geometry.detector_width_px, geometry.detector_height_px)
    factor = max(1, round(pixels / wanted.width_px))
    shrink = geometry.source_to_isocenter_mm / geometry.source_to_detector_mm
    renderer = registrar.renderer(factor * geometry.pixel_spacing_mm * shrink)
    renderer.render_jacobian(geometry.view(CarmPose(), isocenter_xyz_mm), isocenter_xyz_mm)
    return PoseLoss(renderer, isocenter_xyz_mm, width_px=wanted.width_px, measure=wanted.measure)


def _start(start: StartConfig, true_start: CarmPose, isocenter_xyz_mm: Position) -> CarmPose:
    """The given pose, or the truth displaced at random."""
    if start.pose:
        return start.pose.carm_pose()
    random = np.random.default_rng(start.seed)
    motion = motion_about(twist_at_mtre(random, start.mtre_mm, isocenter_xyz_mm), isocenter_xyz_mm)
    displaced = motion @ true_start.world_from_carm(isocenter_xyz_mm)
    return CarmPose.from_world_from_carm(displaced, isocenter_xyz_mm)
