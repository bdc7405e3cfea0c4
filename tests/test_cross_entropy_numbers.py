"""The digits of the softmax cross-entropy, against mpmath.

Every gradient is looked at twice: as `backward` computes it (the kernel made it in the
forward pass), and with create_graph=True (the formula).
"""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import NamedTuple

import mpmath
import numpy as np
import pytest

import tinygrad_softmax as tg

DTYPES = ["float32", "float64"]
PATHS = {"backward": False, "create_graph": True}
INF, NAN = float("inf"), float("nan")

by_dtype = pytest.mark.parametrize("dtype", DTYPES)
by_path = pytest.mark.parametrize("path", PATHS)


def loss_and_gradient(logits, target, dtype, device, path="backward", **options):
    """Of one row or several, as NumPy arrays."""
    x = tg.tensor(np.asarray(logits).astype(dtype), device=device, requires_grad=True)
    target = np.asarray(target)
    if target.dtype.kind == "f":
        target = target.astype(dtype)
    target = tg.tensor(target, device=device)
    loss = tg.softmax_cross_entropy(x, target, **{"reduction": "none", **options})
    gradient = tg.grad(loss.sum(), x, create_graph=PATHS[path])
    return loss.detach().numpy(), gradient.detach().numpy()


# -- the table -------------------------------------------------------------------------


class Row(NamedTuple):
    logits: list
    target: object
    loss: float
    gradient: list
    printed: float = 0.0  # how far the printed gradient may be off


TINY, SMALL = 4.248354255291589e-18, 2.0611536181902e-9
TABLE = {
    "confident": Row([0, -40], 0, TINY, [-TINY, TINY]),
    "fairly sure": Row([0, -20], 0, 2.0611536203143807e-9, [-SMALL, SMALL], 5e-23),
    "offset": Row([1e8, 1e8], 0, 0.6931471805599453, [-0.5, 0.5]),
    "hopeless": Row([1000, 0], 1, 1000, [1, -1]),
    "far below": Row([0, -800, 0, 0], 1, 801.0986122886681, [1 / 3, -1, 1 / 3, 1 / 3]),
    "minus infinity": Row(
        [-INF, 0, 1],
        [0.0, 0.0, 1.0],
        0.3132616875182228,
        [0, 0.2689414213699951, -0.2689414213699951],
    ),
    "lecture": Row(
        [5, 2, -1, 3],
        1,
        3.1719353933286786,
        [0.84203357, -0.95807762, 0.00208719, 0.11395685],
        5e-9,
    ),
}


@by_path
@by_dtype
@pytest.mark.parametrize("name", TABLE)
def test_the_table(name, dtype, path, device):
    row = TABLE[name]
    loss, gradient = loss_and_gradient(row.logits, row.target, dtype, device, path)
    two_ulp = 2 * np.finfo(dtype).eps
    np.testing.assert_allclose(loss, row.loss, rtol=two_ulp)
    np.testing.assert_allclose(gradient, row.gradient, rtol=two_ulp, atol=row.printed)


@by_path
@by_dtype
def test_each_row_has_its_own_maximum(dtype, path, device):
    loss, gradient = loss_and_gradient([[1000, 0], [0, 0]], [0, 0], dtype, device, path)
    assert loss[0] == 0.0
    assert loss[1] == np.dtype(dtype).type(0.6931471805599453)
    np.testing.assert_array_equal(gradient, [[0, 0], [-0.5, 0.5]])


# -- hard rows, against many digits ----------------------------------------------------


class Exact(NamedTuple):
    """One row in mpmath's numbers, and the sizes that rounding is relative to."""

    loss: mpmath.mpf
    gradient: list[mpmath.mpf]
    loss_terms: float
    gradient_terms: float


def exact(row: np.ndarray, *targets: np.ndarray) -> list[Exact]:
    """-sum(u lp) and p sum(u) - u, for each target row u."""
    return list(_exact(tuple(row.tolist()), *(tuple(u.tolist()) for u in targets)))


@cache  # both paths ask for the same
def _exact(row: tuple[float, ...], *targets: tuple[float, ...]) -> tuple[Exact, ...]:
    found = []
    with mpmath.workdps(60 + int(max(row) - min(row)) // 2):
        x = list(map(mpmath.mpf, row))
        lse = mpmath.log(mpmath.fsum(map(mpmath.exp, x)))
        lp = [each - lse for each in x]
        p = list(map(mpmath.exp, lp))
        for target in targets:
            u = list(map(mpmath.mpf, target))
            total, absolute = mpmath.fsum(u), mpmath.fsum(map(abs, u))
            terms = [a * b for a, b in zip(u, lp, strict=True)]
            pairs = list(zip(p, u, strict=True))
            found.append(
                Exact(
                    -mpmath.fsum(terms),
                    [a * total - b for a, b in pairs],
                    float(mpmath.fsum(map(abs, terms))),
                    float(max(a * absolute + abs(b) for a, b in pairs)),
                )
            )
    return tuple(found)


def hard_rows(dtype: str) -> list[np.ndarray]:
    """Rows of many ranges and offsets; the widest range is the dtype's own."""
    generator = np.random.default_rng(0)
    widest = 80 if dtype == "float32" else 700
    rows: list = [
        [0, -20], [0, -40], [1e8, 1e8], [0, -80, 0, 0], [5, 2, -1, 3], [0, -1e-8],
        [1e-30, 0], [0, 0, -30], [20, 19.999], [3], [-1e8],
        np.linspace(0, widest, 9), np.linspace(-widest, 0, 9) ** 3 / widest**2,
    ]  # fmt: skip
    spreads = (0.0, 1e-6, 1e-2, 1.0, 5.0, widest / 10, widest / 6)
    for classes, spread in product((2, 3, 10, 150), spreads):
        drawn = generator.normal(size=(3, classes)) * spread
        rows.extend(drawn + np.array([[0.0], [1e3], [-1e8]]))
    rows = [np.asarray(row, dtype=dtype) for row in rows]
    return [row for row in rows if row.max() - row.min() <= widest]


def error(found, wanted) -> float:
    return abs(float(mpmath.mpf(float(found)) - wanted))


def assert_close_to(found, wanted: Exact, allowed: float, loss_size, gradient_size):
    """`allowed` epsilons of the two sizes."""
    loss, gradient = found
    eps = np.finfo(loss.dtype).eps
    assert error(loss, wanted.loss) <= allowed * loss_size
    worst = max(map(error, gradient, wanted.gradient))
    assert worst <= allowed * eps * gradient_size


@by_path
@by_dtype
def test_labels(dtype, path, device):
    """The loss within 8 + range ulp, the gradient within as many epsilons of the row's
    largest entry: also where the probability of the label is 1 to the last digit."""
    count = 0
    for row in hard_rows(dtype):
        labels = sorted({0, len(row) - 1, int(row.argmax()), int(row.argmin())})
        eye = np.eye(len(row))
        wanted = exact(row, *(eye[label] for label in labels))
        rows = np.stack([row] * len(labels))
        losses, gradients = loss_and_gradient(rows, labels, dtype, device, path)
        for *found, each in zip(losses, gradients, wanted, strict=True):
            ulp = float(np.spacing(np.abs(np.dtype(dtype).type(each.loss))))
            largest = float(max(map(abs, each.gradient)))
            allowed = 8 + float(row.max() - row.min())
            assert_close_to(found, each, allowed, ulp, largest)
            count += 1
    assert count > 200


def soft_targets(row: np.ndarray, generator) -> list[np.ndarray]:
    """Proper target rows, in the row's dtype: broad ones, and nearly one-hot ones."""
    broad = generator.integers(0, 9, len(row)) + (np.arange(len(row)) == 0)
    peaked = generator.exponential(size=len(row)) ** 8
    smooth = 0.9 * np.eye(len(row))[-1] + 0.1 / len(row)
    targets = [each / each.sum() for each in (broad, peaked, smooth)]
    return [each.astype(row.dtype) for each in targets]


@by_path
@by_dtype
def test_probabilities(dtype, path, device):
    """Likewise, unless y-hat is close to y in every entry: then each entry of the
    gradient is a difference of near-equal numbers, and what their rounding allows is
    relative to them."""
    generator, clear = np.random.default_rng(1), 0
    for row in hard_rows(dtype):
        targets = soft_targets(row, generator)
        rows = np.stack([row] * len(targets))
        losses, gradients = loss_and_gradient(rows, targets, dtype, device, path)
        wanted = exact(row, *targets)
        for *found, each in zip(losses, gradients, wanted, strict=True):
            ulp = float(np.spacing(np.abs(np.dtype(dtype).type(each.loss))))
            largest = float(max(map(abs, each.gradient)))
            clear += largest >= 0.1
            size = largest if largest >= 0.1 else each.gradient_terms
            allowed = 8 + float(row.max() - row.min())
            assert_close_to(found, each, allowed, ulp, size)
    assert clear > 100


@by_path
@by_dtype
def test_real_valued_targets(dtype, path, device):
    """The error is relative to the sum of absolute terms."""
    generator = np.random.default_rng(2)
    eps = np.finfo(dtype).eps
    for row in hard_rows(dtype):
        target = generator.normal(size=len(row)).astype(dtype)
        (wanted,) = exact(row, target)
        found = loss_and_gradient(row, target, dtype, device, path)
        allowed = 8 + float(row.max() - row.min())
        size = eps * wanted.loss_terms
        assert_close_to(found, wanted, allowed, size, wanted.gradient_terms)


@by_path
@by_dtype
def test_weights_and_smoothing(dtype, path, device):
    generator = np.random.default_rng(3)
    for row in hard_rows(dtype):
        label, classes = int(generator.integers(len(row))), len(row)
        weight = (generator.integers(1, 9, classes) / 4).astype(dtype)
        smoothing = 0.125
        target = smoothing / classes + (1 - smoothing) * np.eye(classes)[label]
        (wanted,) = exact(row, weight * target)
        options = {"weight": weight.tolist(), "label_smoothing": smoothing}
        found = loss_and_gradient(row, label, dtype, device, path, **options)
        allowed = 8 + float(row.max() - row.min())
        size = np.finfo(dtype).eps * wanted.loss_terms
        assert_close_to(found, wanted, allowed, size, wanted.gradient_terms)


def test_second_and_third_derivatives_of_a_confident_row(device):
    """Not only near their values: to the last digits, where all are about 1e-18."""
    x = tg.tensor(np.array([0.0, -40.0]), device=device)
    label = tg.tensor(0, device=device)

    def gradient(x):
        loss = tg.value_and_grad(lambda x: tg.softmax_cross_entropy(x, label))
        return loss(x)[1]

    def hessian(x):
        return tg.jacobian(gradient, x)

    with mpmath.workdps(60):
        p = 1 / (1 + mpmath.exp(mpmath.mpf(40)))
        second = float(p * (1 - p))
        third = float(p * (1 - p) * (1 - 2 * p))
    signs = np.array([1.0, -1.0])
    found = hessian(x).numpy()
    np.testing.assert_allclose(found, second * np.outer(signs, signs), rtol=1e-14)
    wanted = -third * signs[:, None, None] * signs[:, None] * signs
    np.testing.assert_allclose(tg.jacobian(hessian, x).numpy(), wanted, rtol=1e-14)


# -- beyond the finite -----------------------------------------------------------------


@by_path
@by_dtype
@pytest.mark.parametrize(
    ("logits", "label", "loss"),
    [
        ([-INF, -INF], 0, NAN),
        ([INF, 0.0], 0, NAN),  # inf - inf
        ([INF, 0.0], 1, INF),
        ([0.0, -INF], 1, INF),
        ([NAN, 0.0], 0, NAN),
        ([NAN, 0.0], 1, NAN),
    ],
)
def test_as_ieee_has_it(logits, label, loss, dtype, path, device):
    """And no warning escapes: in these tests a warning is an error."""
    found, gradient = loss_and_gradient([logits], [label], dtype, device, path)
    np.testing.assert_array_equal(found, [loss])
    if np.isnan(loss):
        assert np.isnan(gradient).any()  # a gradient of 0 would hide it


@by_path
@by_dtype
def test_the_largest_numbers(dtype, path, device):
    big = 0.9 * np.finfo(dtype).max
    rows = [[big, -big], [big, -big], [-big, -big]]
    loss, gradient = loss_and_gradient(rows, [0, 1, 0], dtype, device, path)
    np.testing.assert_allclose(loss, [0, INF, np.log(2)], rtol=1e-6)
    np.testing.assert_array_equal(gradient, [[0, 0], [1, -1], [-0.5, 0.5]])


# -- 16 bits ---------------------------------------------------------------------------

HALVES = ["float16", "bfloat16"]
by_half = pytest.mark.parametrize("half", HALVES)
EPS = {"float16": 2.0**-10, "bfloat16": 2.0**-7}
SUBNORMAL = {"float16": 2.0**-24, "bfloat16": 2.0**-133}


def halves(array, half, device, **options):
    tensor = tg.tensor(np.asarray(array, dtype=np.float32), device=device)
    return tensor.astype(half).detach().requires_grad_(options.get("grad", True))


@by_half
def test_16_bit_logits_are_computed_in_float32(half, device):
    logits = np.random.default_rng(0).normal(size=(50, 7)) * 8
    x = halves(logits, half, device)
    labels = np.arange(50) % 7
    losses = tg.softmax_cross_entropy(
        x, tg.tensor(labels, device=device), reduction="none"
    )
    assert losses.dtype == tg.float32
    losses.sum().backward()
    assert x.grad.dtype == x.dtype
    rounded = x.detach().numpy().astype(np.float32)
    for row, label, loss, gradient in zip(
        rounded, labels, losses.detach().numpy(), x.grad.numpy(), strict=True
    ):
        (wanted,) = exact(row, np.eye(7)[label])
        ulp = float(np.spacing(np.float32(wanted.loss)))
        assert error(loss, wanted.loss) <= (8 + np.ptp(row)) * ulp
        for found, each in zip(gradient, wanted.gradient, strict=True):
            rounding = EPS[half] / 2 * abs(float(each)) + SUBNORMAL[half]
            assert error(found, each) <= 1.01 * rounding + 1e-6 * float(abs(each))


@by_half
@pytest.mark.parametrize("weighted", [False, True])
def test_a_mean_over_many_16_bit_rows(half, weighted, device):
    """float16 ends at 65504, and 1/70000 of a probability is next to nothing in it."""
    n, scale = 70_000, 4096.0
    logits = np.random.default_rng(0).normal(size=(n, 3))
    labels = tg.tensor(np.arange(n) % 3, device=device)
    weight = [1.0, 1.0, 1.0] if weighted else None
    wide = halves(logits, half, device).detach().astype("float64").requires_grad_()
    tg.softmax_cross_entropy(wide, labels).backward()
    for create_graph in (False, True):
        x = halves(logits, half, device)
        loss = tg.softmax_cross_entropy(x, labels, weight=weight)
        assert abs(loss.item() - np.log(3)) < 0.5
        (gradient,) = tg.grad(loss * scale, [x], create_graph=create_graph)
        wanted = wide.grad.numpy() * scale
        allowed = EPS[half] * np.abs(wanted) + SUBNORMAL[half]
        found = gradient.detach().numpy().astype(np.float64)
        assert (np.abs(found - wanted) <= allowed).all()
        assert np.count_nonzero(found) == found.size


@by_half
def test_16_bit_targets(half, device):
    """Their gradient has their dtype, and is not flushed either."""
    generator = np.random.default_rng(0)
    rows = generator.integers(1, 5, (6, 4)) / 16
    logits = generator.normal(size=(6, 4))
    x, t = halves(logits, half, device), halves(rows, half, device)
    loss = tg.softmax_cross_entropy(x, t)
    assert loss.dtype == tg.float32
    loss.backward()
    assert t.grad.dtype == t.dtype
    exact_x = x.detach().numpy().astype(np.float64)
    lp = exact_x - np.log(np.exp(exact_x).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(
        t.grad.numpy().astype(np.float64), -lp / 6, rtol=EPS[half]
    )
