"""A user's optimiser: a Python class named in the YAML; it makes one step an iteration."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fluoro.errors import InputError
from fluoro.registration.pose_loss import PoseGradient

__all__ = ["Optimiser", "checked_step", "load_optimiser"]


class Optimiser(Protocol):
    """What a user writes."""

    def step(self, evaluation: PoseGradient) -> Any:
        """Return the twist to move by, (6,), as the gradient's [rad, mm]; None: it is done."""


def load_optimiser(name: str, settings: Mapping[str, Any]) -> Optimiser:
    """Return an object of the class `module:Class`, made with the settings as keywords.

    Importing the module runs its code; the class is called only once it has passed every check.

    Raises:
        InputError: The module cannot be imported, it has no such class, the class has no method
            `step`, or the class does not take the settings.
    """
    maker = _optimiser_class(name)
    try:
        made: Optimiser = maker(**settings)
    except (Exception, SystemExit) as error:
        raise InputError(
            f"optimiser.settings: {maker.__name__} does not take them: {_text(error)}"
        ) from error
    return made


def _optimiser_class(name: str) -> type[Optimiser]:
    """Return the class `module:Class`, which has a method `step`; nothing of it has been called."""
    module_name, _, class_name = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        raise InputError(
            f"optimiser.class: {module_name} cannot be imported: {_text(error)}"
        ) from error
    found = getattr(module, class_name, None)
    if not isinstance(found, type):
        raise InputError(f"optimiser.class: {module_name} has no class {class_name}")
    if not callable(getattr(found, "step", None)):
        raise InputError(f"optimiser.class: {class_name} must have a method step(evaluation)")
    return found


def checked_step(optimiser: Optimiser, evaluation: PoseGradient) -> NDArray[np.float64] | None:
    """Return the optimiser's next twist; None: it is done.

    Raises:
        InputError: It fails, or returns anything but six finite numbers or None.
    """
    name = type(optimiser).__name__
    try:
        step = optimiser.step(evaluation)
        twist = None if step is None else np.asarray(step, float)
    except (Exception, SystemExit) as error:
        raise InputError(
            f"optimiser: {name}.step failed in iteration {evaluation.iteration}: {_text(error)}"
        ) from error
    if twist is not None and not (twist.shape == (6,) and np.isfinite(twist).all()):
        raise InputError(
            f"optimiser: {name}.step must return 6 finite numbers or None, got {step!r}"
        )
    return twist


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
