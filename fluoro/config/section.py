"""What the sections of the YAML are made of: their base, and values with their ranges."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, TypeGuard

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationInfo,
)

from fluoro.config.material_names import material_names
from fluoro.config.validation_errors import KeyValueError, shown

__all__ = [
    "CACHE_SCHEME",
    "Angle",
    "Attenuation",
    "CommandLineText",
    "Corner",
    "Count",
    "CtPath",
    "Duration",
    "Edge",
    "FilePath",
    "Finite",
    "HounsfieldUnit",
    "Length",
    "MaterialName",
    "NonNegative",
    "PixelRange",
    "Positive",
    "Range",
    "Rate",
    "Reach",
    "Section",
    "Shift",
    "Sigma",
    "Spacing",
    "Tilt",
    "Topic",
    "Turn",
    "Vector",
    "given_on_command_line",
    "list_of",
    "paths_relative_to",
    "require_order",
]

CACHE_SCHEME = "cache:"
"""Before the name of a CT that `app.py fetch` brings."""

Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Angle = Annotated[float, Field(ge=-360, le=360, allow_inf_nan=False)]
Length = Annotated[float, Field(ge=0.001, le=100_000, allow_inf_nan=False)]
Shift = Annotated[float, Field(ge=-100_000, le=100_000, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=65535)]
Turn = Annotated[float, Field(ge=-36_000, le=36_000, allow_inf_nan=False)]
Sigma = Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)]
Rate = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]
Duration = Annotated[float, Field(ge=0.01, le=1_000_000, allow_inf_nan=False)]


def list_of(count: int) -> BeforeValidator:
    """Checks that a value is a list of `count` numbers, before each number is checked."""

    def check(value: object) -> object:
        if not isinstance(value, list | tuple) or len(value) != count:
            raise ValueError(f"must be a list of {count} numbers, got {shown(value)}")
        return value

    return BeforeValidator(check)


class CommandLineText(str):
    """Text that the command line gave: a path in it is relative to the working folder."""

    __slots__ = ()


def given_on_command_line(value: Any) -> Any:
    """Return a value of YAML whose texts are `CommandLineText`."""
    if isinstance(value, str):
        return CommandLineText(value)
    if isinstance(value, list):
        return [given_on_command_line(each) for each in value]
    if isinstance(value, dict):
        return {key: given_on_command_line(each) for key, each in value.items()}
    return value


def paths_relative_to(folder: Path) -> dict[str, Any]:
    """Return the context of a validation whose paths are relative to a folder.

    Without it paths stay as they are given. Those that the command line gave are relative to the
    working folder.
    """
    return {"folder": folder}


def _resolved(value: Any, info: ValidationInfo) -> Any:
    """Return a path that stands for a file from everywhere, ~ being the user's home.

    Raises:
        ValueError: No file can be called so.
    """
    if not isinstance(value, str | Path):
        return value
    if str(value) == "":
        raise ValueError("must be the path of a file or folder, got ''")
    path = _usable(Path(value))
    if info.context is None:
        return path
    return (Path.cwd() if isinstance(value, CommandLineText) else info.context["folder"]) / path


def _resolved_ct(value: Any, info: ValidationInfo) -> Any:
    named = isinstance(value, str | Path) and str(value).startswith(CACHE_SCHEME)
    return Path(value) if named else _resolved(value, info)


def _usable(path: Path) -> Path:
    try:
        usable = b"\0" not in os.fsencode(path)
        home = path.expanduser() if usable else path
    except (RuntimeError, UnicodeEncodeError):  # an unknown ~user
        usable = False
    if not usable:
        raise ValueError(f"must be the path of a file or folder, got {shown(str(path))}")
    return home


def _edges(value: object) -> tuple[float, float, float]:
    """Edges of a voxel from one number or three."""
    edges = value if isinstance(value, list | tuple) else [value] * 3
    numbers = [edge for edge in edges if _is_number(edge) and 0.05 <= edge <= 100]
    if len(edges) != 3 or len(numbers) != 3:
        raise ValueError(f"must be a length of 0.05 to 100 mm, or three, got {shown(value)}")
    x, y, z = map(float, numbers)
    return x, y, z


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def require_order(section: BaseModel, low_key: str, high_key: str) -> None:
    """Refuse a section whose one value does not lie below the other.

    Raises:
        KeyValueError: At the key of the lower value.
    """
    low, high = getattr(section, low_key), getattr(section, high_key)
    if low >= high:
        raise KeyValueError(low_key, f"must be less than {high_key} ({high:g}), got {low:g}")


Topic = Annotated[
    str,
    Field(pattern=r"^/?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*$", max_length=200),
]
Vector = Annotated[tuple[Shift, Shift, Shift], Strict(False), list_of(3)]
Corner = Annotated[tuple[Shift | None, Shift | None, Shift | None], Strict(False), list_of(3)]
HounsfieldUnit = Annotated[float, Field(ge=-100_000, le=100_000, allow_inf_nan=False)]
Attenuation = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Edge = Annotated[float, Field(ge=0.05, le=100)]
Spacing = Annotated[
    tuple[float, float, float],
    Strict(False),
    BeforeValidator(_edges, json_schema_input_type=Edge | tuple[Edge, Edge, Edge]),
]
Range = Annotated[tuple[Angle, Angle], Strict(False), list_of(2)]
Reach = Annotated[tuple[Shift, Shift], Strict(False), list_of(2)]
Tilt = Annotated[
    tuple[Annotated[float, Field(ge=-60, le=60)], Annotated[float, Field(ge=-60, le=60)]],
    Strict(False),
    list_of(2),
]
PixelRange = Annotated[
    tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=1)]], Strict(False), list_of(2)
]


def _known_material(name: str) -> str:
    if name not in material_names():
        raise ValueError(f"must be one of {', '.join(material_names())}, got {shown(name)}")
    return name


MaterialName = Annotated[
    str,
    AfterValidator(_known_material),
    Field(json_schema_extra=lambda schema: schema.update(enum=list(material_names()))),
]
FilePath = Annotated[Path, Strict(False), BeforeValidator(_resolved)]
"""A file or folder, relative to the YAML file's folder, or of --set to the working folder."""
CtPath = Annotated[Path, Strict(False), BeforeValidator(_resolved_ct)]
"""As `FilePath`, or the name of a CT that `app.py fetch` brings, such as `cache:chest-ct`."""


class Section(BaseModel):
    """Base of all sections: unknown keys are errors, values are not coerced from strings."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
