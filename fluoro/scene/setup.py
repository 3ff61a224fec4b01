"""What the objects of a scene are made from besides their sections."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fluoro.config import VolumeConfig
from fluoro.errors import InputError
from fluoro.physics.tissues import TissueMap
from fluoro.scene.pose_track import PoseTrack
from fluoro.volume.labels.label_volume import LabelVolume
from fluoro.volume.volumes import MuVolume

__all__ = ["ScenePatient", "SceneSetup"]


@dataclass(kw_only=True)
class ScenePatient:
    """The patient that objects are put into.

    Attributes:
        config: The section `volume`.
        tissues: Materials by CT number.
        labels: Gives the structures; None: there are none.
        volume: Attenuation.
        rest: The same without what moves, and with what fills its place.
    """

    config: VolumeConfig
    tissues: TissueMap
    labels: Callable[[], LabelVolume | None]
    volume: MuVolume
    rest: MuVolume


@dataclass(kw_only=True)
class SceneSetup:
    """What objects share while a scene is put together.

    Attributes:
        known_patient: The patient; None: objects that need one are refused.
        tracks: Of the objects so far, by name; one that others can hold on to adds its own.
    """

    known_patient: ScenePatient | None = None
    tracks: dict[str, PoseTrack] = field(default_factory=dict)

    @property
    def patient(self) -> ScenePatient:
        """The patient.

        Raises:
            InputError: There is none.
        """
        if self.known_patient is None:
            raise InputError("a fragment or another CT needs a patient, there is none")
        return self.known_patient
