"""Dropout: in training some of the input is 0, and the rest larger in return.

The mask is one draw of a generator: the library's own (`tg.manual_seed`), or the one
given. A draw depends on the seed and on how many draws there were, so it is repeated
exactly by setting the generator's state back; `tg.checkpoint` does so. On a CUDA device
the same draw drops others than on the CPU.

Source: Srivastava et al., "Dropout: a simple way to prevent neural networks from
overfitting", 2014.
"""

from __future__ import annotations

import math
from typing import Any

from ... import ops
from ...autograd import primitive
from ...backends import Generator, backend_of, namespace, there
from ...backends.random import default_generator
from ...ops.cross_entropy_checks import check_floating

__all__ = ["alpha_dropout", "dropout", "dropout1d", "dropout2d"]


def dropout(
    input: Any,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    generator: Generator | None = None,
) -> Any:
    """Each element 0 with probability p, else divided by 1 - p: the mean stays.

    Args:
        input: any shape, floating.
        training: False gives the input itself.
        inplace: accepted for PyTorch's signature; a new tensor is made regardless.
        generator: where the mask is drawn from; None is the library's own.

    Raises:
        ValueError: p is not in [0, 1].

    >>> dropout(tg.tensor([1.0, 2.0]), training=False), dropout(tg.ones(2), p=1.0)
    (tensor([1., 2.]), tensor([0., 0.]))
    """
    return _dropped("dropout", input, p, training, generator, tuple(input.shape))


def dropout1d(
    input: Any,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    generator: Generator | None = None,
) -> Any:
    """`dropout` of whole channels: input of shape (N, C, L), or (C, L) of one sample.

    >>> sorted(set(dropout1d(tg.ones((1, 9, 3))).sum(axis=2).flatten().tolist()))
    [0.0, 6.0]
    """
    shape = _channels("dropout1d", input, (2, 3))
    return _dropped("dropout1d", input, p, training, generator, shape)


def dropout2d(
    input: Any,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    generator: Generator | None = None,
) -> Any:
    """`dropout` of whole channels: input of shape (N, C, H, W).

    PyTorch warns that it takes three axes for (N, C, L), and will take them for
    (C, H, W); here they are an error.

    >>> sorted(set(dropout2d(tg.ones((1, 9, 1, 3))).sum(axis=3).flatten().tolist()))
    [0.0, 6.0]
    """
    shape = _channels("dropout2d", input, (4,))
    return _dropped("dropout2d", input, p, training, generator, shape)


# The value that selu takes far below 0: -scale alpha.
_SELU_FLOOR = -1.7580993408473766


def alpha_dropout(
    input: Any,
    p: float = 0.5,
    training: bool = False,
    inplace: bool = False,
    generator: Generator | None = None,
) -> Any:
    """Dropout after `selu`: mean 0 and variance 1 stay.

    Dropped elements become -1.758..., the floor of selu; then all is scaled by
    a = ((1 - p)(1 + p floor^2))^(-1/2) and shifted by -a p floor. The arguments are
    those of `dropout`.

    Source: Klambauer et al., "Self-normalizing neural networks", 2017, section 3.

    >>> alpha_dropout(tg.tensor([1.0, 2.0]), training=False)
    tensor([1., 2.])
    """
    name = "alpha_dropout"
    if not _drops(name, input, p, training):
        return input
    if p == 1:
        return ops.where(False, input, 0.0)
    array = getattr(input, "array", input)
    with there(array):
        kept = backend_of(array).kept(array.shape, p, _source(generator).draw())
    a = 1.0 / math.sqrt((1.0 - p) * (1.0 + p * _SELU_FLOOR**2))
    shift = -a * p * _SELU_FLOOR
    one = input.dtype.type
    with there(kept):
        scale = namespace(kept).where(kept, one(a), one(0))
        added = namespace(kept).where(kept, one(shift), one(a * _SELU_FLOOR + shift))
    return input * scale + added


def _dropped(
    name: str,
    input: Any,
    p: float,
    training: bool,
    generator: Generator | None,
    shape: tuple[int, ...],
) -> Any:
    """The input with a mask of `shape` applied, which broadcasts to its shape."""
    if not _drops(name, input, p, training):
        return input
    if p == 1:
        return ops.where(False, input, 0.0)
    array, draw = getattr(input, "array", input), _source(generator).draw()
    backend = backend_of(array)
    if backend.redraws:
        return _dropout(input, p=p, draw=draw, shape=shape)
    one = input.dtype.type
    with there(array):
        mask = backend.kept(shape, p, draw) * one(1.0 / (1.0 - p))
    return ops.multiply(input, mask)


# Linear in its input: the gradient is the same draw's dropout of the gradient.
@primitive(name="dropout")
def _dropout(input, *, p, draw, shape):
    return backend_of(input).dropout(input, p, draw, shape)


@_dropout.vjp("input")
def _(g, p, draw, shape):
    return _dropout(g, p=p, draw=draw, shape=shape)


def _drops(name: str, input: Any, p: float, training: bool) -> bool:
    """Whether anything may be dropped, after the checks."""
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"{name}: p was given as {p}; expected a probability, 0..1")
    check_floating(name, "the input is", input)
    return bool(training and p and input.size)


def _source(generator: Generator | None) -> Generator:
    return generator or default_generator


def _channels(name: str, input: Any, axes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a mask for whole channels; the smallest of several numbers of axes
    is without a batch."""
    if input.ndim not in axes:
        raise ValueError(
            f"{name}: the input has shape {tuple(input.shape)}; expected "
            f"{' or '.join(map(str, axes))} axes"
        )
    first = 1 if len(axes) > 1 and input.ndim == axes[0] else 2
    return (*input.shape[:first], *(1,) * (input.ndim - first))
