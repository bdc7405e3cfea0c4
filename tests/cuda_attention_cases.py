"""Cases of attention.cu, against the definition in float64; and faults they catch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from cuda_checks import REFERENCE, assert_close, draw_array, wide

Check = Callable[[Any], None]
SPECIAL = (0.0, 50.0, -200.0, np.inf, -np.inf, np.nan)


def attending(
    lead: tuple[int, ...],
    length: int,
    keys: int,
    dtype: str = "float32",
    causal: bool = False,
    width: int = 5,
    beside: bool = False,
    seed: int = 0,
) -> Check:
    """Attention and its gradient; `beside`: heads lie side by side in memory."""

    def check(backend: Any) -> None:
        rng = np.random.default_rng(seed)
        shapes = (
            (length, width),
            (keys, width),
            (keys, width + 1),
            (length, width + 1),
        )
        host = [draw_array(rng, (*lead, *shape), dtype, 1.0) for shape in shapes]
        q, k, v, g = [placed(backend, x, beside) for x in host]
        out, weights = backend.attention(q, k, v, 0.7, causal, True)
        query, key, value, change = map(wide, host)
        arrays = query, key, value
        expected, p = REFERENCE.attention(*arrays, 0.7, causal, True)
        ulps = 40  # of scores about 5 and of sums
        assert_close(weights, p, dtype, ulps, p)
        assert_close(out, expected, dtype, ulps, p @ abs(value))
        alone, none = backend.attention(q, k, v, 0.7, causal, False)
        assert none is None
        assert_close(alone, expected, dtype, ulps, p @ abs(value))
        kept = weights.get()
        grads = backend.attention_grad(g, q, k, v, weights, 0.7, causal, (True,) * 3)
        np.testing.assert_array_equal(weights.get(), kept)
        expected = REFERENCE.attention_grad(
            change, *arrays, p, 0.7, causal, (True,) * 3
        )
        for got, right in zip(grads, expected, strict=True):
            assert_close(got, right, dtype, 40, 10.0 * (keys + length) ** 0.5)
        first, second, third = backend.attention_grad(
            g, q, k, v, weights, 0.7, causal, (False, True, False)
        )
        assert first is None
        assert third is None
        np.testing.assert_array_equal(second.get(), grads[1].get())

    return check


def placed(backend: Any, x: np.ndarray, beside: bool) -> Any:
    if beside:
        return backend.xp.asarray(x.swapaxes(-3, -2).copy()).swapaxes(-3, -2)
    return backend.xp.asarray(x)


def special(length: int, keys: int, causal: bool, seed: int = 0) -> Check:
    """nan and inf among the scores: what the definition gives, where keys are seen."""

    def check(backend: Any) -> None:
        rng = np.random.default_rng(seed)
        scores = rng.choice(SPECIAL, (2, length, keys)).astype(np.float32)
        scores[0] = rng.normal(size=(length, keys)).astype(np.float32)
        got = backend.xp.asarray(scores)
        backend._weigh("attention_weights", causal, got)
        hidden = np.triu(np.ones((length, keys), bool), 1) & causal
        given = np.where(hidden, -np.inf, wide(scores))
        expected = REFERENCE.softmax(given.reshape(-1, keys)).reshape(scores.shape)
        assert_close(got, expected, "float32", 300)

    return check


CASES = [
    attending((2, 3), 4, 7, causal=True),
    attending((2, 3), 7, 4, causal=True, beside=True),
    attending((), 1, 1, "float64"),
    attending((3,), 9, 40, "float64", causal=True),
    attending((1, 2), 5, 1028, causal=True),
    attending((2,), 2, 1030),
    attending((1,), 2, 4100, causal=True),
    *(special(9, keys, causal) for keys in (6, 8) for causal in (False, True)),
]

FAULTS = [
    ("attention.cu", old, new, why, case)
    for old, new, why, case in [
        (
            "causal ? row % length + 1 : keys",
            "causal ? row % length : keys",
            "a query does not see its own key",
            attending((2,), 5, 6, causal=True),
        ),
        (
            "causal ? row % length + 1 : keys",
            "causal ? row + 1 : keys",
            "the second head's queries see all keys",
            attending((2,), 5, 6, causal=True),
        ),
        (
            "to.at[k + i] = column + i < count ? (W)widen(in.at[i]) : hidden;",
            "to.at[k + i] = widen(in.at[i]);",
            "keys are seen that are read together with one that is",
            attending((2,), 6, 8, causal=True),
        ),
        (
            "W rest = several ? s + (count - W(1)) : s;",
            "W rest = s;",
            "a second maximum counts for nothing",
            special(9, 6, False),
        ),
        (
            "held_p.at[k + i] * (held_g.at[k + i] - sum)",
            "held_p.at[k + i] * held_g.at[k + i]",
            "the sum is not subtracted",
            attending((2,), 5, 6),
        ),
    ]
]
