"""Images of how a tracked run went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fluoro.plot.line_charts import Curve, Panel, write_curves
from fluoro.registration.tracking.track_record import ScoredEstimate

__all__ = ["write_optimiser_plot", "write_tracking_plot"]

BLUE, RED, GREEN, GREY = (31, 119, 180), (214, 39, 40), (30, 140, 70), (150, 158, 164)
LEAST_MM = 1e-3
"""Smaller errors are drawn as this: a logarithmic axis has no zero."""
GOOD_MM = 1.0


def write_tracking_plot(path: Path, estimates: Sequence[ScoredEstimate]) -> None:
    """Error, angles and translation over the frames: estimate and truth.

    Raises:
        OutputError: It cannot be written.
    """
    good = [scored for scored in estimates if scored.estimate.converged]
    lost = [scored for scored in estimates if not scored.estimate.converged]
    errors = [_errors("converged", BLUE, good)] if good else []
    errors += [_errors("not converged", RED, lost)] if lost else []
    panels = [
        Panel(title="mTRE [mm]", curves=errors, logarithmic=True, level=GOOD_MM),
        Panel(
            title="Angles [degrees]",
            curves=[*_angle(estimates, "lao", BLUE), *_angle(estimates, "cra", GREEN)],
        ),
        Panel(title="Error along x, y, z [mm]", curves=_shifts(good)),
    ]
    write_curves(path, "frame", panels)


def _errors(name: str, color: tuple[int, int, int], chosen: Sequence[ScoredEstimate]) -> Curve:
    return Curve(
        name=name,
        color=color,
        x=_numbers(chosen),
        y=[max(scored.mtre_mm, LEAST_MM) for scored in chosen],
        dots=True,
    )


def _angle(
    estimates: Sequence[ScoredEstimate], name: str, color: tuple[int, int, int]
) -> list[Curve]:
    key, numbers = f"{name}_deg", _numbers(estimates)
    true = [getattr(scored.true_pose, key) for scored in estimates]
    found = [getattr(scored.estimate.pose, key) for scored in estimates]
    return [
        Curve(name=f"{name.upper()} true", color=GREY, x=numbers, y=true),
        Curve(name=f"{name.upper()} found", color=color, x=numbers, y=found, dots=True),
    ]


def _shifts(estimates: Sequence[ScoredEstimate]) -> list[Curve]:
    return [
        Curve(
            name=axis,
            color=color,
            x=_numbers(estimates),
            y=[
                scored.estimate.pose.translation_mm[k] - scored.true_pose.translation_mm[k]
                for scored in estimates
            ],
        )
        for k, (axis, color) in enumerate(zip("xyz", (BLUE, RED, GREEN), strict=True))
    ]


def _numbers(estimates: Sequence[ScoredEstimate]) -> list[float]:
    return [float(scored.estimate.number) for scored in estimates]


def write_optimiser_plot(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Loss and error over the iterations of a user's optimiser.

    Raises:
        OutputError: It cannot be written.
    """
    iterations = [float(row["iteration"]) for row in rows]
    losses = [float(row["loss"]) for row in rows]
    errors = [max(float(row["mtre_mm"]), LEAST_MM) for row in rows]
    panels = [
        Panel(
            title="mTRE [mm]",
            curves=[Curve(name="mTRE", color=BLUE, x=iterations, y=errors)],
            logarithmic=True,
            level=GOOD_MM,
        ),
        Panel(
            title="Loss",
            curves=[Curve(name="loss", color=RED, x=iterations, y=losses)],
            logarithmic=min(losses) > 0,
        ),
    ]
    write_curves(path, "iteration", panels)
