"""What other packages add to fluoro: stages, projectors, pose sources, sinks, CT formats and more.

An installed package has an entry point of the group `fluoro.plugins` that names a module; `allow`
names a module that is not installed. The module holds `PLUGIN`, a `Plugin`. Nothing else is ever
imported: no text of a configuration leads to an import.

The configuration's models are made from these lists, so plugins are loaded before `fluoro.config`
is imported, and stay the same until the program ends.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from fluoro.errors import InputError

__all__ = [
    "GROUP",
    "Plugin",
    "allow",
    "allowed",
    "allowed_modules",
    "checked",
    "error",
    "extend",
    "find",
    "given",
    "imported",
    "names",
    "shader_folders",
    "versions",
]

T = TypeVar("T")

GROUP = "fluoro.plugins"
"""The group of entry points; each one names a module that holds `PLUGIN`."""


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """What a package adds, by name: `module:Object`, imported when it is needed, or the object.

    Attributes:
        stages: `fluoro.imaging.stage.Stage` classes, by their key of `image_chain`.
        projectors: `fluoro.rendering.projectors.base.Projector` objects, by their name.
        pose_sources: `fluoro.poses.base.PoseSourceSection` classes, by their `kind`.
        scene_objects: `fluoro.scene.base.SceneSection` classes, by their `kind`.
        sinks: `fluoro.recording.frame_sink.FrameSink` classes, by their top-level key.
        ct_formats: `fluoro.volume.ct.CtFormat` objects, by their name.
        measures: `fluoro.registration.measures.similarity.LeastSquaresMeasure` classes, by their
            name.
        phantoms: Functions that make CT numbers, as `fluoro.volume.phantom.thorax.make_thorax`
            does, by their name; give them as `module:function`.
        annotations: `fluoro.annotations.base.AnnotationSection` classes, by their key of
            `annotations`.
        shaders: Folder, seen from the module's, with the Slang sources of its stages and
            projectors; empty: it has none. The names of files must differ from fluoro's.
    """

    stages: Mapping[str, Any] = field(default_factory=dict)
    projectors: Mapping[str, Any] = field(default_factory=dict)
    pose_sources: Mapping[str, Any] = field(default_factory=dict)
    scene_objects: Mapping[str, Any] = field(default_factory=dict)
    sinks: Mapping[str, Any] = field(default_factory=dict)
    ct_formats: Mapping[str, Any] = field(default_factory=dict)
    measures: Mapping[str, Any] = field(default_factory=dict)
    phantoms: Mapping[str, Any] = field(default_factory=dict)
    annotations: Mapping[str, Any] = field(default_factory=dict)
    shaders: str = ""


BEFORE = "must be allowed before fluoro.config is imported"
ALONE = (
    "the module of PLUGIN must import nothing of fluoro but fluoro.plugins; move its classes to "
    "another module, which PLUGIN names"
)
_allowed: dict[str, Any] = {}
"""Modules that were allowed, by name."""


def allow(modules: Iterable[str]) -> None:
    """Import modules that are not installed as plugins; the working folder is searched too.

    A module without `PLUGIN` adds nothing, but `optimiser.class` may name a class of it.

    Raises:
        InputError: A module cannot be imported, or comes too late: `fluoro.config` is loaded.
    """
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    for name in modules:
        if name not in _allowed:
            settled = _is_settled()
            module = _imported(name, f"plugin {name}")
            if _is_settled() and hasattr(module, "PLUGIN"):
                raise InputError(f"plugin {name}: {BEFORE if settled else ALONE}")
            _allowed[name] = module


def _is_settled() -> bool:
    """Whether the plugins have been collected, which importing `fluoro.config` does."""
    return _plugins.cache_info().currsize > 0


def allowed(module: str) -> bool:
    """Return whether a module was allowed, or is part of a plugin."""
    return any(module == name or module.startswith(f"{name}.") for name in (*_allowed, *_plugins()))


def allowed_modules() -> tuple[str, ...]:
    """Return the modules that were allowed, for another process to allow."""
    return tuple(_allowed)


def given(kind: str) -> dict[str, Any]:
    """Return what plugins add to a kind, an attribute of `Plugin`, as they give it, by name.

    Raises:
        InputError: A plugin cannot be loaded.
    """
    return {
        name: value
        for plugin in _plugins().values()
        for name, value in getattr(plugin, kind).items()
    }


def names(kind: str) -> tuple[str, ...]:
    """Return the names that plugins add to a kind, an attribute of `Plugin`; imports nothing else.

    Raises:
        InputError: A plugin cannot be loaded.
    """
    return tuple(given(kind))


def find(kind: str, fits: Callable[[Any], bool], wanted: str) -> dict[str, Any]:
    """Return what plugins add to a kind, by name.

    Args:
        kind: An attribute of `Plugin`.
        fits: Whether an object can be of that kind.
        wanted: What it must be, for the message.

    Raises:
        InputError: A plugin cannot be loaded, or has something else.
    """
    found = {}
    for name, value in given(kind).items():
        found[name] = imported(value, f"plugin {_owner(kind, name)}: {kind}.{name}")
        if not fits(found[name]):
            raise error(kind, name, f"must be {wanted}, got {value!r}")
    return found


def imported(value: Any, place: str) -> Any:
    """Return the object that `module:Object` names; any other value as it is.

    Args:
        value: The value.
        place: Where it stands, for the message.

    Raises:
        InputError: There is none.
    """
    if not isinstance(value, str):
        return value
    module_name, _, name = value.partition(":")
    module = _imported(module_name, place)
    if not hasattr(module, name):
        raise InputError(f"{place}: must be module:Object, and {value!r} is not there")
    return getattr(module, name)


def extend(kind: str, built_in: Mapping[str, T], added: Mapping[str, T]) -> dict[str, T]:
    """Return fluoro's own objects of a kind and those of plugins.

    Raises:
        InputError: A name is in both.
    """
    for name in added:
        if name in built_in:
            raise error(kind, name, "fluoro has one of that name")
    return {**built_in, **added}


def error(kind: str, name: str, text: str) -> InputError:
    """Return the error of what a plugin adds, with its module.

    Args:
        kind: An attribute of `Plugin`.
        name: Of what it adds.
        text: What is wrong.
    """
    return InputError(f"plugin {_owner(kind, name)}: {kind}.{name}: {text}")


def _owner(kind: str, name: str) -> str:
    return next(module for module, plugin in _plugins().items() if name in getattr(plugin, kind))


def versions() -> dict[str, str]:
    """Return the version of each plugin's package by its module, or that it is not installed."""
    if not _plugins():
        return {}
    from importlib.metadata import packages_distributions, version

    packages = packages_distributions()
    found = {module: packages.get(module.partition(".")[0], [])[:1] for module in _plugins()}
    return {m: version(names[0]) if names else "not installed" for m, names in found.items()}


def shader_folders() -> tuple[Path, ...]:
    """Return the folders of the plugins' Slang sources.

    Raises:
        InputError: There is no such folder.
    """
    return tuple(
        _shaders_of(module, plugin.shaders)
        for module, plugin in _plugins().items()
        if plugin.shaders
    )


def _shaders_of(module: str, folder: str) -> Path:
    found = Path(str(sys.modules[module].__file__)).parent / folder
    if not found.is_dir():
        raise InputError(f"plugin {module}: shaders: {found} is not a folder")
    return found


@cache
def _plugins() -> dict[str, Plugin]:
    """All plugins by module, those that were allowed first; the same from now on."""
    modules = {name: module for name, module in _allowed.items() if hasattr(module, "PLUGIN")}
    for name in _installed():
        modules.setdefault(name, None)
    return checked(
        {name: module or _imported(name, f"plugin {name}") for name, module in modules.items()}
    )


def _installed() -> Iterable[str]:
    from importlib.metadata import entry_points

    return sorted({entry.value for entry in entry_points(group=GROUP)})


def checked(modules: Mapping[str, Any]) -> dict[str, Plugin]:
    """Return the plugins of modules.

    Raises:
        InputError: A module has no `PLUGIN`, or two have the same name for the same kind.
    """
    found: dict[str, Plugin] = {}
    owners: dict[tuple[str, str], str] = {}
    for module_name, module in modules.items():
        plugin = getattr(module, "PLUGIN", None)
        if not isinstance(plugin, Plugin):
            raise InputError(
                f"plugin {module_name}: PLUGIN must be a Plugin before anything of fluoro but "
                f"fluoro.plugins is imported, got {plugin!r}"
            )
        for key in _keys(plugin):
            if key in owners:
                raise InputError(
                    f"plugin {module_name}: {'.'.join(key)}: {owners[key]} has one of that name"
                )
            owners[key] = module_name
        found[module_name] = plugin
    return found


def _keys(plugin: Plugin) -> Iterable[tuple[str, str]]:
    for kind in fields(plugin):
        if kind.name != "shaders":
            yield from ((kind.name, name) for name in getattr(plugin, kind.name))


def _imported(name: str, place: str) -> Any:
    try:
        return importlib.import_module(name)
    except InputError:
        raise
    except (Exception, SystemExit) as cause:
        text = " ".join(str(cause).split())
        raise InputError(
            f"{place}: {name} cannot be imported: {type(cause).__name__}: {text}"
        ) from cause
