"""Addresses, names and images that ended the process amid Cyclone DDS or Holoscan."""

import os
import socket
import subprocess
import sys

import pytest
import yaml

import app
from fluoro.config import Config, DdsConfig
from fluoro.interop.dds import qos
from fluoro.interop.dds.node import DdsNode
from fluoro.interop.dds.ros_sensor import Image
from fluoro.interop.dds.timestamps import header_of
from tests.dds_support import own_domain, wait_until
from tests.session_support import ROOT, Program, record_of, small_ct, small_document, use_cache

pytestmark = pytest.mark.dds

UNRESOLVED = "nope.invalid"
"""RFC 6761 keeps the domain invalid free of names."""


@pytest.fixture
def yaml_file(tmp_path, monkeypatch):
    """Writes a YAML file of a small run whose files land in out/run."""
    use_cache(tmp_path, monkeypatch)

    def write(name="small.yaml", **sections):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        document = small_document(small_ct(tmp_path), tmp_path / "out", **sections)
        path.write_text(yaml.safe_dump(document))
        return path

    return write


def dds(**keys):
    return {"domain": own_domain(), "frames": {"protocol": "ros2"}, **keys}


NO_ADDRESSES = ["256.1.1.1", "::1", "0.0.0.0", "255.255.255.255", "1", "127.1", "a b", "", "a..b"]


@pytest.mark.parametrize("peer", [*NO_ADDRESSES, "127.0.0.1@lo", "127.0.0.1:0", "robot:65536"])
def test_peer_that_is_no_address_is_refused_by_validate(yaml_file, capsys, peer):
    path = yaml_file(dds=dds(peers=["127.0.0.1", peer]))
    assert app.main(["validate", str(path)]) == 2
    expected = f"{path}: dds.peers.1: must be an IPv4 address from 1.0.0.0 to 239.255.255.255"
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"fluoro: {expected}")
    assert line.endswith(f"got {peer!r}")


@pytest.mark.parametrize("peer", ["10.0.0.7", "localhost", "robot-1:7410", "239.255.0.1", "a_b.c."])
def test_addresses_and_host_names_are_good_peers(peer):
    assert DdsConfig(peers=[peer.rstrip(".")]).peers == (peer.rstrip("."),)


def test_peer_that_does_not_resolve_is_reported_by_validate(yaml_file, capsys):
    path = yaml_file(dds=dds(peers=[UNRESOLVED]))
    assert app.main(["validate", str(path)]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{path}: valid, but dds.peers.0: {UNRESOLVED} cannot be resolved: ")


def test_run_with_a_peer_that_does_not_resolve_ends_in_one_line(yaml_file):
    code, _, err = Program("run", yaml_file(dds=dds(peers=[UNRESOLVED]))).end()
    assert code == 2
    assert err.splitlines()[-1].startswith(
        f"fluoro: dds.peers.0: {UNRESOLVED} cannot be resolved: "
    )
    assert "Traceback" not in err


OWN_PROCESS = """
import sys
from fluoro.config import DdsConfig
from fluoro.interop.dds.node import DdsNode
try:
    DdsNode(DdsConfig(domain=int(sys.argv[1]), peers=[sys.argv[2]]))
except ValueError as error:
    print("refused:", error)
"""


@pytest.mark.parametrize("peer", [UNRESOLVED, "256.1.1.1", "::1", "0.0.0.0"])
def test_users_own_process_gets_an_error_and_goes_on(peer):
    done = subprocess.run(
        [sys.executable, "-c", OWN_PROCESS, str(own_domain()), peer],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("refused: ")
    assert peer in done.stdout


def test_peer_that_a_name_server_blocks_is_refused(monkeypatch):
    answer = [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("0.0.0.0", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: answer)
    with pytest.raises(ValueError, match=r"dds.peers.0: ad.example is no machine's address"):
        DdsNode(DdsConfig(domain=own_domain(), peers=["ad.example"]))


@pytest.mark.parametrize("interface", ["192.0.2.7", "::1"])
def test_interface_that_is_no_ipv4_address_of_this_machine_is_named(interface):
    with pytest.raises(ValueError, match=f"dds.interface must be an IPv4 .*, got {interface}"):
        DdsNode(DdsConfig(domain=own_domain(), interface=interface))


# -- names that are not UTF-8 ------------------------------------------------------------------

LATIN = os.fsdecode(b"r\xe9gion")
"""A folder's name in Latin-1, which is no UTF-8."""


@pytest.mark.parametrize("environment", [{}, {"LC_ALL": "POSIX"}], ids=["UTF-8", "POSIX"])
def test_configuration_file_whose_name_is_not_utf_8_is_run(yaml_file, tmp_path, environment):
    path = yaml_file(f"{LATIN}/{LATIN}.yaml", recorder={"contact_sheet": True})
    options = ["--frames", "3", "--set", "run.name=null"]
    code, _, err = Program("run", path, *options, **environment).end()
    assert code == 0, err
    (folder,) = (tmp_path / "out").iterdir()
    assert os.fsencode(folder.name).startswith(b"r\xe9gion-")
    assert record_of(folder)["frames"] == 3


def test_run_in_a_locale_of_ascii_alone_is_a_run(yaml_file, tmp_path):
    ascii_alone = {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    code, _, err = Program("run", yaml_file(), "--frames", "3", **ascii_alone).end()
    assert code == 0, err
    assert record_of(tmp_path / "out" / "run")["completed"]


def test_address_that_is_not_utf_8_is_refused_in_one_line(yaml_file):
    address = os.fsdecode(b"h\xf6st:10000")
    words = ["--driver", "--worker", "--fragments", "render", "--address", address]
    code, _, err = Program("run", yaml_file(), *words).end()
    assert code == 2
    assert "--address must be HOST:PORT" in err.splitlines()[-1]


# -- images that are too large for DDS -------------------------------------------------------


@pytest.mark.parametrize(
    ("size_px", "frames", "fits"),
    [
        ((8192, 8191), {"encoding": "mono8"}, True),
        ((8192, 8192), {"encoding": "mono8"}, False),
        ((8192, 4096), {"encoding": "mono16"}, False),
        ((4096, 4096), {"encoding": "32FC1"}, False),
        ((4096, 4096), {"protocol": "holohub"}, False),
        ((4096, 4095), {"protocol": "holohub"}, True),
        ((8192, 8192), {"protocol": "i4h"}, False),
    ],
)
def test_image_beyond_64_mb_is_refused_by_validate(yaml_file, capsys, size_px, frames, fits):
    width, height = size_px
    carm = {"detector_width_px": width, "detector_height_px": height}
    path = yaml_file(carm=carm, dds={"frames": frames})
    assert app.main(["validate", str(path)]) == (0 if fits else 2)
    said = capsys.readouterr()
    assert fits or "dds.frames: DDS takes images of at most 67107840 bytes" in said.err


def test_image_counts_as_it_is_read_out(yaml_file):
    carm = {"detector_width_px": 8192, "detector_height_px": 8192}
    path = yaml_file(carm={**carm, "columns": [0, 8000], "binning": 2}, dds={"frames": {}})
    config = Config.model_validate(yaml.safe_load(path.read_text()))
    assert config.carm.image_size_px == (4000, 4096)


def test_largest_image_that_validate_takes_goes_through_dds():
    node, came = DdsNode(DdsConfig(domain=own_domain())), []
    try:
        node.listen("rt/image", Image, qos.reliable(), lambda s, _: came.append(len(s.data)))
        writer = node.writer("rt/image", Image, qos.frames())
        wait_until(lambda: writer.readers() == 1)
        size = 64 * 2**20 - 2**10
        data = memoryview(bytearray(size))
        writer.write(Image(header_of(5, "carm_camera"), 1, size, "mono8", 0, size, data))
        wait_until(lambda: came == [size], 30)
    finally:
        node.close()


def test_name_of_a_topic_has_a_largest_length(yaml_file, capsys):
    path = yaml_file(dds=dds(control_topic="/" + "a" * 200))
    assert app.main(["validate", str(path)]) == 2
    assert "dds.control_topic: must be text of at most 200 characters" in capsys.readouterr().err
