"""Data sets: published ones that are read, and training sets that are made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluoro.lazy_names import lazy_names

if TYPE_CHECKING:
    from fluoro.datasets.evaluation.evaluate import Evaluation, Settings, evaluate
    from fluoro.datasets.published.deepfluoro import DeepFluoroFile
    from fluoro.datasets.published.ljubljana import LjubljanaFile
    from fluoro.datasets.published.open_set import open_published
    from fluoro.datasets.published.subject import PublishedSet, Subject, XrayView
    from fluoro.datasets.published.xvr import XvrFolder
    from fluoro.datasets.training.build import build
    from fluoro.datasets.training.config import DatasetConfig, load_dataset_file
    from fluoro.datasets.training.reader import TrainingFrame, TrainingSet
    from fluoro.datasets.training.remake import remake

__all__ = [
    "DatasetConfig",
    "DeepFluoroFile",
    "Evaluation",
    "LjubljanaFile",
    "PublishedSet",
    "Settings",
    "Subject",
    "TrainingFrame",
    "TrainingSet",
    "XrayView",
    "XvrFolder",
    "build",
    "evaluate",
    "load_dataset_file",
    "open_published",
    "remake",
]

if not TYPE_CHECKING:  # a type checker is to miss a name that is not there
    __getattr__, __dir__ = lazy_names(__name__)
