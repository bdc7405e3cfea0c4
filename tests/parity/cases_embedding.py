"""Embedding and one_hot."""

from __future__ import annotations

import numpy as np
from parity.harness import Case, values

INDEX = np.array([[1, 4, 2], [4, 0, 4]])
TABLE = values("table", (5, 3))


def make(*args, **options):
    return lambda lib: lib.nn.Embedding(5, 3, *args, **options)


def embedding(lib):
    return lib.nn.functional.embedding


def one_hot(lib):
    return lib.nn.functional.one_hot


def looked_up(f, weight, index, **options):
    return f(index, weight, **options)


def squared(module, index):
    return module(index) ** 2


def renormed(f, index, weight, **options):
    """What is looked up, and the table, which was scaled in place."""
    return f(index, weight, **options), weight


CASES = [
    Case("Embedding", make(), (INDEX,)),
    Case("Embedding, squared", make(), (INDEX,), call=squared),
    Case("padding", make(padding_idx=4), (INDEX,), call=squared),
    Case("padding from the end", make(padding_idx=-5), (INDEX,), call=squared),
    # (PyTorch's second derivative forgets the frequency.)
    Case("by frequency", make(scale_grad_by_freq=True), (INDEX,), second=False),
    Case("padding, frequency", make(4, None, 2.0, True), (INDEX,), second=False),
    Case("one index", make(), (INDEX[0, 0],)),
    Case("no index", make(), (INDEX[:, :0],)),
    Case("int32", make(), (INDEX.astype(np.int32),)),
    Case("embedding", embedding, (TABLE, INDEX), call=looked_up),
    Case("padded", embedding, (TABLE, INDEX), {"padding_idx": 2}, call=looked_up),
    *(
        Case(
            f"max_norm {norm} of norm {p}",
            embedding,
            (INDEX,),
            {"weight": TABLE, "max_norm": norm, "norm_type": p},
            call=renormed,
        )
        for norm in (0.5, 1.0, 9.0)
        for p in (1.0, 2.0, 3.0)
    ),
    Case("one_hot", one_hot, (INDEX,)),
    Case("one_hot of 7", one_hot, (INDEX,), {"num_classes": 7}),
    Case("one_hot of one", one_hot, (INDEX[0, 0],), {"num_classes": 3}),
]
