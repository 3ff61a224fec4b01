"""Names that a package has without importing what they stand for until they are used."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

__all__ = ["lazy_names", "names_for_type_checkers"]


def lazy_names(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's `__getattr__`: each name comes from its module on first use.

    Args:
        package: The package's `__name__`.
        modules: Module of each name.
    """

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(modules[name]), name)

    return get


def names_for_type_checkers(package: str) -> Callable[[str], Any]:
    """A package's `__getattr__` by the imports that its source has for type checkers.

    So the imports under `if TYPE_CHECKING:` are the only list of modules. The source is read when
    the first name is used.

    Args:
        package: The package's `__name__`.
    """

    def get(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return lazy_names(package, _imported(package))(name)

    return get


@cache
def _imported(package: str) -> Mapping[str, str]:
    """The module of each name that a package's source imports below its top level."""
    loader: Any = sys.modules[package].__loader__
    source = loader.get_source(package)
    blocks = [node for node in ast.parse(source).body if isinstance(node, ast.If)]
    imports = [each for block in blocks for each in block.body if isinstance(each, ast.ImportFrom)]
    return {alias.name: str(each.module) for each in imports for alias in each.names}
