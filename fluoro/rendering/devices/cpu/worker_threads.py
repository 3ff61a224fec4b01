"""The threads that CPU kernels share: made once, then waiting for the next dispatch.

A new thread often starts on the processor of the one that makes it, and moves when the system next
balances its load: 0.8 to 1.5 ms later, of an image's 10 and of an image chain's stage of 1. One
that waits is awake on a free processor within 0.05 ms.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fluoro.errors import DeviceError

__all__ = ["DISPATCHER", "ThreadLibrary", "available_cores", "open_thread_library"]

DISPATCHER = r"""
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <pthread.h>
#include <system_error>
#include <thread>
#include <vector>

using Row = void (*)(unsigned columns, unsigned row, unsigned layer, void* globals);

namespace
{
// One dispatch. Each thread that works on it takes the next row.
struct Job
{
    Row run;
    unsigned columns, rows, total;
    void* globals;
    std::atomic<unsigned> next{0};
    int wanted = 0;   // helpers that may still join
    int working = 0;  // helpers that have joined
    std::condition_variable left;

    void work()
    {
        for (unsigned row = next++; row < total; row = next++)
            run(columns, row % rows, row / rows, globals);
    }
};

// Helpers wait here. Dispatches at the same time do not share theirs: there are as many threads as
// if each had made its own. The caller always works itself, so that nothing depends on a helper.
struct Pool
{
    std::mutex lock;
    std::condition_variable wake;
    std::vector<Job*> jobs;  // that want helpers
    int spare = 0;           // helpers that no dispatch counts on

    void help()
    {
        std::unique_lock<std::mutex> held(lock);
        for (;;)
        {
            wake.wait(held, [&] { return !jobs.empty(); });
            Job* job = jobs.front();
            job->working++;
            if (--job->wanted == 0)
                jobs.erase(jobs.begin());
            held.unlock();
            job->work();
            held.lock();
            if (--job->working == 0)
                job->left.notify_one();
        }
    }

    // Reserves `helpers` threads, or fewer where the system has no more.
    int hire(int helpers)
    {
        try
        {
            for (; spare < helpers; spare++)
                std::thread([this] { help(); }).detach();
        }
        catch (const std::system_error&)
        {
            helpers = spare;
        }
        spare -= helpers;
        return helpers;
    }

    void run(Job& job, int helpers)
    {
        {
            std::lock_guard<std::mutex> held(lock);
            helpers = hire(helpers);
            job.wanted = helpers;
            if (helpers)
                jobs.push_back(&job);
        }
        for (int i = 0; i < helpers; i++)
            wake.notify_one();
        job.work();
        std::unique_lock<std::mutex> held(lock);
        for (auto each = jobs.begin(); each != jobs.end(); ++each)
            if (*each == &job)
            {
                jobs.erase(each);
                break;
            }
        job.left.wait(held, [&] { return job.working == 0; });
        spare += helpers;
    }
};

struct Queue;

// What a launch does: rows of a kernel, shared among threads.
struct Work
{
    Row run;
    unsigned columns, rows, total;
    std::vector<char> globals;
    int threads;
};

// A launch of a queue.
struct Launch : Work
{
    Queue* other;             // begins when that queue has done the launch of this number; or null
    uint64_t others_number;
    uint64_t number = 0;
    std::atomic<unsigned> next{0};
    int joined = 0, working = 0;
    bool ready;  // false: its kernel is not compiled yet
    bool begun = false;

    Launch(Work work, Queue* other, uint64_t others_number)
        : Work(std::move(work)), other(other), others_number(others_number), ready(run)
    {
    }

    bool takes_one() const
    {
        return ready && (joined == 0 || (begun && joined < threads && next < total));
    }

    void work()
    {
        for (unsigned row = next++; row < total; row = next++)
            run(columns, row % rows, row / rows, globals.data());
    }
};

int64_t steady_ns()
{
    using namespace std::chrono;
    return duration_cast<nanoseconds>(steady_clock::now().time_since_epoch()).count();
}

// Launches that line up. The queue's threads work on the first one; who ends it begins the next.
struct Queue
{
    static constexpr uint64_t kept = 4096;  // launches whose times are known
    std::mutex lock;
    std::condition_variable wake, ended;
    std::deque<Launch*> launches;
    std::vector<std::thread> threads;
    bool closing = false;
    uint64_t pushed = 0, done = 0;
    int64_t begun_ns[kept], ended_ns[kept];

    explicit Queue(int count)
    {
        try
        {
            for (int i = 0; i < count; i++)
                threads.emplace_back([this] { serve(); });
        }
        catch (const std::system_error&)
        {
            if (threads.empty())
                throw;
        }
    }

    void serve()
    {
        std::unique_lock<std::mutex> held(lock);
        for (;;)
        {
            wake.wait(held, [&] {
                return launches.empty() ? closing : launches.front()->takes_one();
            });
            if (launches.empty())
                return;
            Launch* launch = launches.front();
            launch->working++;
            if (launch->joined++ == 0)
                begin(launch, held);
            held.unlock();
            launch->work();
            held.lock();
            if (--launch->working == 0)
                end(launch);
        }
    }

    // By the first thread that takes it.
    void begin(Launch* launch, std::unique_lock<std::mutex>& held)
    {
        if (launch->other)
        {
            held.unlock();
            launch->other->wait(launch->others_number);
            held.lock();
        }
        begun_ns[launch->number % kept] = steady_ns();
        launch->begun = true;
        if (launch->other && launch->threads > 1)
            wake.notify_all();
    }

    void end(Launch* launch)
    {
        launches.pop_front();
        ended_ns[launch->number % kept] = steady_ns();
        done = launch->number;
        delete launch;
        ended.notify_all();
        if (!launches.empty() || closing)
            wake.notify_all();
    }

    // 0: the queue is closed.
    uint64_t push(Launch* launch)
    {
        std::lock_guard<std::mutex> held(lock);
        if (closing)
        {
            delete launch;
            return 0;
        }
        launch->number = ++pushed;
        launches.push_back(launch);
        if (launches.size() == 1)
            wake.notify_all();
        return launch->number;
    }

    // Gives a launch that waits for its kernel what it does.
    void supply(uint64_t number, Work work)
    {
        std::lock_guard<std::mutex> held(lock);
        for (Launch* launch : launches)
            if (launch->number == number)
            {
                static_cast<Work&>(*launch) = std::move(work);
                launch->ready = true;
            }
        wake.notify_all();
    }

    void wait(uint64_t number)
    {
        std::unique_lock<std::mutex> held(lock);
        ended.wait(held, [&] { return done >= number; });
    }

    // Takes no more launches, works off those there are, and ends its threads.
    void close()
    {
        {
            std::lock_guard<std::mutex> held(lock);
            closing = true;
        }
        wake.notify_all();
        for (std::thread& thread : threads)
            thread.join();
        threads.clear();
    }
};

Work work_of(Row run, unsigned columns, unsigned rows, unsigned layers, const char* globals,
             unsigned bytes, int threads)
{
    std::vector<char> block(globals, globals + bytes);
    return {run, columns, rows, rows * layers, std::move(block), threads};
}

Pool* pool = nullptr;  // never given back: its threads wait until the process ends

// A child that was forked has none of its parent's threads.
void renew() { pool = new Pool; }

__attribute__((constructor)) void begin()
{
    renew();
    pthread_atfork(nullptr, nullptr, renew);
}
}

// Runs the rows of a dispatch on `threads` threads.
extern "C" __attribute__((visibility("default"))) void fluoro_dispatch(
    Row run, unsigned columns, unsigned rows, unsigned layers, void* globals, int threads)
{
    Job job{run, columns, rows, rows * layers, globals};
    if (threads > 1 && job.total > 1)
        pool->run(job, threads - 1);
    else
        job.work();
}

// A queue with its own threads; null where the system has none.
extern "C" __attribute__((visibility("default"))) void* fluoro_queue_open(int threads)
{
    try
    {
        return new Queue(threads);
    }
    catch (const std::system_error&)
    {
        return nullptr;
    }
}

// Lines up a launch and returns its number, which count from 1; 0: the queue is closed. It begins
// no sooner than another queue (or null) has done its launch of a number, and than it has a kernel.
extern "C" __attribute__((visibility("default"))) uint64_t fluoro_queue_push(
    Queue* queue, Row run, unsigned columns, unsigned rows, unsigned layers, const char* globals,
    unsigned bytes, int threads, Queue* other, uint64_t others_number)
{
    Work work = work_of(run, columns, rows, layers, globals, bytes, threads);
    return queue->push(new Launch(std::move(work), other, others_number));
}

// Gives a launch that was pushed without a kernel (null) what it does; no rows: nothing.
extern "C" __attribute__((visibility("default"))) void fluoro_queue_supply(
    Queue* queue, uint64_t number, Row run, unsigned columns, unsigned rows, unsigned layers,
    const char* globals, unsigned bytes, int threads)
{
    queue->supply(number, work_of(run, columns, rows, layers, globals, bytes, threads));
}

// Returns when some launches are done: when the first one began, and the last one ended.
extern "C" __attribute__((visibility("default"))) void fluoro_queue_wait(
    Queue* queue, uint64_t first, uint64_t last, int64_t* times_ns)
{
    queue->wait(last);
    std::lock_guard<std::mutex> held(queue->lock);
    times_ns[0] = queue->begun_ns[first % Queue::kept];
    times_ns[1] = queue->ended_ns[last % Queue::kept];
}

// Ends the queue's threads once all launches are done. Its memory stays: others may wait for it.
extern "C" __attribute__((visibility("default"))) void fluoro_queue_close(Queue* queue)
{
    queue->close();
}
"""
"""C++ of the library that all kernels are dispatched through."""


def available_cores() -> int:
    """Return cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True)
class ThreadLibrary:
    """The functions of `DISPATCHER`.

    Attributes:
        dispatch: Row function, groups along columns, rows and layers, block of uniforms, threads.
        open_queue: Threads; gives a queue, or None where the system has no more threads.
        push: Queue, then as `dispatch`, with the block's size before the threads, then another
            queue or None and the number of its launch to wait for; gives a number, 0 where the
            queue is closed. Without a row function (None) the launch waits for one.
        supply: Queue and number of a launch without a row function, then as `push` up to the
            threads.
        wait: Queue, first and last number, two 64-bit integers to write the times
            to [ns, monotonic clock].
        close_queue: Queue.
    """

    dispatch: Any
    open_queue: Any
    push: Any
    supply: Any
    wait: Any
    close_queue: Any


@cache
def open_thread_library(path: Path) -> ThreadLibrary:
    """Load the compiled `DISPATCHER`.

    Raises:
        DeviceError: It is damaged.
    """
    try:
        # what returns at once keeps the interpreter's lock, which takes longer to come back
        waits, quick = ctypes.CDLL(str(path)), ctypes.PyDLL(str(path))
        return _functions(waits, quick)
    except (OSError, AttributeError) as error:
        raise DeviceError(f"{path} is damaged ({error}): delete its folder") from None


def _functions(waits: ctypes.CDLL, quick: ctypes.PyDLL) -> ThreadLibrary:
    pointer, count, number = ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint64
    groups = [pointer, *[count] * 3]
    work = [*groups, ctypes.c_char_p, count, ctypes.c_int]
    return ThreadLibrary(
        dispatch=_typed(waits.fluoro_dispatch, [*groups, pointer, ctypes.c_int]),
        open_queue=_typed(quick.fluoro_queue_open, [ctypes.c_int], pointer),
        push=_typed(quick.fluoro_queue_push, [pointer, *work, pointer, number], number),
        supply=_typed(quick.fluoro_queue_supply, [pointer, number, *work]),
        wait=_typed(waits.fluoro_queue_wait, [pointer, number, number, pointer]),
        close_queue=_typed(waits.fluoro_queue_close, [pointer]),
    )


def _typed(function: Any, arguments: list[Any], result: Any = None) -> Any:
    function.argtypes, function.restype = arguments, result
    return function
