"""The random numbers of shaders/random.slang in NumPy, the reference of the noise.

Bits are exact integers; quantiles follow the kernel's float32 operations one by one, so that
counts agree except where a device's own square root rounds a value across a whole number.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "draw_bits",
    "exp_portable",
    "log_portable",
    "normal_quantile",
    "philox",
    "poisson_quantile",
    "uniform",
]

Float = NDArray[np.float32]
Word = NDArray[np.uint32]
POISSON_STAGE, ELECTRONIC_STAGE, GAIN_STAGE, DEATH_STAGE = 0, 1, 2, 3
LOW = np.uint64(0xFFFFFFFF)
SMALL_MEAN = np.float32(10.0)
LOG = (
    *(7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1),
    *(-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1),
)
"""Of ln(1 + m), highest power first (Cephes' logf)."""


def philox(counter: Word, key: tuple[int, int]) -> Word:
    """Philox4x32-10 (Salmon et al. 2011) of counters, shape (4, N), uint32."""
    c = [np.asarray(word, np.uint64) for word in counter]
    k0, k1 = (np.uint64(word) for word in key)
    for _ in range(10):
        a, b = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [(b >> np.uint64(32)) ^ c[1] ^ k0, b & LOW, (a >> np.uint64(32)) ^ c[3] ^ k1, a & LOW]
        k0, k1 = (k0 + np.uint64(0x9E3779B9)) & LOW, (k1 + np.uint64(0xBB67AE85)) & LOW
    words: Word = np.stack(c).astype(np.uint32)
    return words


def draw_bits(shape: tuple[int, int], seed: int, frame: int, stage: int) -> Word:
    """32 random bits for every pixel of an image, shape (height, width), uint32."""
    pixel = np.arange(shape[0] * shape[1], dtype=np.uint32)
    words = [stage, frame & 0xFFFFFFFF, frame >> 32]
    counter = np.stack([pixel, *(np.full_like(pixel, word) for word in words)])
    drawn: Word = philox(counter, (seed & 0xFFFFFFFF, seed >> 32))[0]
    return drawn.reshape(shape)


def uniform(bits: Word) -> tuple[Float, NDArray[np.bool_]]:
    """Distance to the nearer end of (0, 1), float32 in (0, 0.5), and whether that is the upper."""
    tail = ((bits >> 1).astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-32)
    return tail, (bits & 1).astype(bool)


def _polynomial(x: Float, *coefficients: float) -> Float:
    """Horner's scheme in float32, highest power first."""
    value = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        value = value * x + np.float32(coefficient)
    return value


def normal_quantile(tail: Float, upper: NDArray[np.bool_]) -> Float:
    """Standard normal quantile (Wichura 1988, AS 241, PPND7), float32."""
    q = np.float32(0.5) - tail
    r = np.float32(0.180625) - q * q
    n = _polynomial(r, 59.109374720, 159.29113202, 50.434271938, 3.3871327179)
    middle = q * n / _polynomial(r, 67.187563600, 78.757757664, 17.895169469, 1.0)
    r = np.sqrt(-log_portable(tail)) - np.float32(1.6)
    n = _polynomial(r, 0.17023821103, 1.3067284816, 2.7568153900, 1.4234372777)
    tails = n / _polynomial(r, 0.12021132975, 0.73700164250, 1.0)
    z = np.where(q <= np.float32(0.425), middle, tails)
    return np.asarray(np.where(upper, z, -z), np.float32)


def log_portable(x: Float) -> Float:
    """ln(x) for x > 0, no denormal, by the kernel's float32 operations."""
    bits = np.asarray(x, np.float32).view(np.int32)
    mantissa = bits & 0x7FFFFF
    low = mantissa < 0x3504F3
    power = ((bits >> 23) - 126 - low).astype(np.float32)
    m = (mantissa | np.where(low, 0x3F800000, 0x3F000000).astype(np.int32)).view(np.float32)
    m = m - np.float32(1)
    z = m * m
    p = _polynomial(m, *LOG)
    y = (m * z) * p + power * np.float32(-2.12194440e-4)
    found = (m + (y - np.float32(0.5) * z)) + power * np.float32(0.693359375)
    return np.asarray(found, np.float32)


def exp_portable(x: Float) -> Float:
    """exp(x) for x in [-87, 88] by the kernel's float32 operations."""
    x = np.clip(np.asarray(x, np.float32), np.float32(-87), np.float32(88))
    n = np.floor(x * np.float32(1.44269504) + np.float32(0.5))
    r = (x - n * np.float32(0.693359375)) - n * np.float32(-2.12194440e-4)
    p = _polynomial(r, 1.3888889e-3, 8.3333333e-3, 4.1666667e-2, 0.16666667, 0.5, 1.0, 1.0)
    return np.asarray(p * ((n.astype(np.int32) + 127) << 23).view(np.float32))


def poisson_quantile(mean: Float, bits: Word) -> Float:
    """Poisson counts of expected values and random bits, both (height, width); float32."""
    tail, upper = uniform(bits)
    safe = np.maximum(np.asarray(mean, np.float32), np.float32(1e-30))
    large = _quantile_by_expansion(safe, normal_quantile(tail, upper))
    small = _quantile_by_sum(safe, np.where(upper, np.float32(1) - tail, tail))
    counts = np.where(safe < SMALL_MEAN, small, large)
    return np.asarray(np.where(np.asarray(mean) > 0, counts, 0), np.float32)


def _quantile_by_sum(mean: Float, target: Float) -> Float:
    """Smallest count whose cumulative probability reaches `target`."""
    mean = np.minimum(mean, SMALL_MEAN)
    probability = exp_portable(-mean)
    cumulative, count = probability.copy(), np.zeros_like(mean)
    for k in range(1, 65):
        going = cumulative < target
        count = np.where(going, np.float32(k), count)
        probability = np.where(going, probability * (mean / np.float32(k)), probability)
        cumulative = np.where(going, cumulative + probability, cumulative)
    return count


def _quantile_by_expansion(mean: Float, w: Float) -> Float:
    """Q_N3 of Giles (2016), Algorithm 955."""
    s, w2 = np.sqrt(mean), w * w
    offset = s * w + (np.float32(0.33333333) + w2 * np.float32(0.16666667))
    second = np.float32(0.027777778) + w2 * np.float32(0.013888889)
    offset = offset - (w * second) / s
    third = np.float32(0.0086419753) + w2 * np.float32(0.0037037037)
    offset = offset + (np.float32(-0.019753086) + w2 * third) / mean
    whole = np.floor(mean)
    return np.asarray(np.maximum(whole + np.floor((mean - whole) + offset), 0), np.float32)
