"""What the objects of a scene are made from besides their sections."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fluoro.config import VolumeConfig
from fluoro.physics.tissues import TissueMap
from fluoro.scene.pose_track import PoseTrack
from fluoro.volume.labels.label_volume import LabelVolume
from fluoro.volume.volumes import MuVolume

__all__ = ["SceneSetup"]


@dataclass(kw_only=True)
class SceneSetup:
    """What objects share while a scene is put together.

    Attributes:
        config: The section `volume`.
        tissues: Materials of the patient by CT number.
        labels: Gives the patient's structures; None: there are none.
        volume: Attenuation of the patient.
        rest: The same without what moves, and with what fills its place.
        tracks: Of the objects so far, by name; one that others can hold on to adds its own.
    """

    config: VolumeConfig
    tissues: TissueMap
    labels: Callable[[], LabelVolume | None]
    volume: MuVolume
    rest: MuVolume
    tracks: dict[str, PoseTrack] = field(default_factory=dict)
