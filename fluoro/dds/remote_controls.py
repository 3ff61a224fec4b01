"""The console's controls over DDS: pedal, dose, window, distance, table, by their names."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any, Protocol

from fluoro.dds import qos
from fluoro.dds.node import DdsNode, ros_topic
from fluoro.dds.ros_diagnostic import KeyValue
from fluoro.errors import InputError

__all__ = ["Controls", "RemoteControls", "control_value"]

log = logging.getLogger(__name__)

WORDS = {"true": True, "false": False}
LONGEST = 80
"""Characters of a value; a longer one is no setting."""


class Controls(Protocol):
    """What takes the values over, as the console's `LiveControls` does."""

    def apply(self, values: Mapping[str, object], *, stream_pose: None) -> object:
        """Take over values, all or none; InputError where one does not fit."""


class RemoteControls:
    """Takes `diagnostic_msgs/KeyValue` messages for changes of the console's controls.

    Args:
        node: The participant.
        topic: ROS 2's name of the topic.
        controls: What the changes are made to; it checks names, types and limits.

    Attributes:
        applied: Changes made.
        refused: Messages that did not fit.
    """

    def __init__(self, node: DdsNode, topic: str, controls: Controls) -> None:
        self._controls = controls
        self.applied = 0
        self.refused = 0
        node.listen(ros_topic(topic), KeyValue, qos.reliable(), self._on_message)

    def _on_message(self, message: KeyValue, _writer: int) -> None:
        try:
            value = control_value(message.value)
            self._controls.apply({message.key: value}, stream_pose=None)
        except InputError as error:
            self.refused += 1
            log.warning("a control over DDS is refused: %.200s", error)
        else:
            self.applied += 1


def control_value(text: str) -> Any:
    """What a value stands for: true or false, a number, or a word.

    Raises:
        InputError: Text too long for any of them, or a number that is not finite.
    """
    if len(text) > LONGEST:
        raise InputError(f"value must have at most {LONGEST} characters, got {len(text)}")
    if text in WORDS:
        return WORDS[text]
    try:
        number = float(text)
    except ValueError:
        return text
    if not math.isfinite(number):
        raise InputError(f"value must be finite, got {text}")
    return number
