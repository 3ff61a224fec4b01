"""A recording as the DICOM writers take it: how it was made, and what is known of each frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fluoro.config import BodyConfig, Config, ImageChainConfig, VolumeConfig
from fluoro.geometry.carm import CarmGeometry, CarmPose
from fluoro.imaging.exposure.dose_meter import DoseTotal
from fluoro.imaging.exposure.tube import TubeSetting
from fluoro.imaging.stages.window import is_inverted
from fluoro.names import PatientPosition, XrayObject

__all__ = ["RecordedFrame", "Recording"]

Vector3 = tuple[float, float, float]


ANATOMY = {
    "thorax": ("51185008", "Chest"),
    "lumbar": ("122496007", "Lumbar spine"),
    "pelvis": ("12921003", "Pelvis"),
    "shoulder": ("16982005", "Shoulder"),
    "head": ("69536005", "Head"),
    "whole": ("38266002", "Entire body"),
}
"""SNOMED CT code and meaning of the regions of fluoro's phantoms (DICOM PS3.16 CID 4)."""


def _anatomy(volume: VolumeConfig) -> tuple[str, str]:
    """Code and meaning of what is in the beam: of a CT nothing more is known."""
    if volume.phantom == "body":
        return ANATOMY[(volume.body or BodyConfig()).region]
    return ANATOMY["thorax" if volume.phantom == "thorax" else "whole"]


@dataclass(frozen=True, kw_only=True)
class RecordedFrame:
    """What is known of a frame besides its pixels.

    Attributes:
        pose: Where the C-arm stood.
        geometry: Its lengths and detector at that moment.
        time_s: Since the run's first frame [s].
        pulse: False: no X-rays; the frame holds the image of the last pulse.
        tube: The tube's setting; None: no tube is described.
        total: The run's dose up to the frame; None: nothing was exposed.
    """

    pose: CarmPose
    geometry: CarmGeometry
    time_s: float
    pulse: bool = True
    tube: TubeSetting | None = None
    total: DoseTotal | None = None


@dataclass(frozen=True, kw_only=True)
class Recording:
    """How a run is written as DICOM.

    Attributes:
        name: Of the run.
        object: SOP class of the images.
        bits: Stored in a pixel: 8, 12 or 16.
        image_chain: What made the images.
        patient_position: How the patient lies on the table.
        isocenter_xyz_mm: Isocentre of the untranslated C-arm, patient LPS [mm]; None: not known.
        anatomy: SNOMED code and name of what is shown.
        began: When the run began.
        study_uid: StudyInstanceUID.
        series_uid: SeriesInstanceUID of the images.
        event_uid: IrradiationEventUID.
    """

    name: str
    object: XrayObject
    bits: int
    image_chain: ImageChainConfig
    patient_position: PatientPosition
    isocenter_xyz_mm: Vector3 | None
    anatomy: tuple[str, str]
    began: datetime
    study_uid: str
    series_uid: str
    event_uid: str

    @classmethod
    def of(
        cls,
        config: Config,
        name: str,
        isocenter_xyz_mm: Sequence[float] | None,
        began: datetime | None = None,
    ) -> Recording:
        """Return the recording of a run that begins.

        Args:
            config: Of the run.
            name: Of the run.
            isocenter_xyz_mm: Isocentre of the untranslated C-arm, patient LPS [mm].
            began: When it began; None: now.
        """
        from pydicom.uid import generate_uid

        wanted = config.recorder.dicom
        x, y, z = isocenter_xyz_mm or (0.0, 0.0, 0.0)
        return cls(
            name=name,
            object=wanted.object,
            bits=wanted.bits,
            image_chain=config.image_chain,
            patient_position=config.volume.patient_position,
            isocenter_xyz_mm=None if isocenter_xyz_mm is None else (x, y, z),
            anatomy=_anatomy(config.volume),
            began=began or datetime.now(),
            study_uid=generate_uid(),
            series_uid=generate_uid(),
            event_uid=generate_uid(),
        )

    @property
    def relationship(self) -> str:
        """LIN where a pixel is proportional to the intensity, else DISP."""
        chain = self.image_chain
        shaped = chain.log or chain.lut or chain.dsa or chain.edge_enhancement
        from_zero = chain.window.level == chain.window.width / 2
        proportional = chain.beer_lambert and from_zero and not is_inverted(chain)
        return "LIN" if proportional and not shaped else "DISP"

    @property
    def sign(self) -> int:
        """1 where a lower value means less intensity, -1 where it means more."""
        return 1 if self.image_chain.polarity == "bone_dark" else -1

    def moment(self, time_s: float) -> datetime:
        """Return the date and time of a frame's time [s]."""
        return self.began + timedelta(seconds=time_s)
