"""The example of a robot that needs neither ROS 2 nor fluoro, beside a run."""

import re
import subprocess
import sys

import pytest

from tests.dds_support import ROOT, own_domain
from tests.session_support import run_small, small_ct, small_document

pytestmark = pytest.mark.dds

CLIENT = ROOT / "examples" / "dds_client.py"
FRAMES = 12


def test_client_without_fluoro_moves_the_c_arm_and_prints_the_frames_it_gets(tmp_path):
    assert not re.search(r"^\s*(from|import) (fluoro|operators)", CLIENT.read_text(), re.MULTILINE)
    source = {"kind": "dds", "watchdog_ms": 60_000}
    dds = {"domain": own_domain(), "frames": {}}
    document = small_document(small_ct(tmp_path), tmp_path, pose_source=source, dds=dds)
    document["run"]["frames"] = None
    command = [sys.executable, str(CLIENT), "--domain", str(own_domain()), "--frames", str(FRAMES)]
    client = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        outcome = run_small(document, lambda _frames: client.poll() is not None)
        printed, _ = client.communicate(timeout=60)
    finally:
        client.kill()
    assert client.returncode == 0
    assert re.findall(r"^ +(\d+)  \(\d+, \d+\)  mean +[\d.]+ +[\d.]+ ms$", printed, re.M) == [
        "0",
        "10",
    ]
    assert outcome.summary["frames"] >= FRAMES
