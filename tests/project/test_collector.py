"""Garbage collection: off around imports, on in a stream, without what imports made."""

import gc
import json
import subprocess
import sys

import pytest
import yaml

from fluoro.command_line.collector import no_collections
from tests.session_support import ROOT, small_ct, small_document

IN_A_STREAM = """
import gc, json, sys
import app
from operators import session
from operators.sinks.recorder import RecorderSink

def conclude(self, **arguments):
    print(json.dumps([gc.isenabled(), gc.get_freeze_count(), len(gc.get_objects())]))
    return kept(self, **arguments)

kept, RecorderSink.conclude = RecorderSink.conclude, conclude
sys.exit(app.main(sys.argv[1:]))
"""


def failing_import():
    with no_collections():
        assert not gc.isenabled()
        raise ImportError


@pytest.mark.parametrize("before", [True, False])
def test_it_is_as_before_also_after_an_error(before):
    (gc.enable if before else gc.disable)()
    try:
        with pytest.raises(ImportError):
            failing_import()
        assert gc.isenabled() == before
    finally:
        gc.enable()


def test_a_stream_collects_and_leaves_out_what_imports_made(tmp_path):
    config = tmp_path / "small.yaml"
    config.write_text(yaml.safe_dump(small_document(small_ct(tmp_path), tmp_path / "out")))
    words = [sys.executable, "-c", IN_A_STREAM, "run", config]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    collects, left_out, looked_at = json.loads(done.stdout.splitlines()[0])
    assert collects
    assert left_out > 10 * looked_at
