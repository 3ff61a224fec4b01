// What the stand-in driver calls: one launch of the entry point STAND_IN_ENTRY, thread after thread.
#include <mutex>

extern "C" { GlobalParams_0 SLANG_globalParams; }

extern "C" void stand_in_run(const void* globals, const unsigned* grid, const unsigned* block)
{
    static std::mutex one_at_a_time;
    std::lock_guard<std::mutex> guard(one_at_a_time);
    memcpy((void*)&SLANG_globalParams, globals, sizeof SLANG_globalParams);
    gridDim = uint3{grid[0], grid[1], grid[2]};
    blockDim = uint3{block[0], block[1], block[2]};
    for (blockIdx.z = 0; blockIdx.z < gridDim.z; blockIdx.z++)
    for (blockIdx.y = 0; blockIdx.y < gridDim.y; blockIdx.y++)
    for (blockIdx.x = 0; blockIdx.x < gridDim.x; blockIdx.x++)
        for (threadIdx.z = 0; threadIdx.z < blockDim.z; threadIdx.z++)
        for (threadIdx.y = 0; threadIdx.y < blockDim.y; threadIdx.y++)
        for (threadIdx.x = 0; threadIdx.x < blockDim.x; threadIdx.x++)
            STAND_IN_ENTRY();
}
