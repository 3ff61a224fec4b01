"""The threads that CPU kernels share: made once, then waiting for the next dispatch.

A new thread often starts on the processor of the one that makes it, and moves when the system next
balances its load: 0.8 to 1.5 ms later, of a picture's 10 and of an image chain's stage of 1. One
that waits is awake on a free processor within 0.05 ms.
"""

__all__ = ["DISPATCHER"]

DISPATCHER = r"""
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <pthread.h>
#include <system_error>
#include <thread>
#include <vector>

using Row = void (*)(unsigned columns, unsigned row, unsigned layer, void* globals);

namespace
{
// One dispatch. Whoever works on it takes the next row that is left.
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

    // Counts on so many helpers, or on fewer where the system has no more threads.
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
"""
"""C++ of the library that all kernels are dispatched through."""
