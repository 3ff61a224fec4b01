"""Pydantic's errors in users' words: the path of the key, what it must be, and what came."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

__all__ = ["KeyValueError", "mistakes", "shown"]

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
    "string_pattern_mismatch": "text that matches {pattern}",
    "string_type": "text",
    "string_unicode": "text in Unicode",
    "tuple_type": "a list",
}
"""What is expected, by pydantic's type of error; the braces name its context."""

SECTIONS_WITH_KIND = ("pose_source", "hu_to_mu", "collimator", "inclusions")
"""Whose keys depend on their `kind`."""
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
    """A value of a YAML file as it stood there, shortened to fit on a line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    try:
        return " ".join(_SHORT.repr(value).split())
    except ValueError:  # a whole number of thousands of digits
        return "a number too long to show"


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80


def mistakes(error: ValidationError) -> list[tuple[str, str]]:
    """Each mistake once, as the path of the key and a sentence about it."""
    found = [_mistake(item) for item in error.errors(include_url=False)]
    return list(dict.fromkeys(found))


def _mistake(item: Any) -> tuple[str, str]:
    where, context = _path(item["loc"]), item.get("ctx", {})
    sentence = SENTENCES.get(item["type"])
    if sentence:
        key, text = sentence(item["input"], context)
        return ".".join(filter(None, (where, key))), text
    if item["type"] in MUST_BE:
        bounds = {name: _plain(value) for name, value in context.items()}
        wanted = MUST_BE[item["type"]].format(**bounds)
        return where, f"must be {wanted}, got {shown(item['input'])}"
    return where, item["msg"]


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
    "extra_forbidden": lambda _value, _context: ("", "unknown key"),
    "invalid_key": lambda _value, _context: ("", "unknown key: keys are words"),
    "missing": lambda _value, _context: ("", "must be given"),
    "union_tag_invalid": _kind_of_source,
    "union_tag_not_found": lambda _value, _context: ("kind", "must be given"),
}
"""The rest of the key's path, and the whole sentence, where "must be ..., got ..." does not do."""


def _path(location: tuple[int | str, ...]) -> str:
    """The path of a key; pydantic puts the kind of a section in it, which is no key."""
    parts = [_key(part) for part in location]
    for section in SECTIONS_WITH_KIND:
        if section in parts[:-1]:
            at = parts.index(section) + 1
            at += parts[at].isdigit()  # in a list of sections the place comes before the kind
            del parts[at : at + 1]
    return ".".join(parts)


def _key(part: int | str) -> str:
    text = str(part)
    return text if text.isprintable() and len(text) <= LONGEST_KEY else shown(text)
