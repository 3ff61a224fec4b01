"""Names that a package has without importing what they stand for until they are used.

It imports nothing itself: programs import it before they take care of Ctrl-C.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

__all__ = ["lazy_names"]

_known: dict[str, Mapping[str, str]] = {}


def lazy_names(module: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` of a module, by the imports that it has for type checkers.

    So the imports under `if TYPE_CHECKING:` are the only list of names. The source is read when
    the first name is used. `__dir__` lists `__all__`.

    Args:
        module: The module's `__name__`.
    """

    def get(name: str) -> Any:
        import importlib

        where = {} if name.startswith("__") else _imported(module)
        if name not in where:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        return getattr(importlib.import_module(where[name]), name)

    def names() -> list[str]:
        return sorted(sys.modules[module].__all__)

    return get, names


def _imported(module: str) -> Mapping[str, str]:
    """Return the module of each name that a source imports below its top level."""
    if module not in _known:
        _known[module] = _read(module)
    return _known[module]


def _read(module: str) -> Mapping[str, str]:
    import ast

    loader: Any = sys.modules[module].__loader__
    source = loader.get_source(module)
    blocks = [node for node in ast.parse(source).body if isinstance(node, ast.If)]
    imports = [each for block in blocks for each in block.body if isinstance(each, ast.ImportFrom)]
    return {alias.name: str(each.module) for each in imports for alias in each.names}
