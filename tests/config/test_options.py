"""One option has one definition: its words stand in one place, its path resolves itself."""

import ast
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import get_args

import pytest
import yaml
from pydantic import Field

from fluoro import names
from fluoro.config import (
    Config,
    FilePath,
    RegistrationConfig,
    RendererConfig,
    Section,
    load_sections,
)
from fluoro.config.section import CtPath
from fluoro.errors import InputError
from fluoro.registration.config import RegisterConfig
from fluoro.registration.measures.choice import MEASURES
from fluoro.rendering.projectors import PROJECTORS, names_where

ROOT = Path(__file__).parents[2]
NOT_OPTIONS = {("fluoro/volume/formats/dicom/pixel_decoder.py", ("little", "big"))}
"""A script of its own, which imports nothing of fluoro."""


def literals():
    """Places of every Literal that offers a choice, by its words."""
    places = defaultdict(list)
    for path in sorted(p for top in ("fluoro", "operators") for p in (ROOT / top).rglob("*.py")):
        text = path.read_text()
        for node in ast.walk(ast.parse(text)) if "Literal" in text else ():
            if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Literal":
                if isinstance(node.slice, ast.Call):  # put together from a list with a name
                    continue
                words = ast.literal_eval(node.slice)
                place = str(path.relative_to(ROOT))
                if isinstance(words, tuple) and (place, words) not in NOT_OPTIONS:
                    places[frozenset(words)].append(f"{place}:{node.lineno}")
    return places


def test_the_words_of_an_option_stand_in_one_place():
    assert {words: found for words, found in literals().items() if len(found) > 1} == {}


def test_every_list_of_words_has_one_name():
    given = {name: getattr(names, name) for name in names.__all__}
    words = [frozenset(get_args(each)) for each in given.values() if get_args(each)]
    words.append(frozenset(names.MEASURES))
    assert len(set(words)) == len(words) > 30


def test_projectors_and_measures_are_offered_as_they_are_listed():
    """Their lists are the registries; the configuration has the words from there."""
    fields = RegistrationConfig.model_fields
    for field, offered in (
        (RendererConfig.model_fields["projector"], list(PROJECTORS)),
        (fields["projector"], names_where(lambda each: each.registers)),
        (fields["measure"], list(MEASURES)),
    ):
        union = get_args(field.annotation)
        words = union if "march" in union else get_args(union[0])
        assert list(words) == offered
    assert names_where(lambda each: each.registers) == ["march", "joseph", "slab"]


def test_names_are_there_without_numpy():
    code = "import sys, fluoro.names; sys.exit('numpy' in sys.modules or 'pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_a_stream_and_a_registration_have_the_same_section():
    sections = [model.model_fields["registration"] for model in (Config, RegisterConfig)]
    assert sections[0].annotation is sections[1].annotation is RegistrationConfig
    assert sections[0].default == sections[1].default == RegistrationConfig()


class Reader(Section):
    tables: tuple[FilePath, ...] = Field((), strict=False)
    notes: dict[str, FilePath] = Field({})


class Whole(Section):
    """A file of a kind that no list of paths knows."""

    ct: CtPath | None = None
    log: FilePath | None = None
    readers: tuple[Reader, ...] = Field((), strict=False)


@pytest.fixture
def read(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "configs").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def load(document, *overrides):
        (tmp_path / "configs" / "c.yaml").write_text(yaml.safe_dump(document))
        return load_sections(Whole, Path("../configs/c.yaml"), overrides)

    return load


def test_a_path_is_relative_to_where_it_was_given(tmp_path, read):
    document = {"ct": "ct.nii", "readers": [{"tables": ["a.csv"], "notes": {"n": "b.csv"}}]}
    config = read(document, "log=run.log")
    folder = tmp_path / "configs"
    assert config.ct == folder / "ct.nii"
    assert config.readers[0].tables == (folder / "a.csv",)
    assert config.readers[0].notes == {"n": folder / "b.csv"}
    assert config.log == tmp_path / "here" / "run.log"
    config = read(document, "readers=[{tables: [x.csv], notes: {m: /y.csv}}]")
    assert config.readers[0].tables == (tmp_path / "here" / "x.csv",)
    assert config.readers[0].notes == {"m": Path("/y.csv")}


def test_a_ct_may_have_a_name_and_a_file_may_not(tmp_path, read):
    config = read({"ct": "cache:chest-ct", "log": "cache:chest-ct"})
    assert config.ct == Path("cache:chest-ct")
    assert config.log == tmp_path / "configs" / "cache:chest-ct"


def test_what_no_file_can_be_called_is_refused(read):
    for value in ("a\0b", "~no-user-of-this-name/x"):
        with pytest.raises(InputError, match=r"c\.yaml: log: must be the path of a file or folder"):
            read({"log": value})


def test_a_path_given_in_code_stays_as_it_is():
    assert Whole(log=Path("a/b"), ct="c").log == Path("a/b")
