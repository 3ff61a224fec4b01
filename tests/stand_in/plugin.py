"""A pytest plugin for runs of the tests marked `gpu` on the stand-in: `-p tests.stand_in.plugin`.

Every selected test passes or is one of the exceptions below; the run fails otherwise, and where an
exception is not selected any more.
"""

from __future__ import annotations

import pytest

EXCEPTIONS = {
    "test_configuration_runs_and_leaves_the_files_it_names[holoviz.yaml]": "Holoviz draws on a GPU",
    "test_metrics_of_a_gpu_are_its_drivers": "NVML tells them, which has no stand-in",
    "test_images_and_gradients_stay_on_the_gpu": "PyTorch of its own needs a GPU",
    "test_module_stays_on_the_gpu_beside_pytorchs_own_work": "PyTorch of its own needs a GPU",
}
"""Tests that the stand-in cannot run, and why."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the exceptions by their reason."""
    for item in items:
        if item.name in EXCEPTIONS and item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason=f"stand-in: {EXCEPTIONS[item.name]}"))


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests were selected, passed and are exceptions."""
    counts = {key: len(terminalreporter.getreports(key)) for key in ("passed", "skipped")}
    excepted = [
        r for r in terminalreporter.getreports("skipped") if "stand-in: " in str(r.longrepr)
    ]
    selected = terminalreporter._session.testscollected if terminalreporter._session else 0
    terminalreporter.write_line(
        f"{selected} selected = {counts['passed']} passed + {len(excepted)} exceptions by name"
    )
    if selected != counts["passed"] + len(excepted):
        terminalreporter.write_line("the stand-in left tests out: see the skipped and failed ones")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A test that is skipped for another reason fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    others = [r for r in reporter.getreports("skipped") if "stand-in: " not in str(r.longrepr)]
    if others and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
