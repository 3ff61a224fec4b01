"""The shipped configurations by kind; each process of the tests reads a file once for all tests."""

from functools import cache
from pathlib import Path

from fluoro.config import load_config
from fluoro.datasets.training.config import is_dataset_file
from fluoro.registration.config import is_register_file

EVERY_FILE = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
DATASETS = [path for path in EVERY_FILE if is_dataset_file(path)]
REGISTRATIONS = [path for path in EVERY_FILE if is_register_file(path)]
STREAMS = [path for path in EVERY_FILE if path not in DATASETS + REGISTRATIONS]

config_of = cache(load_config)
"""What a file of `STREAMS` says."""
