"""Products of vectors, matrices and more."""

from __future__ import annotations

from math import prod
from typing import Any

from ..autograd import primitive
from ..backends import backend_of, is_number, namespace
from .arithmetic import multiply
from .autocasting import lowered
from .axes import check_array, check_axes, check_axis
from .shaping import _reshape, expand_dims, moveaxis, permute_dims, reshape, swapaxes


@primitive(name="matmul")
def _matmul(a, b):
    return backend_of(a).matmul(a, b)


@_matmul.vjp("a")
def _(g, b, a_shape):
    # C = A B gives dA = dC B^T; a vector is a matrix of one row or column.
    if b.ndim == 2:
        return _matmul(g, b.T)
    if b.ndim == 1:
        return expand_dims(g, -1) * b
    if len(a_shape) == 1:
        return reshape(_matmul(b, expand_dims(g, -1)), b.shape[:-1])
    return _matmul(g, swapaxes(b, -1, -2))


@_matmul.vjp("b")
def _(g, a, b_shape):
    # C = A B gives dB = A^T dC.
    if a.ndim == 2:
        return _matmul(a.T, g)
    if a.ndim == 1:
        return a * g if len(b_shape) == 1 else expand_dims(a, -1) * expand_dims(g, -2)
    if len(b_shape) > 2:
        return _matmul(swapaxes(a, -1, -2), g)
    # One product of all rows, rather than a batch of products that is summed.
    n, k = prod(a.shape[:-1]), a.shape[-1]
    return _matmul(swapaxes(_reshape(a, shape=(n, k)), 0, 1), _rows(g, n, b_shape))


def _rows(g, n, b_shape):
    return _reshape(g, shape=(n,) if len(b_shape) == 1 else (n, b_shape[-1]))


def matmul(a, b):
    """The matrix product over the last two axes; leading axes broadcast.

    A 1-d input is a row on the left and a column on the right. d/da = g b^T,
    d/db = a^T g.

    >>> tg.matmul(tg.tensor([[1.0, 2.0]]), tg.tensor([[3.0], [4.0]]))
    tensor([[11.]])
    """
    try:
        return _matmul(*lowered(a, b))
    except (ValueError, TypeError, AttributeError):
        _check_product(a, b)
        raise


def _check_product(a: Any, b: Any) -> None:
    """Say why two inputs have no matrix product, if their shapes are the reason."""
    check_array("matmul", *(x for x in (a, b) if not is_number(x)))
    for x in (a, b):
        if not getattr(x, "ndim", 0):
            raise ValueError(
                "matmul: an input is 0-dimensional; it needs one axis or more; mend: "
                "use * for a product with a number"
            )
    if a.shape[-1] != b.shape[max(-2, -b.ndim)]:
        raise ValueError(
            f"matmul: shapes {tuple(a.shape)} and {tuple(b.shape)} do not fit: the "
            f"last axis of the first has length {a.shape[-1]}, the "
            f"{'only' if b.ndim == 1 else 'last but one'} of the second "
            f"{b.shape[max(-2, -b.ndim)]}; mend: make them equal, perhaps with .T"
        )


@primitive(name="einsum")
def _einsum(*operands, subscripts):
    return backend_of(operands[0]).einsum(subscripts, *operands)


@_einsum.vjp("operands")
def _(g, operands, operands_shape, position, subscripts):
    """The product of g and the other operands, with this operand's letters left.

    A letter that only this operand has was summed: it is repeated, by a factor of ones.
    A letter that stands in it twice was a diagonal: it is put back by an identity.
    """
    terms, out = subscripts.split("->")
    terms = terms.split(",")
    wanted, shape = terms[position], operands_shape[position]
    others = [x for i, x in enumerate(operands) if i != position]
    letters = [term for i, term in enumerate(terms) if i != position]
    array = getattr(g, "array", g)
    xp, result, seen = namespace(array), "", set()
    spare = iter(sorted(set(_LETTERS) - set(subscripts)))
    for letter, n in zip(wanted, shape, strict=True):
        if letter in seen:
            twin = next(spare)
            others.append(xp.eye(n, dtype=array.dtype))
            letters.append(letter + twin)
            result += twin
            continue
        seen.add(letter)
        if letter not in out and not any(letter in term for term in letters):
            others.append(xp.ones(n, array.dtype))
            letters.append(letter)
        result += letter
    return _einsum(g, *others, subscripts=f"{','.join([out, *letters])}->{result}")


_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def einsum(subscripts, *operands):
    """Sums of products, written with one letter for each axis (Einstein's notation).

    subscripts: "ij,jk->ik": the letters of each operand's axes, and of the result's.
        Letters that the result lacks are summed. Without "->" the result has the
        letters that stand once, in alphabetical order. "..." stands for leading axes
        that broadcast.

    >>> x = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> tg.einsum("ii->", x), tg.einsum("ij,kj->ik", x, x)
    (tensor(5.), tensor([[ 5., 11.],
            [11., 25.]]))
    """
    check_array("einsum", *operands)
    return _einsum(*lowered(*operands), subscripts=_explicit(subscripts, operands))


def _explicit(subscripts, operands):
    """Subscripts with "->", without spaces, and with letters in place of "..."."""
    text = subscripts.replace(" ", "")
    left, arrow, out = text.partition("->")
    terms = left.split(",")
    if not set(text) <= set(_LETTERS + ",->."):
        raise ValueError(
            f"einsum: {subscripts!r} holds more than letters, commas, '->' and '...'; "
            "mend: one letter for each axis, as in 'ij,jk->ik'"
        )
    if len(terms) != len(operands):
        raise ValueError(
            f"einsum: {subscripts!r} has {len(terms)} terms, and {len(operands)} "
            "operands were given; mend: one term for each, as in 'ij,jk->ik'"
        )
    named = [term.replace("...", "") for term in terms]
    if not arrow:
        every = "".join(named)
        out = "..." if "..." in left else ""
        out += "".join(sorted(c for c in set(every) if every.count(c) == 1))
    hidden = [x.ndim - len(n) for x, n in zip(operands, named, strict=True)]
    for term, extra, x in zip(terms, hidden, operands, strict=True):
        if extra < 0 or (extra and "..." not in term):
            raise ValueError(
                f"einsum: the term {term!r} of {subscripts!r} does not have a letter "
                f"for each axis of shape {tuple(x.shape)}"
            )
    spare = [c for c in reversed(_LETTERS) if c not in text][: max(hidden, default=0)]
    dots = ["".join(spare[len(spare) - extra :]) for extra in hidden]
    filled = [t.replace("...", d) for t, d in zip(terms, dots, strict=True)]
    return f"{','.join(filled)}->{out.replace('...', ''.join(spare))}"


def tensordot(a, b, axes: Any = 2):
    """The sum of products over several axes at once.

    axes: how many of a's last and b's first axes, or a pair: a's axes and b's.

    >>> tg.tensordot(tg.ones((2, 3)), tg.ones((3, 4)), axes=1).shape
    (2, 4)
    """
    check_array("tensordot", a, b)
    if hasattr(axes, "__index__"):
        if not 0 <= axes <= min(a.ndim, b.ndim):
            raise ValueError(
                f"tensordot: shapes {tuple(a.shape)} and {tuple(b.shape)} do not both "
                f"have {axes} axes to sum over"
            )
        over_a, over_b = range(a.ndim - axes, a.ndim), range(axes)
    else:
        over_a, over_b = map(_several, axes)
    over_a = check_axes("tensordot", tuple(over_a), a)
    over_b = check_axes("tensordot", tuple(over_b), b)
    lengths = [a.shape[i] for i in over_a], [b.shape[i] for i in over_b]
    if lengths[0] != lengths[1]:
        raise ValueError(
            f"tensordot: shapes {tuple(a.shape)} and {tuple(b.shape)} over axes {axes} "
            f"pair lengths {lengths[0]} with {lengths[1]}; they must be equal"
        )
    rest_a = [i for i in range(a.ndim) if i not in over_a]
    rest_b = [i for i in range(b.ndim) if i not in over_b]
    n = prod(lengths[0])
    shape = tuple(a.shape[i] for i in rest_a) + tuple(b.shape[i] for i in rest_b)
    rows, columns = prod(a.shape[i] for i in rest_a), prod(b.shape[i] for i in rest_b)
    left = _reshape(permute_dims(a, (*rest_a, *over_a)), shape=(rows, n))
    right = _reshape(permute_dims(b, (*over_b, *rest_b)), shape=(n, columns))
    return _reshape(_matmul(left, right), shape=shape)


def _several(axes):
    return (axes,) if hasattr(axes, "__index__") else tuple(axes)


def outer(a, b):
    """The product of every element of a with every element of b, both flattened.

    >>> tg.outer(tg.tensor([1.0, 2.0]), tg.tensor([3.0, 4.0]))
    tensor([[3., 4.],
            [6., 8.]])
    """
    columns = a if is_number(a) else reshape(a, (-1, 1))
    return multiply(columns, b if is_number(b) else reshape(b, (1, -1)))


def vecdot(a, b, axis=-1):
    """The dot product of vectors along an axis; the other axes broadcast.

    >>> tg.vecdot(tg.tensor([1.0, 2.0]), tg.tensor([3.0, 4.0]))
    tensor(11.)
    """
    a = moveaxis(a, check_axis("vecdot", axis, a), -1)
    b = moveaxis(b, check_axis("vecdot", axis, b), -1)
    if a.shape[-1] != b.shape[-1]:
        raise ValueError(
            f"vecdot: lengths {a.shape[-1]} and {b.shape[-1]} along axis {axis} differ"
        )
    return _einsum(a, b, subscripts=_explicit("...i,...i->...", (a, b)))
