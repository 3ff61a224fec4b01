"""Random numbers that depend on nothing but where they are drawn: seed, key and number."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from statistics import NormalDist

__all__ = ["Chance", "drawn_seed"]

FIFTY_THREE_BITS = 2.0**-53
STANDARD_NORMAL = NormalDist()


@dataclass(frozen=True)
class Chance:
    """Random numbers of one key of one frame.

    They are hashes: a key that is added or left out changes no other key's numbers, and neither
    does the order in which frames are made, or the version of NumPy.

    Attributes:
        seed: Of the data set.
        number: Of the frame or the case, from 0.
        key: Path of the key whose value is drawn.
    """

    seed: int
    number: int
    key: str

    def at(self, part: str | int) -> Chance:
        """Return the random numbers of a key below this one."""
        return Chance(self.seed, self.number, f"{self.key}.{part}" if self.key else str(part))

    def bits(self, count: int, turn: int = 0) -> int:
        """Return a random whole number of at most 64 bits.

        Args:
            count: Number of bits.
            turn: A key that needs several numbers counts them.
        """
        text = f"{self.seed}/{self.number}/{turn}/{self.key}"
        return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> (64 - count)

    def uniform(self, low: float = 0.0, high: float = 1.0, turn: int = 0) -> float:
        """Return a number in [low, high], uniformly distributed."""
        return low + (high - low) * (self.bits(53, turn) * FIFTY_THREE_BITS)

    def integer(self, low: int, high: int, turn: int = 0) -> int:
        """Return a whole number in [low, high], uniformly distributed."""
        return low + int(self.uniform(turn=turn) * (high - low + 1))

    def normal(self, low: float, high: float) -> float:
        """Return a number of the standard normal distribution, cut off outside of [low, high]."""
        first, last = STANDARD_NORMAL.cdf(low), STANDARD_NORMAL.cdf(high)
        share = self.uniform(first, last)
        return STANDARD_NORMAL.inv_cdf(min(max(share, FIFTY_THREE_BITS), 1 - FIFTY_THREE_BITS))


def drawn_seed(seed: int, number: int) -> int:
    """Return the seed of a frame's noise, 0 to 2**63 - 1."""
    return Chance(seed, number, "run.seed").bits(63)
