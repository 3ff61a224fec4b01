"""Quality of service, as rmw's profiles have it."""

from __future__ import annotations

from cyclonedds.qos import Policy, Qos

__all__ = ["frames", "latched", "reliable", "sensor_data"]

NO_WAIT_NS = 0
"""A writer never waits for a slow or frozen reader: what does not fit is lost and counted."""


def reliable(depth: int = 10) -> Qos:
    """rmw_qos_profile_default: reliable, volatile, the last `depth` samples."""
    return Qos(
        Policy.Reliability.Reliable(NO_WAIT_NS),
        Policy.Durability.Volatile,
        Policy.History.KeepLast(depth),
    )


def sensor_data(depth: int = 5) -> Qos:
    """rmw_qos_profile_sensor_data: best effort, volatile, the last `depth` samples."""
    return Qos(
        Policy.Reliability.BestEffort,
        Policy.Durability.Volatile,
        Policy.History.KeepLast(depth),
    )


def latched() -> Qos:
    """Return the profile of /tf_static: reliable; the last sample goes to late readers too."""
    return Qos(
        Policy.Reliability.Reliable(NO_WAIT_NS),
        Policy.Durability.TransientLocal,
        Policy.History.KeepLast(1),
    )


def frames(depth: int = 2) -> Qos:
    """Return the profile of images: reliable, so that both kinds of readers match; few are kept."""
    return reliable(depth)
