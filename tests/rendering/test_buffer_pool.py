"""Device buffers that are used again."""

import gc

import numpy as np
import pytest

from fluoro.rendering.devices.buffer_pool import LARGEST_BYTES, MOST_BYTES, BufferPool
from fluoro.rendering.devices.selection import open_device
from tests.support import require_vulkan


class Made:
    """Makes buffers and remembers their sizes."""

    def __init__(self):
        self.sizes = []

    def __call__(self, size_bytes):
        self.sizes.append(size_bytes)
        return object()


def test_a_buffer_that_came_back_is_taken_again():
    made = Made()
    pool = BufferPool(made)
    first, size_bytes = pool.take(1000)
    assert size_bytes >= 1000
    assert pool.take(1000)[0] is not first
    pool.give(first, size_bytes)
    assert pool.take(900)[0] is first
    assert len(made.sizes) == 2


def test_a_buffer_serves_no_larger_array():
    pool = BufferPool(Made())
    small, size_bytes = pool.take(256)
    pool.give(small, size_bytes)
    assert pool.take(257)[0] is not small


def test_volumes_and_more_than_a_stream_needs_are_not_kept():
    made = Made()
    pool = BufferPool(made)
    for size_bytes, kept in ((LARGEST_BYTES + 1, 0), (LARGEST_BYTES, MOST_BYTES // LARGEST_BYTES)):
        taken = [pool.take(size_bytes) for _ in range(MOST_BYTES // LARGEST_BYTES + 3)]
        for each in taken:
            pool.give(*each)
        before = len(made.sizes)
        again = [pool.take(size_bytes)[0] for _ in taken]
        assert len(again) - (len(made.sizes) - before) == kept


def test_of_many_sizes_those_last_used_are_kept():
    made = Made()
    pool = BufferPool(made)
    sizes = [LARGEST_BYTES - 4096 * number for number in range(3 * MOST_BYTES // LARGEST_BYTES)]
    for size_bytes in sizes:
        pool.give(*pool.take(size_bytes))
    kept = MOST_BYTES // LARGEST_BYTES
    for size_bytes in sizes[-kept:]:
        pool.take(size_bytes)
    assert len(made.sizes) == len(sizes), "the last ones were there"
    pool.take(sizes[0])
    assert len(made.sizes) == len(sizes) + 1


def test_a_buffer_may_come_back_while_one_is_taken():
    """As when the end of an array interrupts the thread that takes."""
    pool = BufferPool(Made())
    other = pool.take(512)
    with pool._lock:
        pool.give(*other)
    assert pool.take(512)[0] is other[0]


def test_a_closed_pool_keeps_nothing():
    made = Made()
    pool = BufferPool(made)
    buffer = pool.take(64)
    pool.close()
    pool.give(*buffer)
    assert pool.take(64)[0] is not buffer[0]


@pytest.fixture
def device():
    require_vulkan()
    device = open_device("llvmpipe")
    yield device
    device.close()


def test_an_array_gives_its_buffer_back_when_it_is_no_longer_used(device):
    array = device.to_device(np.arange(12.0, dtype=np.float32))
    buffer = array.buffer
    assert device.empty((12,)).buffer is not buffer
    del array
    gc.collect()
    found = device.empty((3, 4))
    assert found.buffer is buffer
    assert device.to_host(found).shape == (3, 4)


def test_an_array_may_outlive_its_device():
    require_vulkan()
    device = open_device("llvmpipe")
    array = device.empty((4,))
    device.close()
    del array
    gc.collect()
