"""Training sets by the machines of a Ray cluster: one that is lost changes no byte."""

import importlib.util
import threading
import time

import pytest
import yaml

from tests.datasets.test_training_sets import QuietWork, document, sums
from tests.session_support import use_cache

# isort: split

from fluoro.datasets.training.build import build
from fluoro.datasets.training.config import load_dataset_file
from fluoro.datasets.training.reader import TrainingSet
from fluoro.errors import DeviceError, InputError

NEEDS_RAY = "needs Ray: pip install -r requirements/ray.txt"
with_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason=NEEDS_RAY)
DATASET = {"frames": 600, "frames_per_case": 200, "frames_per_shard": 20}


def set_file(folder, **dataset):
    path = folder / "set.yaml"
    path.write_text(yaml.safe_dump(document(dataset=dataset)))
    return load_dataset_file(path)


def test_without_ray_one_line_names_the_package(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda n: None if n == "ray" else find(n))
    with pytest.raises(InputError, match=r"ray: .* -m pip install ray"):
        build(set_file(tmp_path, frames=4), tmp_path / "out", QuietWork(), ray_address="local")


@with_ray
def test_cluster_that_does_not_answer_is_one_line(tmp_path):
    with pytest.raises(DeviceError, match=r"--ray 127.0.0.1:9: the cluster does not answer"):
        build(
            set_file(tmp_path, frames=4), tmp_path / "out", QuietWork(), ray_address="127.0.0.1:9"
        )


@with_ray
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_lost_machine_of_a_cluster_changes_no_byte_and_no_frame(tmp_path, monkeypatch):
    import ray
    from ray.cluster_utils import Cluster

    use_cache(tmp_path, monkeypatch)
    file, out = set_file(tmp_path, **DATASET), tmp_path / "cluster"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    other = cluster.add_node(num_cpus=1)
    lost = []

    def lose():
        while len(list(out.glob("shard-*"))) < 4:
            time.sleep(0.1)
        cluster.remove_node(other, allow_graceful=False)
        lost.append(len(list(out.glob("shard-*"))))

    thread = threading.Thread(target=lose, daemon=True)
    thread.start()
    try:
        outcome = build(file, out, QuietWork(), ray_address=cluster.address)
    finally:
        ray.shutdown()
        cluster.shutdown()
    thread.join(10)
    assert lost
    assert lost[0] < 30, "the machine was lost too late to matter"
    assert outcome.complete, outcome.failures
    assert [TrainingSet(out)[n].facts["index"] for n in range(600)] == list(range(600))
    assert build(file, tmp_path / "processes", QuietWork(), workers=2).complete
    assert sums(out) == sums(tmp_path / "processes")
