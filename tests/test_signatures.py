"""The parameters of functions, as the standard library's `inspect` reads them."""

from __future__ import annotations

import functools
import inspect

import numpy as np
import pytest

from tinygrad_softmax.signatures import KEYWORD_ONLY, MISSING, parameters_of

KINDS = {
    inspect.Parameter.VAR_POSITIONAL: "*",
    inspect.Parameter.KEYWORD_ONLY: KEYWORD_ONLY,
    inspect.Parameter.VAR_KEYWORD: "**",
}


def plain(a, b=2, /, c=None):
    local = a
    return local, b, c


def everything(a, b=2, *c, d, e=5, f=None, **g):
    return a, b, c, d, e, f, g


def keywords(*, a, b=1, **c):
    return a, b, c


@np.errstate(all="ignore")
def decorated(x, *, axis=0):
    return x, axis


@functools.wraps(everything)
def wrapped(*arguments, **options):
    return arguments, options


class Callable:
    def __call__(self, x, *, y=1):
        return x, y

    def method(self, x, *rest):
        return x, rest


CASES = [
    plain, everything, keywords, decorated, wrapped, lambda: None, lambda *a: a,
    Callable(), Callable().method, functools.partial(everything, 1, d=2),
]  # fmt: skip


@pytest.mark.parametrize("function", CASES)
def test_they_are_those_of_inspect(function):
    expected = [
        (
            each.name,
            KINDS.get(each.kind, ""),
            MISSING if each.default is each.empty else each.default,
        )
        for each in inspect.signature(function).parameters.values()
    ]
    assert parameters_of(function) == expected
