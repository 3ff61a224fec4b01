"""A share of tools/check/fuzz_readers.py: damaged files give one line or a whole volume."""

import functools
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluoro.volume.formats.dicom import dicom_ct as dicom_reader
from fluoro.xray_files import xray_file
from tools.check import fuzz_readers as fuzz

KINDS = list(fuzz.subjects(Path()))


@pytest.fixture(scope="module", autouse=True)
def _one_decoder(tmp_path_factory):
    """One decoding process for all cases, and a cache of their own."""
    with pytest.MonkeyPatch.context() as patch, fuzz.SharedReader() as shared:
        for reader in (dicom_reader, xray_file):
            patch.setattr(reader, "FrameReader", lambda: shared)
        patch.setenv("FLUORO_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield
        shared.close()


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Cases by kind, made when they are first requested."""
    folder = tmp_path_factory.mktemp("fuzz")
    return functools.cache(lambda kind: fuzz.Cases(kind, folder))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32 - 1))
def test_damage_gives_a_whole_volume_or_one_line_and_no_other_word(cases, kind, seed):
    with fuzz.caught_words() as words:
        cases(kind).run(random.Random(seed), words)
