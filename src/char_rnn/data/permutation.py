"""A random order of very many things, without a list of them.

A Feistel network over the next even power of two, walked until it lands inside: a bijection that gives the place of
any element alone (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002). The round function is
SplitMix64's finalizer (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014). Shuffling
10^9 windows takes a few kilobytes, where a list of them takes 8 GB, and starting in the middle is free.
"""

import numpy as np
import numpy.typing as npt

ROUNDS = 6

UInt64s = npt.NDArray[np.uint64]


class Permutation:
    """A random permutation of 0 to length - 1.

    Args:
        length: How many numbers, 1 to 2^62.
        seed: Numbers, 0 or above, that choose the permutation; the same ones give the same one on every machine.
    """

    def __init__(self, length: int, seed: tuple[int, ...]) -> None:
        if not 1 <= length <= 1 << 62:
            raise ValueError(f"permutation length {length}: must be 1 to 2^62")
        self.length = length
        self._half_bits = np.uint64(max(1, ((length - 1).bit_length() + 1) // 2))
        self._mask = np.uint64((1 << int(self._half_bits)) - 1)
        self._keys = np.random.SeedSequence(seed).generate_state(ROUNDS, np.uint64)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, places: slice) -> npt.NDArray[np.int64]:
        """Give the numbers at some places, shape (N,)."""
        numbers = self._shuffled(np.arange(*places.indices(self.length), dtype=np.uint64))
        outside = np.flatnonzero(numbers >= self.length)
        while outside.size:
            numbers[outside] = self._shuffled(numbers[outside])
            outside = outside[numbers[outside] >= self.length]
        return numbers.astype(np.int64)

    def _shuffled(self, numbers: UInt64s) -> UInt64s:
        left, right = numbers >> self._half_bits, numbers & self._mask
        for key in self._keys:
            left, right = right, left ^ (_mixed(right + key) & self._mask)
        result: UInt64s = left << self._half_bits | right
        return result


def _mixed(numbers: UInt64s) -> UInt64s:
    numbers = (numbers ^ numbers >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ numbers >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    result: UInt64s = numbers ^ numbers >> np.uint64(31)
    return result
