"""Holding a part of the rows out, in each class alike."""

from __future__ import annotations

import numpy as np

__all__ = ["stratified_split"]


def stratified_split(
    target: np.ndarray, *, test_size: float = 0.25, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the rows to train on and of those held out, both shuffled.

    The nearest whole number to `test_size` of all rows is held out. Each class gives
    its share, rounded down, and those with the largest remainders one more; at least
    one row of each is held out and at least one is left to train on.

    Args:
        target: class of each row, shape (rows,).
        test_size: the held-out fraction, between 0 and 1.
        seed: the same seed gives the same split.

    Returns:
        Two int64 arrays that have no position in common and hold all of them.

    Raises:
        ValueError: `test_size` is not between 0 and 1, or a class has a single row.

    >>> train, test = stratified_split(np.array([0, 0, 0, 0, 1, 1, 1, 1]))
    >>> len(train), len(test)
    (6, 2)
    """
    if not 0 < test_size < 1:
        raise ValueError(f"test_size must lie between 0 and 1, got {test_size}")
    labels, counts = np.unique(target, return_counts=True)
    if len(counts) and counts.min() < 2:
        raise ValueError(
            f"class {labels[counts.argmin()]} has a single row: one is needed to train "
            f"on and one to hold out"
        )
    rng = np.random.default_rng(seed)
    share = counts * test_size
    held = share.astype(np.int64)
    missing = int(len(target) * test_size + 0.5) - held.sum()
    by_chance = rng.permutation(len(labels))  # which of equal remainders come first
    remainder = (share - held)[by_chance]
    held[by_chance[np.argsort(-remainder, kind="stable")[:missing]]] += 1
    held = np.clip(held, 1, counts - 1)
    train: list[np.ndarray] = []
    test: list[np.ndarray] = []
    for label, number in zip(labels, held):
        rows = rng.permutation(np.flatnonzero(target == label))
        test.append(rows[:number])
        train.append(rows[number:])
    return (
        rng.permutation(np.concatenate(train)),
        rng.permutation(np.concatenate(test)),
    )
