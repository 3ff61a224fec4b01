"""Pydantic's errors in users' words: the path of the key, what it must be, and what came."""

from __future__ import annotations

import difflib
import math
import re
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

__all__ = ["KeyValueError", "described_errors", "shown"]

MUST_BE: Mapping[str, str] = {
    "bool_type": "true or false",
    "finite_number": "a finite number",
    "float_type": "a number",
    "greater_than": "greater than {gt}",
    "greater_than_equal": "at least {ge}",
    "int_type": "a whole number",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
    "model_attributes_type": "a mapping of keys",
    "model_type": "a mapping of keys",
    "path_type": "the path of a file or folder",
    "string_too_long": "text of at most {max_length} characters",
    "string_too_short": "text of at least {min_length} characters",
    "string_pattern_mismatch": "text that matches {pattern}",
    "string_type": "text",
    "string_unicode": "text in Unicode",
    "too_long": "a list of at most {max_length}",
    "too_short": "a list of at least {min_length}",
    "tuple_type": "a list",
}
"""What is expected, by pydantic's type of error; the braces name its context."""

FORMER_KEYS = {
    "pictures": "images",
    "search_starts": "multi_start.starts",
    "start": "registration.start",
    "width_px": "widths_px",
}
"""Keys that have another name now, seen from their section."""

LONGEST_KEY = 80
"""Characters of a key that are written as they are."""


class KeyValueError(ValueError):
    """What a section's validator raises about one of the section's keys.

    Args:
        key: The key, seen from the section.
        message: A sentence about it.
    """

    def __init__(self, key: str, message: str) -> None:
        self.key = key
        super().__init__(message)


def shown(value: object) -> str:
    """Return a value of a YAML file as it stood there, shortened to fit on a line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    try:
        return " ".join(_SHORT.repr(value).split())
    except ValueError:  # a whole number of thousands of digits
        return "a number too long to show"


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80


def described_errors(error: ValidationError, model: type[BaseModel]) -> list[tuple[str, str]]:
    """Return each error once, as the path of the key and a sentence about it.

    Args:
        error: What the validation raised.
        model: The model that was validated.
    """
    items = error.errors(include_url=False)
    places = [item["loc"] for item in items]
    found = [_mistake(item, model) for item in items if not _follows(item, places)]
    return _joined(dict.fromkeys(found))


def _follows(item: Any, places: Sequence[tuple[int | str, ...]]) -> bool:
    """Whether a list counts as too short only because values in it are wrong."""
    where = item["loc"]
    within = (each for each in places if len(each) > len(where))
    return item["type"] == "too_short" and any(each[: len(where)] == where for each in within)


GOT = re.compile(r"must be (?P<wanted>.*), got (?P<value>.*)")


def _joined(found: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """One sentence where a value of several types fits none of them: must be a or b, got c."""
    joined: list[tuple[str, str]] = []
    for key, text in found:
        now = GOT.fullmatch(text)
        last = GOT.fullmatch(joined[-1][1]) if joined and joined[-1][0] == key else None
        if now and last and now["value"] == last["value"]:
            wanted = f"{last['wanted']} or {now['wanted']}"
            joined[-1] = (key, f"must be {wanted}, got {now['value']}")
        else:
            joined.append((key, text))
    return joined


def _mistake(item: Any, model: type[BaseModel]) -> tuple[str, str]:
    where, context = _path(item["loc"], _choices(model)), item.get("ctx", {})
    if item["type"] == "extra_forbidden":
        return where, f"unknown key{_suggestion(where, model)}"
    sentence = SENTENCES.get(item["type"])
    if sentence:
        key, text = sentence(item["input"], context)
        return ".".join(filter(None, (where, key))), text
    kind = "finite_number" if _is_nan(item["input"]) else item["type"]
    if kind in MUST_BE:
        bounds = {name: _plain(value) for name, value in context.items()}
        wanted = MUST_BE[kind].format(**bounds)
        return where, f"must be {wanted}, got {shown(item['input'])}"
    return where, item["msg"]


def _is_nan(value: object) -> bool:
    """Whether it is what no bound holds for."""
    return isinstance(value, float) and math.isnan(value)


def _plain(value: object) -> object:
    """A bound as one says it: 0 rather than 0.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _kind_of_source(value: Any, context: Mapping[str, Any]) -> tuple[str, str]:
    tags = context["expected_tags"].replace("'", "")
    return "kind", f"must be one of {tags}, got {shown(value['kind'])}"


def _of_validator(error: ValueError) -> tuple[str, str]:
    return error.key if isinstance(error, KeyValueError) else "", str(error)


SENTENCES: Mapping[str, Callable[[Any, Mapping[str, Any]], tuple[str, str]]] = {
    "value_error": lambda _value, context: _of_validator(context["error"]),
    "invalid_key": lambda _value, _context: ("", "unknown key: keys are words"),
    "missing": lambda _value, _context: ("", "must be given"),
    "union_tag_invalid": _kind_of_source,
    "union_tag_not_found": lambda _value, _context: ("kind", "must be given"),
}
"""The rest of the key's path, and the whole sentence, where "must be ..., got ..." does not do."""


def _suggestion(where: str, model: type[BaseModel]) -> str:
    """What may be meant by an unknown key: one like it in its section, or elsewhere."""
    section, _, key = where.rpartition(".")
    places = _known_keys(model)
    here = EACH.join(re.split(r"(?<=\.)\d+(?=\.|$)", section))
    known = places.get(here, frozenset())
    if key in known:  # pydantic does not know it: it belongs to another kind
        return f" of this kind; it belongs to {' and '.join(_kinds_with(key, here, model))}"
    former = FORMER_KEYS.get(key, "")
    if former.partition(".")[0] in known:
        return f": its name is {former} now"
    alike = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    if alike:
        return f"; did you mean {alike[0]}?"
    elsewhere = [f"{place}.{key}".lstrip(".") for place, keys in places.items() if key in keys]
    return f"; did you mean {elsewhere[0]}?" if len(elsewhere) == 1 else ""


def _kinds_with(key: str, place: str, model: type[BaseModel]) -> list[str]:
    """Return the kinds of a section that have a key."""
    sections = [each for path, each in _sections(model, ()) if ".".join(path) == place]
    kinds = [each.model_fields["kind"] for each in sections if key in each.model_fields]
    return [str(word) for kind in kinds for word in get_args(kind.annotation)]


@cache
def _known_keys(model: type[BaseModel]) -> Mapping[str, frozenset[str]]:
    """The keys of each section, by its path."""
    found: dict[str, set[str]] = {}
    for path, section in _sections(model, ()):
        found.setdefault(".".join(path), set()).update(section.model_fields)
    return {path: frozenset(keys) for path, keys in found.items()}


def _sections(
    annotation: Any, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], type[BaseModel]]]:
    origin, inner = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield path, annotation
        for name, field in annotation.model_fields.items():
            yield from _sections(field.annotation, (*path, name))
    elif origin is Annotated:
        yield from _sections(inner[0], path)
    elif origin in (Union, UnionType):
        for choice in inner:
            yield from _sections(choice, path)
    elif origin in (list, tuple):
        for item in inner:
            yield from _sections(item, (*path, EACH))


EACH = "*"
"""Stands for the place in a list."""


def _path(location: tuple[int | str, ...], choices: frozenset[tuple[str, ...]]) -> str:
    """The path of a key; behind a choice pydantic names what was chosen, which is no key."""
    parts: list[str] = []
    section: tuple[str, ...] = ()
    is_chosen = False
    for part in location:
        if section in choices and not is_chosen:
            is_chosen = True
        else:
            section = (*section, EACH if isinstance(part, int) else part)
            is_chosen = False
            parts.append(_key(part))
    return ".".join(parts)


@cache
def _choices(model: type[BaseModel]) -> frozenset[tuple[str, ...]]:
    """The paths of all sections whose keys depend on their `kind`, or values of several types."""
    return frozenset(_choices_in(model, (), tagged=False))


def _choices_in(
    annotation: Any, path: tuple[str, ...], *, tagged: bool
) -> Iterator[tuple[str, ...]]:
    origin, inner = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, field in annotation.model_fields.items():
            yield from _choices_in(
                field.annotation, (*path, name), tagged=bool(field.discriminator)
            )
    elif origin is Annotated:
        marked = any(getattr(mark, "discriminator", None) for mark in inner[1:])
        yield from _choices_in(inner[0], path, tagged=tagged or marked)
    elif origin in (Union, UnionType):
        if tagged or sum(choice is not type(None) for choice in inner) > 1:
            yield path
        for choice in inner:
            yield from _choices_in(choice, path, tagged=False)
    elif origin in (list, tuple):
        for item in inner:
            yield from _choices_in(item, (*path, EACH), tagged=False)


def _key(part: int | str) -> str:
    text = str(part)
    return text if text.isprintable() and len(text) <= LONGEST_KEY else shown(text)
