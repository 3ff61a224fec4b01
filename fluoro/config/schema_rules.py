"""Rules between several keys of a section, in JSON Schema.

A section's validator decides; these rules repeat for editors what JSON Schema can say of it. They
stand in the section's `model_config`. tests/config/test_schema.py compares both over changed files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from pydantic import ConfigDict

__all__ = [
    "DIALECT",
    "GIVEN",
    "NULL",
    "Rule",
    "absent_or",
    "at",
    "const",
    "json_schema",
    "never",
    "one_of",
    "rules",
    "when",
]

Rule: TypeAlias = dict[str, Any]
"""A JSON Schema."""

NULL: Rule = {"type": "null"}
GIVEN: Rule = {"not": NULL}
"""A value that is not null."""

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def const(*values: object) -> Rule:
    """Return the schema of one of these values."""
    return {"enum": list(values)}


def at(key: str, schema: Rule = GIVEN) -> Rule:
    """Return the schema of sections that have a key whose value fits.

    Args:
        key: Path of the key, such as `renderer.projector`.
        schema: Of its value.
    """
    first, _, rest = key.partition(".")
    inner = at(rest, schema) if rest else schema
    return {"type": "object", "required": [first], "properties": {first: inner}}


def absent_or(key: str, schema: Rule) -> Rule:
    """Return the schema of sections that lack a key, or whose value of it fits."""
    return {"not": at(key, {"not": schema})}


def one_of(*keys: str) -> Rule:
    """Return the rule that exactly one of these keys is given."""
    return {"oneOf": [at(key) for key in keys]}


def when(*conditions: Rule, then: Rule) -> Rule:
    """Return the rule that a section which fits all conditions fits another schema too."""
    return {"if": {"allOf": list(conditions)}, "then": then}


def never(*conditions: Rule) -> Rule:
    """Return the rule that no section fits all conditions."""
    *first, last = conditions
    return when(*first, then={"not": last}) if first else {"not": last}


def rules(*each: Rule) -> ConfigDict:
    """Return a section's `model_config` that adds rules to its JSON Schema."""
    return ConfigDict(json_schema_extra={"allOf": list(each)})


def json_schema(model: Any) -> Mapping[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a whole file's model."""
    return {"$schema": DIALECT, **model.model_json_schema()}
