"""Writes docs/configuration.md: every key of the YAML, from the models in fluoro/config/.

python -m tools.docs.make_configuration_docs
"""

from __future__ import annotations

import re
import types
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from fluoro.config import Config
from fluoro.datasets.training.config import DatasetConfig
from fluoro.datasets.training.distributions import DISTRIBUTIONS
from fluoro.imaging.stages.order import ORDER
from fluoro.registration.config import RegisterConfig
from fluoro.rendering.projectors import PROJECTORS

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
HEAD = """# Configuration

One YAML file describes a run. This page has every key, with its values and its default.

- `configs/` has a file for each use; [user_guide.md](user_guide.md#configurations) lists them. Copy
  one and change it.
- `app.py validate FILE` checks a file. `app.py schema` prints the same as JSON Schema for editors.
- `--set key.path=value` changes a key for one run.
- Unknown keys, wrong types and impossible values are refused, each in one line that begins with
  the key's path.
- Files are YAML 1.2: `true` and `false` are the only switches, and `010` is ten.
- "see below" stands for a section of its own. `{}` takes all of its defaults, `null` leaves it out.

This page is written from the models in `fluoro/config/` by
`python -m tools.docs.make_configuration_docs`; a test compares them.
"""

TOP = 2
"""Depth of the heading of a section that stands alone."""

REGISTER_HEAD = """## A registration's file

`app.py register FILE` takes a file with `volume`, `carm`, `image_chain`, `renderer`, `registration`
(all as above), and with these sections. A section `target` makes it one
(docs/registration.md).
"""


DATASET_HEAD = """## A training set's file

`app.py dataset FILE` takes a file with `volume`, `carm`, `pose_source`, `renderer`, `image_chain`
and `annotations` (all as above), and with a section `dataset`, which makes it one (docs/data.md).
In the place of any value it may have a distribution.
"""


STAGES_HEAD = """## Stages of the image chain

In the order in which they run (`fluoro/imaging/stages/order.py`). Neighbours that look at no other
pixel run as one kernel. A derivative is exact; it holds what earlier frames have left.
"""


PROJECTORS_HEAD = """## Projectors

What `renderer.projector` may be (`fluoro/rendering/projectors/`).
"""


def _projectors() -> str:
    """The table of the projectors."""
    keys = ("image_chain.xray", "volume.motion", "step_mm", "texture", "fused")
    heads = " | ".join(["projector", "what", *(f"`{key}`" for key in keys)])
    rows = [f"| {heads} |", "|---" * (2 + len(keys)) + "|"]
    for name, each in PROJECTORS.items():
        marks = (each.materials, each.moving, each.steps, each.texture, each.in_place)
        yes = " | ".join("yes" if mark else "no" for mark in marks)
        rows.append(f"| {name} | {each.text} | {yes} |")
    return "\n".join(rows) + "\n"


def _stages() -> str:
    """The table of the image chain's stages."""
    rows = ["| keys | what | other pixels | earlier frames | derivative |", "|---|---|---|---|---|"]
    for stage in ORDER:
        keys = ", ".join(f"`{key}`" for key in stage.keys)
        marks = (stage.mixes_pixels, stage.remembers, not stage.no_derivative)
        yes = " | ".join("yes" if mark else "no" for mark in marks)
        rows.append(f"| {keys} | {stage.text} | {yes} |")
    return "\n".join(rows) + "\n"


def _distributions() -> str:
    """A table for each distribution."""
    parts = []
    for word, model in DISTRIBUTIONS.items():
        parts.append(f"### `{word}`\n\n{_text(model)}\n\n{_table(model)}")
    return "\n".join(parts)


def _anchors(body: str) -> list[tuple[int, str, str]]:
    """Depth, title and anchor of each heading, as GitHub makes them."""
    seen: dict[str, int] = {}
    found = []
    for marks, title in re.findall(r"^(##+) (.+)$", body, re.MULTILINE):
        anchor = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        count = seen[anchor] = seen.get(anchor, -1) + 1
        found.append((len(marks), title, f"{anchor}-{count}" if count else anchor))
    return found


def _contents(body: str) -> str:
    """A line for each section with links to it and to the sections in it."""
    lines: list[str] = []
    top = ""
    for depth, title, anchor in _anchors(body):
        if depth == TOP:
            top = title.split(" ")[0]
            lines.append(f"- [{title}](#{anchor})")
        else:
            within = title.removeprefix(f"{top}.")
            lines[-1] += f"{', ' if '):' in lines[-1] else ': '}[{within}](#{anchor})"
    return "\n".join(lines) + "\n"


def make() -> str:
    """The page."""
    body = _body()
    return "\n".join([HEAD, _contents(body), body])


def _body() -> str:
    """All sections."""
    parts = []
    for name, field in Config.model_fields.items():
        parts.append(_section(name, field.annotation, required=field.is_required()))
    parts += [PROJECTORS_HEAD, _projectors(), STAGES_HEAD, _stages(), REGISTER_HEAD]
    for name in ("target", "run"):
        field = RegisterConfig.model_fields[name]
        parts.append(_section(name, field.annotation, required=field.is_required(), depth=3))
    parts += [DATASET_HEAD, _section("dataset", DatasetConfig, depth=3), _distributions()]
    return "\n".join(parts)


def _section(path: str, annotation: Any, *, required: bool = False, depth: int = 2) -> str:
    """Heading, description and table of a section, and of those in it."""
    models = _models(annotation)
    parts = []
    for model in models:
        kind = f" (`kind: {_kind(model)}`)" if len(models) > 1 else ""
        note = " Required." if required else ""
        parts.append(f"{'#' * depth} {path}{kind}\n\n{_text(model)}{note}\n\n{_table(model)}")
        for name, field in model.model_fields.items():
            if _models(field.annotation):
                parts.append(_section(f"{path}.{name}", field.annotation, depth=max(depth, 3)))
    return "\n".join(parts)


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The sections that a key may hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) is Annotated:
        return _models(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType, tuple):
        return [model for part in get_args(annotation) for model in _models(part)]
    return []


def _kind(model: type[BaseModel]) -> str:
    return str(get_args(model.model_fields["kind"].annotation)[0])


def _text(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


def _table(model: type[BaseModel]) -> str:
    rows = ["| Key | Values | Default | |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        key = field.alias or name
        cells = (f"`{key}`", _values(field), _default(field), field.description or "")
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _values(field: FieldInfo) -> str:
    bounds = _bounds(field.metadata)
    return f"{_type(field.annotation)} {bounds}".strip()


def _type(annotation: Any) -> str:
    """What a YAML file may hold."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if _models(annotation):
        sections = "list, see below" if origin is tuple else "see below"
        return f"{sections}, or null" if type(None) in parts else sections
    if origin is Literal:
        return ", ".join(f"`{part}`" for part in parts)
    if origin is Annotated:
        return f"{_type(parts[0])} {_bounds(parts[1:])}".strip()
    if origin in (Union, types.UnionType):
        return " or ".join(_type(part) for part in parts)
    if origin is tuple:
        if parts[-1] is Ellipsis:
            return f"list of {_type(parts[0])}"
        kinds = list(dict.fromkeys(_type(part) for part in parts))
        each = f"list of {len(parts)}, each {kinds[0]}"
        return each if len(kinds) == 1 else f"[{', '.join(map(_type, parts))}]"
    if origin is dict:
        return f"mapping of {_type(parts[0])} to {_type(parts[1])}"
    names = {float: "number", int: "whole number", str: "text", bool: "true, false", Path: "path"}
    names[Any] = "any value"
    return "null" if annotation is type(None) else names.get(annotation, annotation.__name__)


def _bounds(metadata: Any) -> str:
    """The range that is allowed."""
    items = [item for entry in metadata for item in getattr(entry, "metadata", [entry])]
    known = {type(item): item for item in items if type(item) in (Ge, Gt, Le, Lt)}
    if Ge in known and Le in known:
        return f"{_yaml(known[Ge].ge)} to {_yaml(known[Le].le)}"
    signs = {Ge: (">=", "ge"), Gt: (">", "gt"), Le: ("<=", "le"), Lt: ("<", "lt")}
    return ", ".join(
        f"{signs[kind][0]} {_yaml(getattr(item, signs[kind][1]))}" for kind, item in known.items()
    )


def _default(field: FieldInfo) -> str:
    default = field.default
    if default is PydanticUndefined:
        return "required"
    if isinstance(default, BaseModel):
        return ""
    if isinstance(default, tuple) and any(isinstance(part, BaseModel) for part in default):
        return ", ".join(f"`{part.name}`" for part in default)
    return f"`{_yaml(default)}`"


def _yaml(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(_yaml(part) for part in value) + "]"
    if value == 2**63:
        return "2^63"
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def main() -> None:
    """Write the page."""
    PAGE.write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
