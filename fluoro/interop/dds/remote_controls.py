"""The console's controls over DDS: pedal, dose, window, distance, table, by their names."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from typing import Any

from fluoro.console.controls import CONTROL_KEYS, ControlState, LiveControls, pose_values
from fluoro.errors import InputError
from fluoro.geometry.carm import CarmPose
from fluoro.interop.dds import qos
from fluoro.interop.dds.node import DdsNode, ros_topic
from fluoro.interop.dds.ros_diagnostic import KeyValue
from fluoro.interop.refusals import FieldError, Refusals, RefusedError

__all__ = ["RelayedControls", "RemoteControls", "control_sender", "control_value"]

WORDS = {"true": True, "false": False}
PRESS = "press"
"""Key whose value is a button."""
PEDAL = "pedal"
"""Key whose value is what is done with the pedal: down, held at least once a second, up."""
CONTROLS_DEPTH = 100
"""Changes that may wait; a slider sends many."""
LONGEST = 80
"""Characters of a key or a value; a longer one is no setting."""


class RemoteControls:
    """Takes `diagnostic_msgs/KeyValue` messages for changes of the console's controls.

    Args:
        node: The participant.
        topic: ROS 2's name of the topic.
        controls: What the changes are made to; it checks names, types and limits.
        stream_pose: Pose of the newest frame, at which a table or an angle takes the C-arm over.

    Attributes:
        applied: Changes made.
        refusals: Messages that did not fit, by their key.
    """

    def __init__(
        self,
        node: DdsNode,
        topic: str,
        controls: LiveControls,
        stream_pose: Callable[[], CarmPose | None],
    ) -> None:
        self._controls, self._stream_pose = controls, stream_pose
        self.applied = 0
        self.refusals = Refusals(f"a control on {ros_topic(topic)}")
        node.listen(ros_topic(topic), KeyValue, qos.reliable(CONTROLS_DEPTH), self._on_message)

    @property
    def refused(self) -> int:
        """Messages that did not fit."""
        return sum(self.refusals.counts().values())

    def close(self) -> None:
        """Log what was refused and not yet logged."""
        self.refusals.close()

    def _on_message(self, message: KeyValue, writer: int) -> None:
        try:
            self._take(message, writer)
        except InputError as error:
            known = message.key in (PRESS, PEDAL, *CONTROL_KEYS)
            reason = message.key if known else "unknown key"
            self.refusals.add(RefusedError(reason, str(error)))
        else:
            self.applied += 1

    def _take(self, message: KeyValue, writer: int) -> None:
        if len(message.key) > LONGEST:
            raise FieldError(
                "key", f"must have at most {LONGEST} characters, got {len(message.key)}"
            )
        value = control_value(message.value)
        if message.key == PRESS:
            self._controls.press(value)
        elif message.key == PEDAL:
            self._controls.hold(writer, value)
        else:
            self._controls.apply({message.key: value}, stream_pose=self._stream_pose())


class RelayedControls(LiveControls):
    """The controls of a display whose renderer runs elsewhere: changes go there over DDS.

    Attributes:
        send: Sends a name and a value; None: there is no way, and changes are refused.
    """

    send: Callable[[str, str], object] | None = None

    def apply(self, values: Mapping[str, object], *, stream_pose: CarmPose | None) -> ControlState:
        """Take over values and send them; of a pose all, as the other side may stand elsewhere."""
        send = self._way()
        state = super().apply(values, stream_pose=stream_pose)
        pose = pose_values(state.pose) if values.keys() & pose_values(state.pose).keys() else {}
        for key, value in {**pose, **values}.items():
            send(key, str(value).lower() if isinstance(value, bool) else str(value))
        return state

    def press(self, button: object) -> ControlState:
        """Press a button there."""
        send = self._way()
        state = super().press(button)
        send(PRESS, str(button))
        return state

    def hold(self, holder: Hashable, word: object) -> bool:
        """Hold the pedal here, and so there."""
        send = self._way()
        holds = super().hold(holder, word)
        if holds and word == "held":
            send(PEDAL, "held")
        return holds

    def _turn_beam(self, on: bool) -> None:
        super()._turn_beam(on)
        self._way()(PEDAL, "down" if on else "up")

    def _way(self) -> Callable[[str, str], object]:
        if self.send is None:
            raise InputError("the renderer runs elsewhere and takes no controls: dds.control_topic")
        return self.send


def control_sender(node: DdsNode, topic: str) -> Callable[[str, str], object]:
    """Return what writes controls to a topic."""
    writer = node.writer(ros_topic(topic), KeyValue, qos.reliable(CONTROLS_DEPTH))
    return lambda key, value: writer.write(KeyValue(key=key, value=value))


def control_value(text: str) -> Any:
    """Return what a value stands for: true or false, a number, or a word.

    Raises:
        FieldError: Text too long for any of them, or a number that is not finite.
    """
    if len(text) > LONGEST:
        raise FieldError("value", f"must have at most {LONGEST} characters, got {len(text)}")
    if text in WORDS:
        return WORDS[text]
    try:
        number = float(text)
    except ValueError:
        return text
    if not math.isfinite(number):
        raise FieldError("value", f"must be finite, got {text!r}")
    return number
