"""The console's controls: an immutable state, and the thread-safe box that graph and browser share.

The graph reads `LiveControls.snapshot()` once a frame; browsers write through `apply`.
"""

from __future__ import annotations

import itertools
import math
import sys
import threading
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fluoro.config import (
    Config,
    ImageChainConfig,
    LimitsConfig,
    pulses_fit,
)
from fluoro.config.scene import WireInclusion
from fluoro.console.pedal import Pedal
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmPose
from fluoro.names import Polarity

__all__ = [
    "CONTROL_KEYS",
    "ControlState",
    "Limit",
    "LiveControls",
    "first_wire",
    "pose_values",
]


POSE_KEYS = ("lao_deg", "cra_deg", "roll_deg", "table_x_mm", "table_y_mm", "table_z_mm")
NUMBER_KEYS = (
    *("source_to_detector_mm", "window_level", "window_width", "dose_ngy"),
    *("magnification", "pulse_rate_hz", "mask_shift_x_px", "mask_shift_y_px"),
    *("insertion_mm", "insertion_roll_deg"),
)
SWITCH_KEYS = ("manual_pose", "beam_on", "last_image_hold")
CONTROL_KEYS = (*POSE_KEYS, *NUMBER_KEYS, *SWITCH_KEYS, "polarity")
"""Every key that a message may set."""


@dataclass(frozen=True, kw_only=True)
class ControlState:
    """What the controls say at one moment.

    Attributes:
        pose: C-arm pose; counts only while `manual_pose` is true.
        manual_pose: True: `pose` moves the C-arm; false: the graph's own pose source does.
        source_to_detector_mm: Focal spot to detector plane [mm].
        window_level: Value shown mid-grey, in the unit of the configuration's window.
        window_width: Range shown from black to white, same unit.
        dose_ngy: Air kerma per frame at the detector behind 20 cm of water [nGy].
        polarity: `bone_dark` (live fluoroscopy) or `bone_bright` (radiograph).
        magnification: Factor by which field and pixels are smaller, at least 1.
        pulse_rate_hz: Pulses of X-rays per second; None: one for every frame.
        mask_shift_x_px: By how much the subtraction's mask is moved to the right [pixels].
        mask_shift_y_px: And down.
        insertion_mm: Way of the tip of the first wire along its path [mm].
        insertion_roll_deg: By which that wire is turned about itself [deg].
        masks: Number of requests for another mask.
        injections: How often contrast was injected by hand.
        beam_on: False: no frames are made.
        last_image_hold: With the beam off: true shows the last image, false a black one.
        version: Grows by one with each change.

    Raises:
        InputError: A number that is not finite, a length, width or dose that is not positive, or
            an unknown polarity.
    """

    pose: CarmPose
    manual_pose: bool
    source_to_detector_mm: float
    window_level: float
    window_width: float
    dose_ngy: float
    polarity: Polarity
    magnification: float = 1.0
    pulse_rate_hz: float | None = None
    mask_shift_x_px: float = 0.0
    mask_shift_y_px: float = 0.0
    insertion_mm: float = 0.0
    insertion_roll_deg: float = 0.0
    masks: int = 0
    injections: int = 0
    beam_on: bool = True
    last_image_hold: bool = True
    version: int = 0

    def __post_init__(self) -> None:
        for name in ("source_to_detector_mm", "window_width", "dose_ngy", "magnification"):
            _require_number(name, getattr(self, name), above=0.0)
        _require_number("window_level", self.window_level, above=-math.inf)
        if self.polarity not in ("bone_dark", "bone_bright"):
            raise InputError(f"polarity must be bone_dark or bone_bright, got {self.polarity!r}")


@dataclass(frozen=True, kw_only=True)
class Limit:
    """Reach of one slider, in the unit of its key.

    Attributes:
        low: Smallest value.
        high: Largest value.
        step: Smallest move (of the value; of its decimal logarithm where `logarithmic`).
        logarithmic: The slider moves in the logarithm of the value.
    """

    low: float
    high: float
    step: float
    logarithmic: bool = False

    def including(self, value: float) -> Limit:
        """Return the same, widened where needed to hold `value`."""
        return replace(self, low=min(self.low, value), high=max(self.high, value))


class LiveControls:
    """Thread-safe latest-value box of the control state.

    Args:
        initial: First state.
        limits: Reach of each numeric key: those of `POSE_KEYS` and `NUMBER_KEYS`.
        follows_stream: True where the graph has a pose source of its own, so that `manual_pose`
            may be false; false where the controls are the only one.
        dose_has_effect: False where the image chain draws no quantum noise, or sets the dose.
        features: What else there is to control: `pulses`, `mask`, `contrast`, `wire`.

    Attributes:
        insert: Moves the first wire, by `insertion_mm` and `insertion_roll_deg`; None: there is
            none.
    """

    def __init__(
        self,
        initial: ControlState,
        *,
        limits: Mapping[str, Limit],
        follows_stream: bool,
        dose_has_effect: bool = True,
        features: Collection[str] = (),
    ) -> None:
        self._lock = threading.Lock()
        self.insert: Callable[[float, float], object] | None = None
        self._state = initial
        self._pedal = Pedal(self._turn_beam)
        self.limits = dict(limits)
        self.follows_stream = follows_stream
        self.dose_has_effect = dose_has_effect
        self.features = frozenset(features)

    @classmethod
    def from_config(cls, config: Config) -> LiveControls:
        """Return the state in which an application starts, and the sliders' reach about it."""
        chain, source = config.image_chain, config.pose_source
        window = chain.dsa.window if chain.dsa else chain.window
        shift = chain.dsa.pixel_shift if chain.dsa else (0.0, 0.0)
        inserted = _insertion(config)
        state = ControlState(
            pose=source.shown_pose().carm_pose(),
            manual_pose=source.by_hand,
            source_to_detector_mm=config.carm.source_to_detector_mm,
            window_level=window.level,
            window_width=window.width,
            dose_ngy=chain.dose_ngy,
            polarity=chain.polarity,
            magnification=config.carm.magnification,
            pulse_rate_hz=chain.pulse_rate_hz or (config.run.fps if pulses_fit(config) else None),
            mask_shift_x_px=shift[0],
            mask_shift_y_px=shift[1],
            insertion_mm=inserted[0],
            insertion_roll_deg=inserted[1],
        )
        return cls(
            state,
            limits=_limits(config, state),
            follows_stream=not source.by_hand,
            dose_has_effect=_dose_has_effect(chain),
            features=_features(config),
        )

    def snapshot(self) -> ControlState:
        """Return the newest state; without the lock: one reference, which is there as a whole."""
        return self._state

    def update(self, **changes: Any) -> ControlState:
        """Change fields of the state by name and return the new state.

        Raises:
            InputError: An unknown field, or a value that does not fit; the state stays as it was.
        """
        with self._lock:
            self._state = self._changed(changes)
            return self._state

    def apply(self, values: Mapping[str, object], *, stream_pose: CarmPose | None) -> ControlState:
        """Take over values as a browser sends them, all or none.

        A pose value while the stream's poses are followed takes the C-arm over at `stream_pose`,
        so that nothing jumps but what was moved. Turning the beam off ends every hold of the
        pedal.

        Args:
            values: By key: those of the state, the pose as `lao_deg`, `cra_deg`, `roll_deg`
                [degrees] and `table_x_mm`, `table_y_mm`, `table_z_mm` (patient LPS [mm]).
            stream_pose: Pose of the frame on show, if there was one.

        Raises:
            InputError: An unknown key, a wrong type or a value outside its limits.
        """
        checked = {key: self._checked(key, value) for key, value in values.items()}
        if checked.get("beam_on") is False:
            self._pedal.clear()
        moves = {key: checked.pop(key) for key in POSE_KEYS if key in checked}
        with self._lock:
            if moves:
                following = not self._state.manual_pose
                start = stream_pose if following and stream_pose else self._state.pose
                checked = {"manual_pose": True, **checked, "pose": _moved(start, moves)}
            elif checked.get("manual_pose") and not self._state.manual_pose and stream_pose:
                checked["pose"] = stream_pose
            self._state = state = self._changed(checked)
        if self.insert and checked.keys() & {"insertion_mm", "insertion_roll_deg"}:
            self.insert(state.insertion_mm, state.insertion_roll_deg)
        return state

    def press(self, button: object) -> ControlState:
        """What a button does once: `mask` takes another mask, `inject` gives contrast.

        Raises:
            InputError: A button that there is not, or that has no effect in this run.
        """
        names = {"mask": ("mask", "masks"), "inject": ("contrast", "injections")}
        if not isinstance(button, str) or button not in names:
            raise InputError(f"a button must be mask or inject, got {button!r}")
        feature, count = names[button]
        if feature not in self.features:
            raise InputError(f"{button} has no effect in this run")
        with self._lock:
            self._state = self._changed({count: getattr(self._state, count) + 1})
            return self._state

    def hold(self, holder: Hashable, word: object) -> bool:
        """Take what a holder does with the pedal: `down`, `held` at least once a second, `up`.

        Args:
            holder: Who holds it; the beam ends when the last one releases it or is silent.
            word: What happens.

        Returns:
            Whether the holder holds the pedal now.

        Raises:
            InputError: Another word.
        """
        return self._pedal.apply(holder, word)

    def _turn_beam(self, on: bool) -> None:
        self.update(beam_on=on)

    def _changed(self, changes: Mapping[str, Any]) -> ControlState:
        unknown = set(changes) - (set(ControlState.__dataclass_fields__) - {"version"})
        if unknown:
            raise InputError(f"unknown control {sorted(unknown)[0]!r}")
        if not self.follows_stream and changes.get("manual_pose") is False:
            raise InputError("manual_pose cannot be false: pose_source.kind is console")
        return replace(self._state, **changes, version=self._state.version + 1)

    def _checked(self, key: str, value: object) -> object:
        if key in self.limits:
            return _in_limits(key, value, self.limits[key])
        if key in SWITCH_KEYS and not isinstance(value, bool):
            raise InputError(f"{key} must be true or false, got {value!r}")
        if key not in SWITCH_KEYS and key != "polarity":
            raise InputError(f"unknown control {key!r}")
        return value


def pose_values(pose: CarmPose) -> dict[str, float]:
    """A pose as the sliders show it: angles [degrees], primary and roll in [-180, 180); table [mm].

    The table carries the patient, so it moves against the C-arm's translation.
    """
    x, y, z = pose.translation_mm
    angles = (_wrapped(pose.lao_deg), pose.cra_deg, _wrapped(pose.roll_deg))
    values = (*angles, -x, -y, -z)
    return {key: round(value, 3) + 0.0 for key, value in zip(POSE_KEYS, values, strict=True)}


def _wrapped(angle_deg: float) -> float:
    return (angle_deg + 180.0) % 360.0 - 180.0


def _dose_has_effect(chain: ImageChainConfig) -> bool:
    """Whether the dose is a user's to set, and shows."""
    charged = chain.xray is not None and chain.xray.charge_mas is not None
    return chain.poisson and not chain.brightness and not charged


def _features(config: Config) -> set[str]:
    """What of the console's buttons has an effect."""
    chain, volume = config.image_chain, config.volume
    ready = config.pose_source.brings_images
    present: dict[str, object] = {
        "pulses": pulses_fit(config) and not ready,
        "mask": chain.dsa,
        "contrast": volume.contrast,
        "rendered": not ready,
        "ready": ready,
    }
    present["wire"] = first_wire(config)
    return {name for name, there in present.items() if there}


def _moved(pose: CarmPose, moves: Mapping[str, Any]) -> CarmPose:
    x, y, z = pose.translation_mm
    return CarmPose(
        lao_deg=moves.get("lao_deg", pose.lao_deg),
        cra_deg=moves.get("cra_deg", pose.cra_deg),
        roll_deg=moves.get("roll_deg", pose.roll_deg),
        translation_mm=(
            -moves.get("table_x_mm", -x),
            -moves.get("table_y_mm", -y),
            -moves.get("table_z_mm", -z),
        ),
    )


def _require_number(name: str, value: object, *, above: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < math.inf:
        raise InputError(f"{name} must be a finite number, got {value!r}")
    if abs(value) > sys.float_info.max:  # a whole number of hundreds of digits
        raise InputError(f"{name} must be a finite number, got one beyond all floats")
    if value <= above:
        raise InputError(f"{name} must be above {above:g}, got {value:g}")
    return float(value)


def _in_limits(name: str, value: object, limit: Limit) -> float:
    number = _require_number(name, value, above=-math.inf)
    if not limit.low <= number <= limit.high:
        raise InputError(f"{name} must be {limit.low:g} to {limit.high:g}, got {number:g}")
    return number


def _limits(config: Config, state: ControlState) -> dict[str, Limit]:
    carm, values = config.carm, pose_values(state.pose)
    gap_mm = 0.25 * (carm.source_to_detector_mm - carm.source_to_isocenter_mm)
    limits = {
        **_pose_limits(carm.limits),
        "source_to_detector_mm": Limit(
            low=math.ceil(carm.source_to_isocenter_mm + gap_mm), high=1400.0, step=5.0
        ),
        **_window_limits(config.image_chain),
        "dose_ngy": Limit(low=0.1, high=1000.0, step=0.01, logarithmic=True),
        "magnification": Limit(low=1.0, high=4.0, step=0.1),
        "mask_shift_x_px": Limit(low=-32.0, high=32.0, step=0.25),
        "mask_shift_y_px": Limit(low=-32.0, high=32.0, step=0.25),
    }
    if state.pulse_rate_hz is not None:
        fps = config.run.fps
        limits["pulse_rate_hz"] = Limit(low=min(0.5, fps), high=fps, step=0.25)
    wire = first_wire(config)
    if wire:
        reach_mm = sum(math.dist(a, b) for a, b in itertools.pairwise(wire.path_mm))
        limits["insertion_mm"] = Limit(low=0.0, high=math.ceil(1.05 * reach_mm), step=1.0)
    if wire and wire.tip_angle_deg:
        limits["insertion_roll_deg"] = Limit(low=-720.0, high=720.0, step=5.0)
    now = {**values, **{key: getattr(state, key) for key in NUMBER_KEYS}}
    return {key: limit.including(now[key]) for key, limit in limits.items()}


def first_wire(config: Config) -> WireInclusion | None:
    """Return the first wire in the beam, which the console's slider moves; None: there is none."""
    materials = config.volume.materials
    found = materials.inclusions if materials else ()
    return next((each for each in found if isinstance(each, WireInclusion)), None)


def _insertion(config: Config) -> tuple[float, float]:
    """Way [mm] and roll [deg] with which the first wire starts."""
    wire = first_wire(config)
    if wire is None or not wire.inserted:
        return 0.0, 0.0
    return wire.inserted[0].inserted_mm, wire.inserted[0].roll_deg


def _pose_limits(carm: LimitsConfig) -> dict[str, Limit]:
    """Reach of the pose's sliders: the C-arm's; the table moves against its translation."""
    spans = {
        "lao_deg": carm.lao_deg or (-180.0, 180.0),
        "cra_deg": carm.cra_deg or (-90.0, 90.0),
        "roll_deg": carm.roll_deg or (-180.0, 180.0),
    }
    for axis in "xyz":
        low, high = getattr(carm, f"{axis}_mm") or (-300.0, 300.0)
        spans[f"table_{axis}_mm"] = (-high, -low)
    return {
        key: Limit(low=low, high=high, step=0.5 if key.endswith("deg") else 1.0)
        for key, (low, high) in spans.items()
    }


def _window_limits(chain: ImageChainConfig) -> dict[str, Limit]:
    """Reach of the window: line integrals of a body with the log on, else transmission.

    Integrals are about 0 where they are differences, or relative to what the detector receives.
    """
    if chain.dsa:
        return {
            "window_level": Limit(low=-2.0, high=2.0, step=0.02),
            "window_width": Limit(low=0.05, high=6.0, step=0.02),
        }
    if chain.log or not chain.beer_lambert:
        return {
            "window_level": Limit(low=-5.0 if chain.brightness else -1.0, high=10.0, step=0.05),
            "window_width": Limit(low=0.1, high=12.0, step=0.05),
        }
    return {
        "window_level": Limit(low=0.0, high=1.5, step=0.005),
        "window_width": Limit(low=0.005, high=2.0, step=0.005),
    }
