"""Convolution and pooling: drawn geometries, blocks, ties, modules, errors, devices.

The op table has their rules, tests/parity/ what PyTorch answers to their options.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.signal
import strict_cupy
import window_references as reference
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_softmax as tg
from tinygrad_softmax import nn
from tinygrad_softmax.backends import Backend, backend_of
from tinygrad_softmax.backends.windows import Window
from tinygrad_softmax.ops import pooling
from tinygrad_softmax.testing import check_grads

F = nn.functional


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


# -- drawn geometries ------------------------------------------------------------------


@st.composite
def geometries(draw, axes: int) -> dict[str, Any]:
    """What fits: kernel, stride, padding, dilation, and lengths of an input."""

    def each(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(axes))

    kernel, stride, padding, dilation = each(1, 3), each(1, 3), each(0, 2), each(1, 3)
    least = (
        max(1, d * (k - 1) + 1 - 2 * p)
        for k, p, d in zip(kernel, padding, dilation, strict=True)
    )
    lengths = tuple(n + draw(st.integers(0, 4)) for n in least)
    return dict(
        kernel=kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        lengths=lengths,
    )


def correlated(x, weight, groups, stride, padding, dilation):
    """A convolution by SciPy: pad, spread the weight out, correlate, take each s-th."""
    axes = len(stride)
    sizes = [d * (k - 1) + 1 for d, k in zip(dilation, weight.shape[2:], strict=True)]
    spread = np.zeros((*weight.shape[:2], *sizes))
    spread[(..., *(slice(None, None, d) for d in dilation))] = weight
    padded = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)])
    each, shares = len(weight) // groups, weight.shape[1]
    rows = []
    for sample in padded:
        outs = []
        for o in range(len(weight)):
            first = o // each * shares
            part = sample[first : first + shares]
            outs.append(scipy.signal.correlate(part, spread[o], "valid", "direct")[0])
        rows.append(outs)
    every = tuple(slice(None, None, s) for s in stride)
    shape = np.shape(rows)[2:] if rows else (1,) * axes
    return np.reshape(rows, (len(x), len(weight), *shape))[(..., *every)]


@pytest.mark.parametrize(("axes", "name"), [(1, "conv1d"), (2, "conv2d")])
@given(data=st.data())
def test_convolution_is_scipys_correlation(axes, name, data):
    form = data.draw(geometries(axes))
    lengths, kernel = form.pop("lengths"), form.pop("kernel")
    groups = data.draw(st.integers(1, 2))
    n, inputs, outputs = (data.draw(st.integers(1, 2)) for _ in range(3))
    x = random(n, inputs * groups, *lengths)
    weight = random(outputs * groups, inputs, *kernel, seed=1)
    got = getattr(F, name)(x, weight, groups=groups, **form)
    np.testing.assert_allclose(got, correlated(x, weight, groups, **form), atol=1e-12)


@pytest.mark.parametrize(
    ("axes", "name"), [(1, "conv_transpose1d"), (2, "conv_transpose2d")]
)
@given(data=st.data())
def test_transposed_convolution_is_the_transpose(axes, name, data):
    """<conv(x), y> = <x, conv_transpose(y)>, with SciPy's convolution."""
    form = data.draw(geometries(axes))
    lengths, kernel = form.pop("lengths"), form.pop("kernel")
    groups = data.draw(st.integers(1, 2))
    x, weight = random(2, 2 * groups, *lengths), random(groups, 2, *kernel, seed=1)
    right = correlated(x, weight, groups, **form)
    y = random(*right.shape, seed=2)
    extra = tuple(
        (n + 2 * p - d * (k - 1) - 1) % s
        for n, k, s, p, d in zip(lengths, kernel, *form.values(), strict=True)
    )
    back = getattr(F, name)(y, weight, output_padding=extra, groups=groups, **form)
    assert back.shape == x.shape
    np.testing.assert_allclose(np.vdot(x, back), np.vdot(right, y), rtol=1e-10)


@pytest.mark.parametrize(("axes", "name"), [(1, "max_pool1d"), (2, "max_pool2d")])
@given(data=st.data(), digits=st.booleans())
def test_max_pool_is_the_loops(axes, name, data, digits):
    form = data.draw(geometries(axes))
    lengths = form.pop("lengths")
    spans = [d * (k - 1) + 1 for d, k in zip(form["dilation"], form["kernel"])]
    form["padding"] = tuple(
        min(p, n // 2) for p, n in zip(form["padding"], spans, strict=True)
    )
    lengths = tuple(map(max, lengths, spans))
    x = random(1, 2, *lengths)
    x = np.round(x) if digits else x
    options = {k: v for k, v in form.items() if k != "kernel"}
    got, index = getattr(F, name)(x, form["kernel"], return_indices=True, **options)
    want = reference.max_pool_with_indices(x, positions=got.shape[2:], **form)
    np.testing.assert_array_equal(got, want[0])
    np.testing.assert_array_equal(index, want[1])


# -- blocks of samples -----------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 700, 1 << 30])
def test_blocks_change_nothing(size, device, monkeypatch):
    """Columns for one sample at a time, for a few, for all."""
    found = {}
    for column_bytes in (None, size):
        x = tg.tensor(random(5, 2, 6), None, device, True)
        weight = tg.tensor(random(4, 1, 3), None, device, True)
        if column_bytes:
            backend = type(backend_of(x.array))
            monkeypatch.setattr(backend, "column_bytes", column_bytes)
        out = F.conv1d(x, weight, stride=2, padding=1, groups=2)
        grads = tg.grad((out * out).sum(), [x, weight], create_graph=True)
        second = tg.grad(sum((g * g).sum() for g in grads), [x, weight])
        found[column_bytes] = [each.detach().numpy() for each in (out, *grads, *second)]
    for got, want in zip(found[size], found[None], strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12)


def test_columns_are_made_in_blocks(monkeypatch):
    """1 KiB of columns a sample (4 channels, 4 elements, 8 places): 3 of 7 samples."""
    seen = []
    im2col = Backend.im2col
    monkeypatch.setattr(Backend, "column_bytes", 3500)
    monkeypatch.setattr(
        Backend,
        "im2col",
        lambda self, x, *rest: seen.append(len(x)) or im2col(self, x, *rest),
    )
    window = Window((4,), (1,), (0,), (1,))
    Backend().convolution(
        np.ones((7, 4, 11)), np.ones((2, 4, 4)), None, window, (8,), 1
    )
    assert seen == [3, 3, 1]


# -- ties, and what max pooling keeps --------------------------------------------------


def test_the_first_of_equals_gets_the_gradient(device):
    x = tg.ones((1, 1, 5, 5), device=device, requires_grad=True)
    out, index = F.max_pool2d(x, 3, stride=2, return_indices=True)
    assert index.numpy().tolist() == [[[[0, 2], [10, 12]]]]
    (first,) = tg.grad((out * out).sum(), [x], create_graph=True)
    expected = np.zeros((5, 5))
    expected[::2, ::2][:2, :2] = 1.0
    np.testing.assert_array_equal(first.detach().numpy()[0, 0], 2.0 * expected)
    (second,) = tg.grad(
        (first * tg.arange(25.0, device=device).reshape(5, 5)).sum(), [x]
    )
    places = np.arange(25.0).reshape(5, 5)
    np.testing.assert_array_equal(second.numpy()[0, 0], 2.0 * expected * places)


@pytest.mark.parametrize("size", [2, 3])
def test_the_first_of_equals_of_adaptive_pooling(size, device):
    """Also where windows of 5 places are uneven, and filled up to one length."""
    x = tg.zeros((1, 5), device=device, requires_grad=True)
    out, index = F.adaptive_max_pool1d(x, size, return_indices=True)
    out.sum().backward()
    starts = [i * 5 // size for i in range(size)]
    assert index.numpy().tolist() == [starts]
    expected = np.bincount(starts, minlength=5)
    np.testing.assert_array_equal(x.grad.numpy()[0], expected)


def test_a_window_that_sees_nothing(device):
    """It gives -inf, and its gradient goes nowhere (PyTorch: to a place outside)."""
    x = tg.ones((1, 1, 2), device=device, requires_grad=True)
    out = F.max_pool1d(x[..., :1], 2, padding=1, dilation=2)
    assert out.detach().numpy().tolist() == [[[-math.inf]]]
    out.sum().backward()
    assert x.grad.numpy().tolist() == [[[0.0, 0.0]]]


def test_an_infinite_gradient_stays_with_the_winner(device):
    x = tg.tensor([[1.0, 2.0, 3.0, 0.0]], device=device, requires_grad=True)
    F.max_pool1d(x, 2).backward(tg.tensor([[math.inf, math.nan]], device=device))
    np.testing.assert_array_equal(x.grad.numpy(), [[0.0, math.inf, math.nan, 0.0]])


def test_more_than_256_elements_under_a_window(device):
    """Their numbers no longer fit in 8 bits."""
    values = random(1, 1, 20, 20)
    x = tg.tensor(values, device=device, requires_grad=True)
    F.max_pool2d(x, 20).sum().backward()
    assert x.grad.numpy().reshape(-1).argmax() == values.argmax()
    assert x.grad.numpy().sum() == 1.0


def test_numbers_are_not_made_without_need(monkeypatch):
    seen = []
    backend = type(backend_of(np.ones(1)))
    kernel = backend.window_max
    monkeypatch.setattr(
        backend,
        "window_max",
        lambda self, *rest: seen.append(rest[3]) or kernel(self, *rest),
    )
    x = tg.ones((1, 1, 4), requires_grad=True)
    F.max_pool1d(x, 2)
    with tg.no_grad():
        F.max_pool1d(x, 2)
    F.max_pool1d(x.detach(), 2)
    F.max_pool1d(np.ones((1, 1, 4)), 2)
    assert seen == [True, False, False, False]


# -- 16 bits: sums of 1 and 2047 times 2^-11, of which float16 would keep only the 1 ---

MANY = np.full((1, 1, 2048), 2.0**-11)
MANY[..., 0] = 1.0
SUM = MANY.sum()


def half(values, device, requires_grad=False):
    return tg.tensor(values, "float16", device, requires_grad)


def test_half_precision_convolution_is_summed_in_float32(device, monkeypatch):
    ones = half(np.ones((1, 1, 2048)), device, True)
    many = half(MANY, device, True)
    out = F.conv1d(many, ones)
    assert out.dtype == tg.float16
    assert out.item() == pytest.approx(SUM, rel=2.0**-11)
    wide = F.conv_transpose1d(half(np.ones((1, 1, 2048)), device), many)
    assert wide.detach().numpy().max() == 2.0
    monkeypatch.setattr(type(backend_of(ones.array)), "column_bytes", 1)
    rows, weight = half(MANY.reshape(2048, 1, 1), device), half([[[1.0]]], device, True)
    F.conv1d(rows, weight).sum().backward()
    assert weight.grad.dtype == tg.float16
    assert weight.grad.item() == 2.0


def test_half_precision_pooling_is_summed_in_float32(device):
    window = Window((2048,), (1,), (0,), (1,))
    many = half(MANY, device)
    assert pooling.window_sum(many, window=window, positions=(1,)).item() == 2.0
    last = half(MANY[..., ::-1].copy(), device)  # the 1 is added to first
    spread = pooling.window_spread(last, window=window, lengths=(4095,))
    assert spread.dtype == tg.float16
    assert spread.numpy().max() == 2.0
    average = F.avg_pool1d(many * 60000.0, 2048)  # the sum alone would be inf
    assert average.item() == pytest.approx(58.6, rel=2.0**-10)
    elevens = F.adaptive_avg_pool1d(half(np.full((1, 31), 1.9), device), 3)
    assert elevens.numpy().tolist() == [[np.float16(1.9)] * 3]


def test_autocast_lowers_convolutions_and_no_pooling(device):
    x = tg.tensor(random(1, 2, 5, 5), "float32", device, True)
    weight, bias = (tg.ones(s, device=device) for s in [(2, 2, 3, 3), 2])
    with tg.autocast(device, dtype=tg.float16):
        assert F.conv2d(x, weight, bias).dtype == tg.float16
        assert F.conv_transpose2d(x, weight, bias).dtype == tg.float16
        pools = [F.max_pool2d(x, 2), F.avg_pool2d(x, 2), F.adaptive_avg_pool2d(x, 3)]
        F.conv2d(x, weight, bias).sum().backward()
    assert x.grad.dtype == tg.float32
    assert [each.dtype for each in pools] == [tg.float32] * 3
    exact = F.adaptive_avg_pool2d(x.astype("float64"), 3)
    assert float((pools[2] - exact).abs().max()) < 1e-6


@pytest.mark.parametrize(
    "f",
    [
        lambda x, w: F.conv2d(x, w, None, 2, 1),
        lambda x, w: F.conv_transpose2d(x, w, None, 2, 1, 1),
        lambda x, w: F.max_pool2d(x * x, 2, 1) * w.mean(),
        lambda x, w: F.avg_pool2d(x * x, 3, 2, 1, True, False) * w.mean(),
        lambda x, w: F.adaptive_avg_pool2d(x * x, (3, 2)) * w.mean(),
        lambda x, w: F.adaptive_max_pool2d(x * x, (3, 2)) * w.mean(),
    ],
    ids=["conv", "conv_transpose", "max", "avg", "adaptive avg", "adaptive max"],
)
def test_second_order_by_finite_differences(f):
    check_grads(f, random(1, 2, 4, 5), random(2, 2, 3, 2, seed=1), order=2)


# -- modules ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        (nn.Conv1d, (8, 3, 5)),
        (nn.Conv2d, (8, 3, 5, 5)),
        (nn.ConvTranspose1d, (6, 4, 5)),
        (nn.ConvTranspose2d, (6, 4, 5, 5)),
    ],
)
def test_initial_values(kind, shape, device):
    """Uniform in +-1 / sqrt(fan_in), fan_in = shape[1] * kernel, as PyTorch's."""
    tg.manual_seed(0)
    module = kind(6, 8, 5, groups=2, device=device, dtype="float64")
    bound = 1.0 / math.sqrt(math.prod(shape[1:]))
    assert module.weight.shape == shape
    assert module.bias.shape == (8,)
    weight, bias = module.weight.detach().numpy(), module.bias.detach().numpy()
    for values in (weight, bias):
        assert np.abs(values).max() <= bound
        assert np.abs(values).max() > 0.7 * bound
    assert len(np.unique(weight)) == weight.size
    assert abs(weight.mean()) < 0.3 * bound
    again = weight.copy()
    module.reset_parameters()
    assert not np.array_equal(module.weight.detach().numpy(), again)


MODULES = {
    "Conv1d(2, 4, kernel_size=(3,), stride=(1,))": nn.Conv1d(2, 4, 3),
    "Conv2d(2, 4, kernel_size=(3, 3), stride=(1, 1), padding=same, bias=False)": (
        nn.Conv2d(2, 4, 3, padding="same", bias=False)
    ),
    "Conv2d(2, 4, kernel_size=(3, 1), stride=(2, 2), padding=(1, 0), dilation=(2, 2), "
    "groups=2, padding_mode=reflect)": nn.Conv2d(
        2, 4, (3, 1), 2, (1, 0), 2, 2, padding_mode="reflect"
    ),
    "ConvTranspose1d(2, 4, kernel_size=(3,), stride=(2,), output_padding=(1,))": (
        nn.ConvTranspose1d(2, 4, 3, 2, output_padding=1)
    ),
    "ConvTranspose2d(2, 4, kernel_size=(3, 3), stride=(2, 2))": (
        nn.ConvTranspose2d(2, 4, 3, 2)
    ),
    "MaxPool1d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)": (
        nn.MaxPool1d(2)
    ),
    "MaxPool2d(kernel_size=(2, 3), stride=1, padding=1, dilation=2, ceil_mode=True)": (
        nn.MaxPool2d((2, 3), 1, 1, 2, ceil_mode=True)
    ),
    "AvgPool1d(kernel_size=2, stride=2, padding=0)": nn.AvgPool1d(2),
    "AvgPool2d(kernel_size=2, stride=1, padding=1)": nn.AvgPool2d(2, 1, 1),
    "AdaptiveAvgPool1d(output_size=2)": nn.AdaptiveAvgPool1d(2),
    "AdaptiveAvgPool2d(output_size=(1, None))": nn.AdaptiveAvgPool2d((1, None)),
    "AdaptiveMaxPool1d(output_size=2)": nn.AdaptiveMaxPool1d(2),
    "AdaptiveMaxPool2d(output_size=(2, 2))": nn.AdaptiveMaxPool2d((2, 2)),
}


@pytest.mark.parametrize("text", MODULES)
def test_repr_is_pytorchs(text):
    assert repr(MODULES[text]).partition("  #")[0] == text


# -- on the strict double of CuPy ------------------------------------------------------

CALLS = {
    "conv1d": lambda x, w: F.conv1d(x[..., 0], w[..., 0], w[:, 0, 0, 0], 2, "valid"),
    "conv2d": lambda x, w: F.conv2d(x, w, None, 1, "same", 2),
    "conv2d in groups": lambda x, w: F.conv2d(x, w[:, :1], None, (1, 2), 1, 1, 2),
    "conv_transpose2d": lambda x, w: F.conv_transpose2d(x, w[:2], None, 2, 1, 1),
    "max_pool2d": lambda x, w: F.max_pool2d(x, 2, 1, 1, 2, True) * w.mean(),
    "indices": lambda x, w: F.max_pool2d(x, 2, return_indices=True)[0] * w.mean(),
    "avg_pool2d": lambda x, w: F.avg_pool2d(x, 2, 2, 1, True, False) * w.mean(),
    "adaptive_avg_pool2d": lambda x, w: F.adaptive_avg_pool2d(x, (3, 2)) * w.mean(),
    "adaptive_max_pool2d": lambda x, w: (
        F.adaptive_max_pool2d(x, (3, 2), True)[0] * w.mean()
    ),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_nothing_waits_on_a_device(name, dtype):
    """Forward, backward and the second order equal the CPU's; nothing is copied."""
    found = {}
    with strict_cupy.strict_cuda() as cuda:
        for device in ("cpu", "cuda"):
            x = tg.tensor(random(2, 2, 5, 4), dtype, device, True)
            w = tg.tensor(random(4, 2, 3, 2, seed=1), dtype, device, True)
            with cuda.counting() as seen:
                out = CALLS[name](x, w)
                grads = tg.grad((out * out).mean(), [x, w], create_graph=True)
                second = tg.grad(sum((g * g).mean() for g in grads), [x, w])
            results = [each.detach() for each in (out, *grads, *second)]
            assert all(each.device.startswith(device) for each in results)
            found[device] = [each.numpy().astype("float64") for each in results]
        assert seen == strict_cupy.Seen()
    loose = {"float64": 1e-12, "float16": 2.0**-7, "bfloat16": 2.0**-4}[dtype]
    for got, want in zip(found["cuda"], found["cpu"], strict=True):
        np.testing.assert_allclose(got, want, atol=loose * max(1.0, np.abs(want).max()))
