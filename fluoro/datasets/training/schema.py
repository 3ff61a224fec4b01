"""The JSON Schema of a training set's file: where distributions may stand, and what they take.

A value's own schema is that of the stream's file; it holds for what is drawn, so an editor checks
distributions alone.
"""

from __future__ import annotations

from typing import Any

from fluoro.config.loading import DATASET_KEY
from fluoro.config.schema_rules import DIALECT
from fluoro.datasets.training.config import SECTIONS, DatasetConfig
from fluoro.datasets.training.distributions import (
    DISTRIBUTIONS,
    Choice,
    Distribution,
    Files,
    Repeat,
)

__all__ = ["dataset_schema"]

DRAWN = {"$ref": "#/$defs/drawn"}
PLAIN = {"type": ["string", "number", "boolean", "null"]}


def dataset_schema() -> dict[str, Any]:
    """Return the schema."""
    section = DatasetConfig.model_json_schema()
    section["properties"]["time_s"] = {"anyOf": [section["properties"]["time_s"], _distribution()]}
    return {
        "$schema": DIALECT,
        "title": "A training set",
        "type": "object",
        "required": [DATASET_KEY, "volume", "pose_source"],
        "additionalProperties": False,
        "properties": {DATASET_KEY: section, **dict.fromkeys(SECTIONS, DRAWN)},
        "$defs": {"drawn": _drawn()},
    }


def _drawn() -> dict[str, Any]:
    """A value that may have distributions in it."""
    words = {word: _given(kind) for word, kind in DISTRIBUTIONS.items()}
    return {
        "anyOf": [
            PLAIN,
            {"type": "array", "items": DRAWN},
            {
                "type": "object",
                "properties": words,
                "additionalProperties": DRAWN,
                "propertyNames": {"anyOf": [{"enum": list(words)}, {"pattern": r"^[^$]"}]},
            },
        ]
    }


def _distribution() -> dict[str, Any]:
    """A distribution without keys beside it."""
    words = {word: _given(kind) for word, kind in DISTRIBUTIONS.items()}
    return {
        "type": "object",
        "properties": words,
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }


def _given(kind: type[Distribution]) -> dict[str, Any]:
    """What stands behind a distribution's word: its keys, or what is short for them."""
    found = kind.model_json_schema()
    keys = found["properties"]
    if kind is Choice:
        keys["of"] = {"type": "array", "items": DRAWN, "minItems": 1}
    elif kind is Repeat:
        keys["of"] = DRAWN
    if kind in (Choice, Files):
        return {"anyOf": [found, keys["of"], *([{"type": "string"}] if kind is Files else [])]}
    if {"low", "high"} == keys.keys():
        pair = [keys["low"], keys["high"]]
        return {
            "anyOf": [found, {"type": "array", "prefixItems": pair, "minItems": 2, "items": False}]
        }
    return found
