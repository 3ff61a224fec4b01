"""YAML 1.2 as people write it: 1e-3 is a number, 010 is ten, and a key given twice is an error."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from fluoro.errors import InputError
from fluoro.paths import meant_name

__all__ = ["parse_yaml", "read_mapping"]

MERGE_TAG = "tag:yaml.org,2002:merge"
SCALARS = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    "merge": (r"<<", ["<"]),
}
"""Plain scalars that are not text, and how they begin: the core schema of YAML 1.2.2 (10.3.2), and
YAML 1.1's merge key. PyYAML's own table is that of YAML 1.1, where 030 is 24, 1:30 is 90 and `on`
is true."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars of YAML 1.2, and an error for a key given twice."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: list[Any] = []
        for key_node, _ in node.value:
            if key_node.tag == MERGE_TAG:
                continue
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} is given twice", key_node.start_mark
                )
            seen.append(key)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        text = self.construct_scalar(node)
        return int(text, 0) if text.startswith(("0o", "0x")) else int(text)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
for _name, (_pattern, _first) in SCALARS.items():
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_name}", re.compile(f"^(?:{_pattern})$"), _first
    )


def read_mapping(path: Path) -> dict[str, Any]:
    """Return the mapping that a YAML file holds.

    Raises:
        InputError: An unreadable file, malformed YAML, or anything but a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file{meant_name(path)}") from None
    except IsADirectoryError:
        raise InputError(f"{path}: must be a YAML file, got a folder; {_as_ct(path)}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: must be UTF-8 text in YAML; {_as_ct(path)}") from None
    document = parse_yaml(text, str(path))
    if not isinstance(document, dict):
        kind = "nothing" if document is None else f"a {type(document).__name__}"
        raise InputError(f"{path}: must be a mapping of sections, got {kind}")
    return document


def _as_ct(path: Path) -> str:
    """What to type where the path is that of a CT."""
    return f"a CT stands behind --ct, as in app.py run sweep --ct {path}"


def parse_yaml(text: str, where: str) -> Any:
    """Return the value that YAML text stands for.

    Args:
        text: One YAML document.
        where: Begins the message of an error.

    Raises:
        InputError: Malformed YAML, or a number of too many digits.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise InputError(f"{where}: not valid YAML: {_one_line(error)}") from None
    except (ValueError, OverflowError) as error:
        raise InputError(f"{where}: not valid YAML: {error}") from None
    except RecursionError:
        raise InputError(f"{where}: not valid YAML: nested too deeply") from None


def _one_line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return where + " ".join(str(getattr(error, "problem", None) or error).split())
