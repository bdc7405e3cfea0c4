"""Philox4x32-10 in NumPy: what cuda/dropout.cu is tested against.

Source: J. Salmon, M. Moraes, R. Dror and D. Shaw, "Parallel random numbers: as easy as
1, 2, 3", SC 2011, section 4.3. Its known answers (kat_vectors of Random123, by the same
authors) are in test_cuda_dropout.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LOW = np.uint64(0xFFFFFFFF)
HIGH = np.uint64(32)
MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
WEYL = 0x9E3779B9, 0xBB67AE85  # what is added to the key from round to round


def philox(counter: Sequence, key: Sequence[int]) -> list[np.ndarray]:
    """Four words of 32 bits, for each counter: four words, each perhaps an array."""
    c = [np.asarray(word, np.uint64) for word in counter]
    for number in range(10):
        k = [
            np.uint64(word + number * step & 0xFFFFFFFF)
            for word, step in zip(key, WEYL, strict=True)
        ]
        first, second = c[0] * MULTIPLIERS[0], c[2] * MULTIPLIERS[1]
        c = [
            (second >> HIGH) ^ c[1] ^ k[0],
            second & LOW,
            (first >> HIGH) ^ c[3] ^ k[1],
            first & LOW,
        ]
    return c


def words(n: int, seed: int, draw: int, start: int = 0) -> np.ndarray:
    """Words number `start` to start + n of a draw."""
    block = np.arange(start // 4, -(-(start + n) // 4), dtype=np.uint64)
    number = [np.full_like(block, part) for part in (draw & 0xFFFFFFFF, draw >> 32)]
    counter = (block & LOW, block >> HIGH, *number)
    found = np.stack(philox(counter, (seed & 0xFFFFFFFF, seed >> 32)))
    return found.T.reshape(-1)[start % 4 :][:n]
