"""What plugins add to the configuration: sections under keys of their own, and words of options."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import Field, create_model

from fluoro import plugins
from fluoro.config.section import Section

__all__ = ["by_kind", "extended", "kinds", "sections", "words"]

Model = TypeVar("Model", bound=Section)


def sections(kind: str) -> dict[str, Any]:
    """Return what plugins add to a kind whose classes have a `section`, by name.

    Raises:
        InputError: A plugin cannot be loaded, or a class has no such section.
    """
    wanted = "a class whose section is a class of Section"
    return plugins.find(kind, lambda found: _is_section(getattr(found, "section", None)), wanted)


def extended(
    kind: str, keys: Callable[[type[Section]], Mapping[str, Any]]
) -> Callable[[type[Model]], type[Model]]:
    """Return a decorator that adds the keys of plugins to a section.

    Args:
        kind: The plugins' kind.
        keys: Returns the keys, as `pydantic.create_model` takes them, for the section without them.
    """

    def extend(section: type[Model]) -> type[Model]:
        if not plugins.names(kind):
            return section
        added = dict(keys(section))
        plugins.extend(kind, section.model_fields, added)
        return create_model(
            section.__name__,
            __base__=section,
            __module__=section.__module__,
            __doc__=section.__doc__,
            **added,
        )

    return extend


def kinds(
    kind: str, base: type[Model], built_in: tuple[type[Model], ...]
) -> tuple[type[Model], ...]:
    """Return the sections that a key may hold, by their `kind`: fluoro's and those of plugins.

    Raises:
        InputError: A plugin cannot be loaded, has no section of that base, or one under another
            name than its `kind`.
    """
    added = plugins.find(
        kind, lambda found: _is_section(found, base), f"a class of {base.__name__}"
    )
    for name, model in added.items():
        if word_of(model) != name:
            raise plugins.error(kind, name, f"must stand under its kind, {word_of(model)}")
    own = {word_of(model): model for model in built_in}
    return tuple(plugins.extend(kind, own, added).values())


def by_kind(models: tuple[type[Section], ...]) -> Any:
    """Return the type of a section that is one of several, as its key `kind` says."""
    return Annotated[reduce(or_, models), Field(discriminator="kind")]


def word_of(model: type[Section]) -> str:
    """Return the word by which `kind` names a section."""
    (word,) = get_args(model.model_fields["kind"].annotation)
    return str(word)


def words(kind: str, built_in: Iterable[str]) -> Any:
    """Return the words of an option, a `Literal`: fluoro's and the names that plugins add.

    Args:
        kind: The plugins' kind.
        built_in: Fluoro's words.
    """
    own = {word: word for word in built_in}
    return Literal[tuple(plugins.extend(kind, own, {name: name for name in plugins.names(kind)}))]


def _is_section(found: object, base: type[Section] = Section) -> bool:
    return isinstance(found, type) and issubclass(found, base)
