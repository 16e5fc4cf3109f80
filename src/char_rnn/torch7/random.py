"""Torch7's random numbers: the Mersenne Twister of Matsumoto and Nishimura 1998 (MT19937), one 32-bit word a draw.

A uniform number is ``u = word * 2**-32`` in double precision, for every type of tensor; tensors are filled in the order
of their storage. One draw of n numbers gives the same as n draws of one.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

_WORDS = 624
_UNIT = 2.0**-32


class Generator:
    """Torch7's generator after ``torch.manualSeed(seed)``.

    Args:
        seed: Any integer. Lua rounds it to a double (exact up to 2**53), taken modulo 2**32.
    """

    def __init__(self, seed: int) -> None:
        self._twister = np.random.MT19937(0)
        # NumPy seeds its older generator as Torch7 does: Knuth, The Art of Computer Programming, vol. 2, p. 106.
        state: Any = np.random.RandomState(_low_word(seed)).get_state(legacy=False)
        self._twister.state = state

    def words(self, n: int) -> npt.NDArray[np.uint64]:
        """Return the next ``n`` words (n,), each below 2**32, as ``torch.random()`` does."""
        return np.asarray(self._twister.random_raw(n), dtype=np.uint64)

    def uniform(self, low: float, high: float, n: int) -> npt.NDArray[np.float64]:
        """Return ``n`` numbers (n,) from ``low`` to below ``high`` (up to rounding)."""
        return np.asarray(self._unit(n) * (high - low) + low)

    def bernoulli(self, p: float, n: int) -> npt.NDArray[np.bool_]:
        """Return ``n`` booleans (n,), each true with probability ``p``: if u <= p, not u < p."""
        return np.asarray(self._unit(n) <= p)

    def multinomial(self, probabilities: npt.NDArray[np.floating]) -> int:
        """Draw an index with one word, as Torch7 does since March 2016.

        Args:
            probabilities: (V,), 0 or more, in float32 (char-rnn) or float64 (torch-rnn); they need not sum to 1. The
                running sums are in double precision in both cases.

        Returns:
            The first index, from 0, at which the running sum divided by the total reaches u.

        Raises:
            ValueError: A probability is negative or not finite, or all are 0. No word is drawn then.
        """
        sums = np.add.accumulate(probabilities.astype(np.float64))
        total = float(sums[-1])
        if not 0 < total < math.inf or np.minimum.reduce(probabilities) < 0:
            raise ValueError("probabilities: must be finite numbers, 0 or more, and not all 0")
        sums /= total
        sums[-1] = 1.0
        return int(sums.searchsorted(self._twister.random_raw() * _UNIT))

    def state_array(self) -> npt.NDArray[np.uint32]:
        """Return the state (625,) for a checkpoint: the twister's 624 words, then the number of used ones."""
        state = self._twister.state["state"]
        return np.append(state["key"], state["pos"]).astype(np.uint32)

    def load_state_array(self, state: npt.ArrayLike) -> None:
        """Restore a state of :meth:`state_array`.

        Raises:
            ValueError: It is not one.
        """
        words = np.asarray(state)
        is_state = words.shape == (_WORDS + 1,) and words.dtype.kind in "ui"
        if not is_state or words.min() < 0 or words.max() >= 2**32 or words[_WORDS] > _WORDS:
            raise ValueError(
                f"generator state: must be {_WORDS} 32-bit words and a position up to {_WORDS};"
                f" given {words.dtype} of shape {words.shape}"
            )
        key, position = words[:_WORDS].astype(np.uint32), int(words[_WORDS])
        self._twister.state = {"bit_generator": "MT19937", "state": {"key": key, "pos": position}}

    def _unit(self, n: int) -> npt.NDArray[np.float64]:
        return np.multiply(self.words(n), _UNIT, dtype=np.float64)


def _low_word(seed: int) -> int:
    """Return the low 32 bits of the C long of Lua's double on x86-64; 0 out of its range."""
    number = float(min(max(seed, -(2**64)), 2**64))
    return int(number) % 2**32 if -(2.0**63) <= number < 2.0**63 else 0
