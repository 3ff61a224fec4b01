"""JSON Schema and `app.py validate` agree over changed files, but for exceptions by name."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fluoro.config import Config
from fluoro.config.schema_rules import json_schema
from fluoro.config.validation_errors import described_errors
from fluoro.config.yaml_text import read_mapping
from fluoro.registration.config import RegisterConfig
from tests.config.shipped_files import DATASETS, EVERY_FILE, REGISTRATIONS
from tests.config.test_config import FULL

ROOT = Path(__file__).parents[2]
MODELS = {"stream": Config, "registration": RegisterConfig}
VALIDATORS = {
    name: jsonschema.Draft202012Validator(json_schema(model)) for name, model in MODELS.items()
}
DOCUMENTS = [
    ("registration" if path in REGISTRATIONS else "stream", read_mapping(path))
    for path in EVERY_FILE
    if path not in DATASETS
] + [("stream", FULL)]

EXAMPLES = int(os.environ.get("FLUORO_EXAMPLES", "250"))
"""Changed files that are tried; tools/check/all.sh tries more."""

EXCEPTIONS = {
    "one value is compared with another": (
        r"must be (less|greater) than |must be at most run\.fps|must be low to high"
        r"|must be a range within|must divide the|within half a width of 0"
        r"|must be left, top, right, bottom|must be at least 0\.01 mm away"
    ),
    "values of a list are compared": (
        r"must have ascending voltages|must ascend from 0 to 1|widths_px: must rise"
        r"|trap more than there is|at least one degree of freedom"
        r"|name: must differ from other|parent: must be an object|parent: must not go in a circle"
    ),
    "a whole number written with a point, which JSON Schema takes for an integer": (
        r"must be (a|an) (whole number|integer)[^,]*, got -?\d+\.0$"
    ),
    "a phantom's voxels have edges of their own": r"must lie in \[0\.5, 10\] for a phantom",
    "an image's bytes are a product": r"DDS takes images of at most",
    "a path that no file can have": r"must be the path of a file or folder",
}
"""What the program alone refuses, by the reason why JSON Schema cannot say it."""


def keys_of(schema: dict[str, Any], definitions: dict[str, Any], depth: int = 3) -> Iterator[str]:
    """Paths of the keys that a schema names, sections before their keys."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    for branch in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from keys_of(branch, definitions, depth)
    for name, inner in schema.get("properties", {}).items() if depth else ():
        yield name
        yield from (f"{name}.{key}" for key in keys_of(inner, definitions, depth - 1))


KEYS = {
    name: sorted(set(keys_of(dict(each.schema), each.schema["$defs"])))
    for name, each in VALIDATORS.items()
}


def value_at(document: Any, key: str) -> Any:
    """The value of a key; None where the document lacks it."""
    for part in key.split("."):
        document = document.get(part) if isinstance(document, dict) else None
    return document


def plausible(schema: Any) -> Iterator[Any]:
    """Values that some key of a schema names: choices, ends of ranges, defaults."""
    if isinstance(schema, dict):
        yield from schema.get("enum", ())
        yield from (schema[word] for word in ("minimum", "maximum", "default") if word in schema)
    inner = schema.values() if isinstance(schema, dict) else schema
    for each in inner if isinstance(schema, dict | list) else ():
        yield from plausible(each)


def properties_called(schema: Any, name: str) -> Iterator[Any]:
    """Schemas of every key with a name, wherever it stands."""
    if isinstance(schema, dict):
        if name in schema.get("properties", {}):
            yield schema["properties"][name]
        schema = list(schema.values())
    for each in schema if isinstance(schema, list) else ():
        yield from properties_called(each, name)


ODD = (None, True, False, 0, 1, -1, 2, 3.5, 256.0, "", "x", "cache:x", [], {}, [1, 2], [0, 0, 0])


@cache
def candidates(kind: str, key: str) -> list[Any]:
    """Values to try at a key: what other files have there, what the schema names, and odd ones."""
    found = [value_at(document, key) for _, document in DOCUMENTS]
    name = key.rpartition(".")[2]
    for each in properties_called(dict(VALIDATORS[kind].schema["$defs"]), name):
        found += plausible(each)
    found += ODD
    unique = {repr(value): value for value in found}
    return list(unique.values())


def changed(document: dict[str, Any], key: str, value: Any) -> None:
    """Set a key; sections on its way are made where they are missing."""
    *sections, last = key.split(".")
    for part in sections:
        if not isinstance(document.get(part), dict):
            document[part] = {}
        document = document[part]
    document[last] = copy.deepcopy(value)


@st.composite
def changed_documents(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A shipped file with one to three keys set or taken out."""
    kind, document = draw(st.sampled_from(DOCUMENTS))
    document = copy.deepcopy(document)
    for key in draw(st.lists(st.sampled_from(KEYS[kind]), min_size=1, max_size=3)):
        if draw(st.booleans()) or value_at(document, key) is None:
            changed(document, key, draw(st.sampled_from(candidates(kind, key))))
        else:
            section, _, last = key.rpartition(".")
            del (value_at(document, section) if section else document)[last]
    return kind, document


def refusal(kind: str, document: dict[str, Any]) -> list[str]:
    """The program's lines about a document; none: it is valid."""
    try:
        MODELS[kind].model_validate(document)
    except ValidationError as error:
        return [f"{key}: {text}" for key, text in described_errors(error, MODELS[kind])]
    return []


def is_exception(lines: list[str]) -> bool:
    """Whether JSON Schema can say none of what the program refuses."""
    return all(any(re.search(p, line) for p in EXCEPTIONS.values()) for line in lines)


@given(changed_documents())
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
def test_schema_and_validate_agree(drawn: tuple[str, dict[str, Any]]) -> None:
    kind, document = drawn
    lines = refusal(kind, document)
    errors = [error.message for error in VALIDATORS[kind].iter_errors(document)]
    if lines and is_exception(lines):
        return
    assert bool(lines) == bool(errors), f"validate: {lines}; schema: {errors}"


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_each_exception_is_something_that_the_program_says(name: str) -> None:
    sources = " ".join(path.read_text(encoding="utf-8") for path in (ROOT / "fluoro").rglob("*.py"))
    words = re.split(r"\\.|\[|\(|\||\$", EXCEPTIONS[name])
    assert any(len(word) > 8 and word.strip() in sources for word in words)
