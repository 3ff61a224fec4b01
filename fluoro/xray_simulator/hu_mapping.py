"""From CT numbers to attenuation: a line between two ends, or between several points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluoro.errors import InputError

__all__ = ["HuToMuMapping", "hu_to_mu", "hu_to_mu_curve"]

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class HuToMuMapping:
    """Straight lines from CT numbers to attenuation, flat beyond the first and the last point.

    Attributes:
        hu_min: CT number of `mu_min` [HU].
        hu_max: CT number of `mu_max` [HU].
        mu_min: Attenuation at and below `hu_min` [1/mm], >= 0.
        mu_max: Attenuation at and above `hu_max` [1/mm], >= 0.
        control_points: Two or more pairs (CT number, attenuation), CT numbers rising; the four
            others are then their ends.

    Raises:
        InputError: Points that do not rise, or an attenuation below 0; also a ValueError.
    """

    hu_min: float = -1000.0
    hu_max: float = 3000.0
    mu_min: float = 0.0
    mu_max: float = 0.02
    control_points: Points | None = None

    def __post_init__(self) -> None:
        if self.control_points is not None:
            points = tuple((float(hu), float(mu)) for hu, mu in self.control_points)
            if len(points) < 2:
                raise InputError(f"control_points must be at least 2, got {len(points)}")
            ends = {"hu_min": points[0][0], "mu_min": points[0][1],
                    "hu_max": points[-1][0], "mu_max": points[-1][1]}  # fmt: skip
            for name, value in {**ends, "control_points": points}.items():
                object.__setattr__(self, name, value)
        rising = all(a < b for a, b in pairwise(self.hu_knots))
        if not (np.isfinite(self.hu_knots + self.mu_knots).all() and rising):
            raise InputError(f"CT numbers must be finite and rise, got {list(self.hu_knots)}")
        if min(self.mu_knots) < 0:
            raise InputError(f"attenuation must be at least 0, got {min(self.mu_knots)}")

    @property
    def points(self) -> Points:
        """Pairs (CT number [HU], attenuation [1/mm])."""
        ends = ((self.hu_min, self.mu_min), (self.hu_max, self.mu_max))
        return self.control_points or ends

    @property
    def hu_knots(self) -> tuple[float, ...]:
        """CT numbers of the points [HU]."""
        return tuple(hu for hu, _ in self.points)

    @property
    def mu_knots(self) -> tuple[float, ...]:
        """Attenuation of the points [1/mm]."""
        return tuple(mu for _, mu in self.points)

    @property
    def window_width(self) -> float:
        """Distance of the ends [HU]."""
        return self.hu_max - self.hu_min

    @property
    def window_center(self) -> float:
        """CT number in the middle of the ends [HU]."""
        return (self.hu_max + self.hu_min) / 2

    @property
    def slope(self) -> float:
        """Attenuation per CT number between the ends [1/mm per HU]."""
        return (self.mu_max - self.mu_min) / self.window_width

    @classmethod
    def from_window_level(
        cls, center: float, width: float, mu_max: float = 0.02, mu_min: float = 0.0
    ) -> HuToMuMapping:
        """Return the line over a window of CT numbers [HU]."""
        return cls(center - width / 2, center + width / 2, mu_min, mu_max)

    def with_window_level(
        self, center: float | None = None, width: float | None = None
    ) -> HuToMuMapping:
        """The same attenuations over another window [HU]; several points keep their proportions."""
        old_width, old_center = self.window_width, self.window_center
        new_width = old_width if width is None else width
        new_center = old_center if center is None else center
        return self._mapped(
            lambda hu: new_center + (hu - old_center) * new_width / old_width, lambda mu: mu
        )

    def shifted(self, delta_hu: float) -> HuToMuMapping:
        """Return the mapping with all CT numbers moved [HU]."""
        return self._mapped(lambda hu: hu + delta_hu, lambda mu: mu)

    def scaled(self, factor: float) -> HuToMuMapping:
        """Return the mapping with all attenuations multiplied by a factor.

        Raises:
            InputError: A factor below 0; also a ValueError.
        """
        if factor < 0:
            raise InputError(f"factor must be at least 0, got {factor}")
        return self._mapped(lambda hu: hu, lambda mu: mu * factor)

    def _mapped(self, of_hu: Any, of_mu: Any) -> HuToMuMapping:
        points = tuple((of_hu(hu), of_mu(mu)) for hu, mu in self.points)
        if self.control_points is not None:
            return HuToMuMapping(control_points=points)
        (low, mu_low), (high, mu_high) = points
        return replace(self, hu_min=low, hu_max=high, mu_min=mu_low, mu_max=mu_high)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it: the ends, or the points."""
        if self.control_points is not None:
            return {"control_points": [list(point) for point in self.control_points]}
        return {name: getattr(self, name) for name in ("hu_min", "hu_max", "mu_min", "mu_max")}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> HuToMuMapping:
        """Return the mapping of `to_dict`'s keys, or of `window_center` and `window_width`.

        Raises:
            InputError: Other keys, or two ways at once; also a ValueError.
        """
        given = dict(values)
        if "control_points" in given:
            points = given.pop("control_points")
            mapping = cls(control_points=tuple((hu, mu) for hu, mu in points))
        elif "window_center" in given or "window_width" in given:
            try:
                center, width = given.pop("window_center"), given.pop("window_width")
            except KeyError as error:
                raise InputError(f"{error.args[0]} must be given, too") from None
            mapping = cls.from_window_level(
                center, width, given.pop("mu_max", 0.02), given.pop("mu_min", 0.0)
            )
        else:
            known = ("hu_min", "hu_max", "mu_min", "mu_max")
            mapping = cls(**{name: given.pop(name) for name in known if name in given})
        if given:
            raise InputError(f"a mapping has no {', '.join(map(repr, given))} beside these keys")
        return mapping


def hu_to_mu(hu: ArrayLike, mapping: HuToMuMapping | None = None) -> NDArray[np.float32]:
    """Return attenuation [1/mm] of CT numbers [HU], of the same shape, float32."""
    given = mapping or HuToMuMapping()
    values = np.interp(np.asarray(hu, float), given.hu_knots, given.mu_knots)
    return np.asarray(values, np.float32)


def hu_to_mu_curve(
    mapping: HuToMuMapping | None = None,
    hu_range: Sequence[float] | None = None,
    num: int = 512,
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return CT numbers [HU] and their attenuation [1/mm], by default 20 % beyond the ends."""
    given = mapping or HuToMuMapping()
    pad = 0.2 * given.window_width
    low, high = hu_range or (given.hu_min - pad, given.hu_max + pad)
    hu = np.linspace(low, high, num)
    return hu, hu_to_mu(hu, given)
