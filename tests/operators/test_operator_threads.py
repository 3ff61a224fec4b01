"""Threads of the graph: what Python knows of them is kept, and they wait for their turn."""

import threading
import weakref

import operators.runtime  # noqa: F401  (before Holoscan)

# isort: split

import pytest
from holoscan.conditions import CountCondition
from holoscan.core import Application, Operator

from operators.frame_credits import FrameCredits
from operators.gil_state import keep_gil_state
from operators.graph import make_scheduler

TICKS = 50


class _Bare(Operator):
    """Counts the ticks that what Python knows of the thread has lived through."""

    def __init__(self, *args, counted, **kwargs):
        self._known, self._counted = threading.local(), counted
        super().__init__(*args, **kwargs)

    def compute(self, _input, _output, _context):
        self._known.ticks = getattr(self._known, "ticks", 0) + 1
        self._counted.append(self._known.ticks)


class _Kept(_Bare):
    compute = keep_gil_state(_Bare.compute)


class _App(Application):
    def __init__(self, kind, counted):
        self._kind, self._counted = kind, counted
        super().__init__()
        self.scheduler(make_scheduler(self, 1))

    def compose(self):
        count = CountCondition(self, TICKS)
        self.add_operator(self._kind(self, count, counted=self._counted, name="counts"))


@pytest.mark.parametrize(("kind", "ticks"), [(_Bare, 1), (_Kept, TICKS)])
def test_what_python_knows_of_a_thread_outlives_a_tick_where_it_is_kept(kind, ticks):
    # the first case is why the second is needed: if it fails, Holoscan keeps the threads itself
    counted = []
    _App(kind, counted).run()
    assert len(counted) == TICKS
    assert max(counted) == ticks


def test_a_thread_of_python_ends_as_ever():
    of_thread, left = threading.local(), []

    def compute(known):
        of_thread.known = known
        left.append(weakref.ref(known))

    def run():
        keep_gil_state(compute)(threading.Event())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert left[0]() is None


def test_there_are_as_many_credits_as_were_given():
    frame_credits = FrameCredits(2)
    assert [frame_credits.acquire(0.0) for _ in range(3)] == [True, True, False]
    frame_credits.release()
    assert [frame_credits.acquire(0.0) for _ in range(2)] == [True, False]


def test_who_waits_for_a_turn_has_it_once_it_is_given():
    frame_credits, taken = FrameCredits(0), []
    thread = threading.Thread(target=lambda: taken.append(frame_credits.acquire(60.0)))
    thread.start()
    frame_credits.release()
    thread.join(30.0)
    assert taken == [True]
    assert not frame_credits.acquire(0.0)
