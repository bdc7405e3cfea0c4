"""Cases of windows.cu: convolution and pooling against loops; and faults they catch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import window_references as loops
from cuda_checks import REFERENCE as PLAIN
from cuda_checks import assert_close, draw_array, dtype_of, on_device, wide

from tinygrad_softmax.backends.windows import Window

Check = Callable[[Any], None]


class Form(NamedTuple):
    """A window over an array (n, channels, *lengths)."""

    n: int
    channels: int
    lengths: tuple[int, ...]
    window: Window
    positions: tuple[int, ...]

    @property
    def options(self) -> dict[str, Any]:
        """The window's form, as the loops take it."""
        return self.window._asdict()

    def draw(self, rng: np.random.Generator, axes: tuple[int, ...], dtype: str) -> Any:
        return draw_array(rng, (self.n, self.channels, *axes), dtype, 1.0)


def form(
    lengths: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...] | None = None,
    padding: tuple[int, ...] | None = None,
    dilation: tuple[int, ...] | None = None,
    n: int = 2,
    channels: int = 4,
) -> Form:
    """As many windows as fit between the paddings, one at least."""
    axes = len(lengths)
    stride, padding = stride or (1,) * axes, padding or (0,) * axes
    dilation = dilation or (1,) * axes
    positions = tuple(
        max(0, size + 2 * before - (k - 1) * d - 1) // s + 1
        for size, k, s, before, d in zip(
            lengths, kernel, stride, padding, dilation, strict=True
        )
    )
    window = Window(kernel, stride, padding, dilation)
    return Form(n, channels, lengths, window, positions)


def convolving(of: Form, groups: int, outputs: int, dtype: str, seed: int = 0) -> Check:
    """The three products."""

    def check(backend: Any) -> None:
        rng = np.random.default_rng(seed)
        x = of.draw(rng, of.lengths, dtype)
        shape = (outputs, of.channels // groups, *of.window.kernel)
        weight, bias = (
            draw_array(rng, shape, dtype, 1.0),
            draw_array(rng, outputs, dtype),
        )
        y = draw_array(rng, (of.n, outputs, *of.positions), dtype, 1.0)
        size = of.window.size * max(of.channels, outputs)
        on_x, on_w, on_b, on_y = (on_device(backend, z) for z in (x, weight, bias, y))
        got = backend.convolution(on_x, on_w, on_b, of.window, of.positions, groups)
        form_ = dict(groups=groups, **of.options)
        form_.pop("kernel")
        scale = loops.convolution(
            abs(wide(x)), abs(wide(weight)), abs(wide(bias)),
            positions=of.positions, **form_,
        )  # fmt: skip
        expected = loops.convolution(
            wide(x), wide(weight), wide(bias), positions=of.positions, **form_
        )
        assert_close(got, expected, dtype, size + 4, scale)
        got = backend.transposed_convolution(on_y, on_w, of.window, of.lengths, groups)
        expected, scale = (
            loops.transposed_convolution(
                f(wide(y)), f(wide(weight)), of.lengths, **form_
            )
            for f in (np.asarray, abs)
        )
        assert_close(got, expected, dtype, size + 4, scale)
        got = backend.kernel_correlation(on_x, on_y, of.window, groups)
        expected, scale = (
            loops.kernel_correlation(f(wide(x)), f(wide(y)), of.window.kernel, **form_)
            for f in (np.asarray, abs)
        )
        assert_close(got, expected, dtype, of.n * np.prod(of.positions) + 4, scale)

    return check


def columns(of: Form, dtype: str, seed: int = 0) -> Check:
    """im2col is exact, and col2im its transpose: the same order of additions too."""

    def check(backend: Any) -> None:
        rng = np.random.default_rng(seed)
        x = of.draw(rng, of.lengths, dtype)
        shape = (of.channels, *of.window.kernel, of.n, *of.positions)
        expected = np.zeros(shape, x.dtype)
        places = loops.places(positions=of.positions, lengths=of.lengths, **of.options)
        other = draw_array(rng, shape, dtype, 1.0)
        total, scale = np.zeros(x.shape), np.zeros(x.shape)
        for p, number, _, at in places:
            k = np.unravel_index(number, of.window.kernel)
            rest = (slice(None), *p)
            expected[(slice(None), *k, *rest)] = x[(..., *at)].T
            total[(..., *at)] += wide(other[(slice(None), *k, *rest)]).T
            scale[(..., *at)] += abs(wide(other[(slice(None), *k, *rest)])).T
        got = backend.im2col(on_device(backend, x, 1), of.window, of.positions)
        np.testing.assert_array_equal(wide(got.get()), wide(expected))
        got = backend.col2im(on_device(backend, other), of.window, of.lengths)
        assert_close(got, total, dtype, of.window.size + 2, scale)

    return check


def pooling(of: Form, dtype: str, digits: int = 1, seed: int = 0) -> Check:
    """The largest with ties and nans, sums, and both ways back."""

    def check(backend: Any) -> None:
        rng = np.random.default_rng(seed)
        x = of.draw(rng, of.lengths, dtype).round(digits).astype(dtype_of(dtype))
        special = rng.integers(0, 20, x.shape)
        x[special == 0], x[special == 1] = -np.inf, np.nan
        on_x = on_device(backend, x)
        host, positions = wide(x), of.positions
        best, numbers = PLAIN.window_max(host, of.window, positions)
        got, found = backend.window_max(on_x, of.window, positions)
        np.testing.assert_array_equal(wide(got.get()), best)
        assert found.dtype == numbers.dtype
        np.testing.assert_array_equal(found.get(), numbers)
        alone, none = backend.window_max(on_x, of.window, positions, False)
        assert none is None
        np.testing.assert_array_equal(wide(alone.get()), best)
        x = of.draw(rng, of.lengths, dtype)
        y = of.draw(rng, positions, dtype)
        for given, chosen in ((None, None), (numbers, found)):
            for name, z, to in (
                ("window_sum", x, positions),
                ("window_spread", y, of.lengths),
            ):
                expected, scale = (
                    getattr(PLAIN, name)(f(wide(z)), of.window, to, given)
                    for f in (np.asarray, abs)
                )
                got = getattr(backend, name)(
                    on_device(backend, z), of.window, to, chosen
                )
                assert_close(got, expected, dtype, of.window.size + 2, scale)

    return check


SMALL = form((7,), (3,))
WIDE_STEPS = form((9, 8), (3, 2), (2, 3), (1, 1), (2, 1))
CUBE = form((3, 4, 5), (2, 2, 3), (1, 2, 1), (1, 0, 1))
POINTS = form((5, 4), (1, 1))
SPARSE = form((6,), (1,), (2,))
OUTSIDE = form((2, 3), (2, 2), (3, 3), (4, 4))
LARGE = form((40, 40), (17, 17), (8, 8), (8, 8), n=1, channels=2)
MANY = form((3,), (2,), n=70, channels=4)
LONG = form((50,), (12,), (5,), (4,), (3,))

CASES = [
    *(columns(of, "float32") for of in (SMALL, WIDE_STEPS, CUBE, OUTSIDE, MANY)),
    columns(WIDE_STEPS, "bfloat16"),
    convolving(SMALL, 1, 3, "float64"),
    convolving(WIDE_STEPS, 2, 6, "float32"),
    convolving(CUBE, 4, 4, "float16"),
    convolving(POINTS, 2, 2, "bfloat16"),
    convolving(SPARSE, 1, 5, "float32"),
    *(pooling(of, "float32") for of in (SMALL, WIDE_STEPS, CUBE, OUTSIDE, MANY, LONG)),
    pooling(WIDE_STEPS, "float16"),
    pooling(LARGE, "float32"),
]

FAULTS = [
    ("windows.cu", old, new, why, case)
    for old, new, why, case in [
        (
            "const int before = -start(p);",
            "const int before = start(p);",
            "the number of a window that begins outside",
            pooling(OUTSIDE, "float32"),
        ),
        (
            "return over > 0 ? up(over) : 0;",
            "return over > 0 ? over / dilation + 1 : 0;",
            "the first element that may be there is left out",
            pooling(LONG, "float32"),
        ),
        (
            "dilation > 1 ? before / dilation : before)",
            "before / dilation - 1)",
            "the last element that may be there is left out",
            pooling(LONG, "float32"),
        ),
        (
            "if (p % stride) return -1;",
            "",
            "elements between two windows are taken for some of theirs",
            columns(WIDE_STEPS, "float32"),
        ),
        (
            "return p < positions ? p : -1;",
            "return p < positions - 1 ? p : -1;",
            "the last window is left out",
            columns(SMALL, "float32"),
        ),
        (
            "const int at_x = x + m * c.dilation;",
            "const int at_x = x + m;",
            "no dilation along the last axis",
            columns(form((9,), (3,), dilation=(2,)), "float32"),
        ),
        (
            "const int at_y = y + j * b.dilation;",
            "const int at_y = y + j;",
            "no dilation along the last axis but one",
            columns(form((9, 2), (3, 1), dilation=(2, 1)), "float32"),
        ),
        (
            "if (k && (here > best || is_nan(here))) number = k;",
            "if (k && (here >= best || is_nan(here))) number = k;",
            "of equals the last",
            pooling(SMALL, "float32", digits=0),
        ),
        (
            "if (k && (here > best || is_nan(here))) number = k;",
            "if (k && here > best) number = k;",
            "a nan has no number",
            pooling(CUBE, "float32"),
        ),
        (
            "if (!numbers.there() || numbers.at(first + place) == k) {",
            "if (!numbers.there() || numbers.at(first + place) >= 0) {",
            "a gradient for every element of the window",
            pooling(SMALL, "float32"),
        ),
        (
            "return sample * by_sample + ",
            "return 0 * by_sample + ",
            "all samples are the first",
            columns(SMALL, "float32"),
        ),
    ]
]
