// CUDA for a host's compiler: what Slang's CUDA prelude and fluoro's kernels ask of NVRTC.
// Threads run one after another; a warp is one lane, which is all that fluoro's kernels need.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#define int64_t slang_int64    // the prelude has its own, of another type
#define uint64_t slang_uint64
using std::isfinite;
using std::isinf;
using std::isnan;
using std::ptrdiff_t;

#define __device__
#define __host__
#define __global__
#define __constant__
#define __shared__ static
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __align__(n) __attribute__((aligned(n)))
#define __CUDA_ARCH__ 860
#define __CUDACC_RTC__ 1

#define VECTORS(T, B) \
    struct B##1 { T x; }; struct B##2 { T x, y; }; struct B##3 { T x, y, z; }; struct B##4 { T x, y, z, w; };
VECTORS(float, float) VECTORS(double, double) VECTORS(int, int) VECTORS(unsigned, uint)
VECTORS(short, short) VECTORS(unsigned short, ushort) VECTORS(signed char, char)
VECTORS(unsigned char, uchar) VECTORS(long long, longlong) VECTORS(unsigned long long, ulonglong)
#undef VECTORS

struct dim3 { unsigned x, y, z; operator uint3() const { return {x, y, z}; } };
static uint3 threadIdx, blockIdx, blockDim, gridDim;
static const int warpSize = 32;

// ---- bits and warps

template <class T> static inline T __ldg(const T* at) { return *at; }
template <class T> static inline T __shfl_sync(unsigned, T v, int, int = 32) { return v; }
template <class T> static inline T __shfl_xor_sync(unsigned, T v, int, int = 32) { return v; }
static inline unsigned __activemask() { return 1u; }
static inline unsigned __ballot_sync(unsigned, int p) { return p ? 1u : 0u; }
static inline int __any_sync(unsigned, int p) { return p; }
static inline int __all_sync(unsigned, int p) { return p; }
#define REDUCTION(n) template <class T> static inline T __reduce_##n##_sync(unsigned, T v) { return v; }
REDUCTION(min) REDUCTION(max) REDUCTION(add) REDUCTION(and) REDUCTION(or) REDUCTION(xor)
#undef REDUCTION
static inline void __syncthreads() {}
static inline void __syncwarp(unsigned = 0) {}
static inline void __threadfence() {}
static inline void __threadfence_block() {}
static inline int __popc(unsigned v) { return __builtin_popcount(v); }
static inline int __popcll(unsigned long long v) { return __builtin_popcountll(v); }
static inline int __ffs(int v) { return __builtin_ffs(v); }
static inline int __ffsll(long long v) { return __builtin_ffsll(v); }
static inline int __clz(int v) { return v ? __builtin_clz(v) : 32; }
static inline int __clzll(long long v) { return v ? __builtin_clzll(v) : 64; }
static inline unsigned __brev(unsigned v)
{
    unsigned r = 0;
    for (int i = 0; i < 32; i++) r |= ((v >> i) & 1u) << (31 - i);
    return r;
}
static inline unsigned long long __brevll(unsigned long long v)
{
    return ((unsigned long long)__brev((unsigned)v) << 32) | __brev((unsigned)(v >> 32));
}

template <class To, class From> static inline To same_bits(From v)
{
    static_assert(sizeof(To) == sizeof(From), "");
    To r;
    memcpy(&r, &v, sizeof r);
    return r;
}
static inline float __int_as_float(int v) { return same_bits<float>(v); }
static inline int __float_as_int(float v) { return same_bits<int>(v); }
static inline float __uint_as_float(unsigned v) { return same_bits<float>(v); }
static inline unsigned __float_as_uint(float v) { return same_bits<unsigned>(v); }
static inline double __longlong_as_double(long long v) { return same_bits<double>(v); }
static inline long long __double_as_longlong(double v) { return same_bits<long long>(v); }
static inline double __hiloint2double(int high, int low)
{
    return __longlong_as_double(((long long)high << 32) | (unsigned)low);
}
static inline int __double2loint(double d) { return (int)__double_as_longlong(d); }
static inline int __double2hiint(double d) { return (int)(__double_as_longlong(d) >> 32); }
static inline float rsqrtf(float v) { return 1.0f / sqrtf(v); }
static inline double rsqrt(double v) { return 1.0 / sqrt(v); }

// ---- atomics, with one thread at a time

#define ATOMIC(name, value) \
    template <class T, class U> static inline T atomic##name(T* at, U v) { T old = *at; *at = (T)(value); return old; }
ATOMIC(Add, old + (T)v) ATOMIC(Min, std::min(old, (T)v)) ATOMIC(Max, std::max(old, (T)v))
ATOMIC(Exch, v) ATOMIC(And, old & (T)v) ATOMIC(Or, old | (T)v) ATOMIC(Xor, old ^ (T)v)
#undef ATOMIC
template <class T, class U, class V> static inline T atomicCAS(T* at, U expected, V v)
{
    T old = *at;
    if (old == (T)expected) *at = (T)v;
    return old;
}

// ---- textures, as driver.c keeps them

typedef unsigned long long cudaTextureObject_t, CUtexObject, cudaSurfaceObject_t, CUsurfObject;
enum cudaSurfaceBoundaryMode { cudaBoundaryModeZero, cudaBoundaryModeClamp, cudaBoundaryModeTrap };

struct StandInTexture { int size[3], clamps[3], linear, normalised; const float* values; };

// Lower voxel, its neighbour and the neighbour's weight in steps of 1/256 ("Texture Fetching" in
// NVIDIA's CUDA C++ Programming Guide: 9 bits, 8 of them of the fraction).
static inline float texture_place(const StandInTexture& t, int axis, float at, int& lower, int& upper)
{
    if (!t.clamps[axis] || !t.linear) abort();  // fluoro has no other textures
    float place = (t.normalised ? at * (float)t.size[axis] : at) - 0.5f;
    float whole = floorf(place);
    lower = std::min(std::max((int)whole, 0), t.size[axis] - 1);
    upper = std::min(std::max((int)whole + 1, 0), t.size[axis] - 1);
    return floorf((place - whole) * 256.0f + 0.5f) / 256.0f;
}

template <class T> static inline T tex3DLod(cudaTextureObject_t object, float x, float y, float z, float)
{
    const StandInTexture& t = *(const StandInTexture*)object;
    int x0, x1, y0, y1, z0, z1;
    float fx = texture_place(t, 0, x, x0, x1);
    float fy = texture_place(t, 1, y, y0, y1);
    float fz = texture_place(t, 2, z, z0, z1);
    auto row = [&](int zz, int yy) {
        const float* values = t.values + ((size_t)zz * t.size[1] + yy) * t.size[0];
        return values[x0] * (1 - fx) + values[x1] * fx;
    };
    float below = row(z0, y0) * (1 - fy) + row(z0, y1) * fy;
    float above = row(z1, y0) * (1 - fy) + row(z1, y1) * fy;
    return below * (1 - fz) + above * fz;
}
template <class T> static inline T tex3D(cudaTextureObject_t object, float x, float y, float z)
{
    return tex3DLod<T>(object, x, y, z, 0);
}
