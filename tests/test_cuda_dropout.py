"""The CUDA kernels of dropout: on the CPU by cuda_shim, which are not a GPU's numbers;
or on a GPU with `--device cuda`.

The reference is Philox in NumPy (philox.py), which is held against its authors' known
answers here.
"""

from __future__ import annotations

import cuda_checks as checks
import cuda_shim
import numpy as np
import pytest
import scipy.stats
from cuda_checks import assert_close, draw_array, on_device, wide
from cuda_flat_cases import dropout_case
from hypothesis import given, settings
from hypothesis import strategies as st
from philox import philox, words

import tinygrad_softmax as tg
from tinygrad_softmax.backends import Generator
from tinygrad_softmax.backends.cuda import geometry, kernels
from tinygrad_softmax.backends.cupy_dropout import limit
from tinygrad_softmax.backends.random import (
    CapturedDraws,
    Draw,
    default_generator,
    signed,
)
from tinygrad_softmax.nn import functional


@pytest.fixture(scope="module")
def backend(request):
    with checks.kernels_on(request.config.getoption("device")) as backend:
        yield backend


# -- which numbers ---------------------------------------------------------------------

# (counter, key, words): kat_vectors of Random123, philox4x32 with 10 rounds.
KNOWN = [
    ((0,) * 4, (0,) * 2, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (
        (0xFFFFFFFF,) * 4,
        (0xFFFFFFFF,) * 2,
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_the_reference_gives_the_known_answers(counter, key, expected):
    assert tuple(map(int, philox(counter, key))) == expected


WORDS = """
extern "C" __global__ void ask(const long long* numbers, long long* out, long long n,
                               long long seed, long long draw) {
    const Draw of(seed, draw, nullptr);
    for (int i = threadIdx.x; i < n; i += blockDim.x) out[i] = of.word(numbers[i]);
}
"""


@pytest.mark.parametrize("seed", [0, 2**40 + 7, 2**64 - 1])
@pytest.mark.parametrize("draw", [1, 2**33 + 5])
def test_words_far_beyond_32_bits(backend, seed, draw):
    """Of numbers that no test can have an array of."""
    starts = [0, 2**31 - 2, 2**32 - 3, 2**34 - 5, 2**34 * 3 + 1, 2**45]
    numbers = np.concatenate([start + np.arange(9) for start in starts])
    code = kernels.code("dropout.cu") + WORDS
    options = kernels.options("float32", {"WIDE": 1})
    module = backend.xp.RawModule(code=code, options=options, backend="nvrtc")
    given_, out = (on_device(backend, numbers) for _ in "io")
    arguments = (given_, out, len(numbers), signed(seed), draw)
    module.get_function("ask")((1,), (32,), arguments)
    expected = np.concatenate([words(9, seed, draw, start) for start in starts])
    np.testing.assert_array_equal(out.get().astype("uint64"), expected)


def test_seeds_of_any_length():
    assert [signed(seed) for seed in (0, 2**63 - 1)] == [0, 2**63 - 1]
    assert [signed(seed) for seed in (2**63, 2**64 - 1)] == [-(2**63), -1]
    long = {signed(2**64 + i) for i in range(100)}
    assert len(long) == 100
    assert all(-(2**63) <= seed < 2**63 for seed in long)


def test_the_limit_of_a_probability():
    assert [limit(p) for p in (0.0, 0.5, 1.0)] == [0, 2**31, 2**32]
    assert limit(1e-12) == 0
    assert limit(1.0 - 1e-12) == 2**32
    assert limit(np.float16(0.25)) == 2**30


# -- what they drop --------------------------------------------------------------------


@settings(max_examples=40)
@given(
    st.one_of(st.integers(1, 40), st.sampled_from([511, 1024, 1027, 2049, 4100])),
    checks.dtypes,
    checks.schedules,
    st.sampled_from([0, 0, 1]),
)
def test_dropout(backend, n, dtype, schedule, shift):
    with cuda_shim.schedule(schedule):
        dropout_case(n, dtype, shift)(backend)


def test_more_elements_than_blocks(backend, monkeypatch):
    monkeypatch.setattr(geometry, "MOST_BLOCKS", 2)
    dropout_case(9001, "float32", 0)(backend)
    dropout_case(9001, "float16", 1)(backend)


def test_layouts_and_shapes(backend):
    x, draw = draw_array(np.random.default_rng(0), (12, 34), "float32"), Draw(3, 4)
    for change in (lambda x: x.T, lambda x: x[::2, 3:20], lambda x: x[:, 0]):
        given_x, host = change(on_device(backend, x)), wide(change(x))
        kept = words(host.size, 3, 4).reshape(host.shape) >= 2.0**30
        got = backend.dropout(given_x, 0.25, draw, host.shape)
        assert_close(got, host * kept / 0.75, "float32", 2)
    scalar = on_device(backend, x)[1, 1]
    got = backend.dropout(scalar, 0.25, draw, ())
    assert got.shape == ()


def test_not_finite_numbers(backend):
    """As x times a mask of 0 has them, which is PyTorch's way too."""
    x = np.array([np.inf, -np.inf, np.nan, 1.0] * 8, "float32")
    kept = words(32, 5, 6) >= 2.0**31
    got = backend.dropout(on_device(backend, x), 0.5, Draw(5, 6), (32,))
    with np.errstate(invalid="ignore"):
        expected = x * np.where(kept, 2.0, 0.0)
    np.testing.assert_array_equal(got.get(), expected)


@pytest.mark.parametrize("p", [0.001, 0.3, 0.5, 0.999])
def test_the_share_that_is_dropped(backend, p):
    kept = backend.kept((200, 500), p, Draw(0, 1)).get()
    assert scipy.stats.binomtest(int(kept.sum()), kept.size, 1.0 - p).pvalue > 1e-3
    for axis in (0, 1):  # a test of every row and column together
        counts, n = kept.sum(axis=axis), kept.shape[axis]
        chi2 = ((counts - n * (1 - p)) ** 2).sum() / (n * p * (1 - p))
        if n * p * (1 - p) > 5:
            assert 1e-3 < scipy.stats.chi2.sf(chi2, len(counts)) < 1.0 - 1e-3


def test_draws_and_seeds_are_independent(backend):
    draws = [Draw(0, 1), Draw(0, 2), Draw(1, 1), Draw(2**32, 1), Draw(0, 2**32 + 1)]
    masks = np.array([backend.kept((20_000,), 0.5, draw).get() for draw in draws])
    agreeing = np.array(
        [(masks[i] == masks[k]).sum() for i in range(5) for k in range(i)]
    )
    assert (abs(agreeing - 10_000) < 4 * np.sqrt(5000)).all()


# -- through tensors -------------------------------------------------------------------

FUNCTIONS = {
    functional.dropout: (40, 50),
    functional.dropout1d: (40, 50, 2),
    functional.dropout2d: (40, 5, 1, 3),
}
every_function = pytest.mark.parametrize(
    ("function", "shape"), FUNCTIONS.items(), ids=lambda x: getattr(x, "__name__", "")
)


def tensor(shape, **options):
    rng = np.random.default_rng(1)
    return tg.tensor(rng.normal(size=shape), None, "cuda", **options)


@every_function
def test_forward_and_backward_drop_the_same_and_keep_nothing(backend, function, shape):
    x, g = tensor(shape, requires_grad=True), tensor(shape)
    tg.manual_seed(5)
    out = function(x, 0.3)
    saved = [value for rule in out.node.saved for value in rule]
    assert not any(hasattr(value, "dtype") for value in saved)
    tg.manual_seed(6)  # what is drawn meanwhile changes nothing
    functional.dropout(x, 0.5)
    out.backward(g)
    mask = out.detach().numpy() / x.detach().numpy()
    assert set(np.unique(mask.round(12))) == {0.0, round(1 / 0.7, 12)}
    np.testing.assert_allclose(x.grad.numpy(), g.numpy() * mask, 1e-12)


@every_function
def test_higher_orders(backend, function, shape):
    """f = sum(d(x)^3), with d(x) = m x: the third derivative is 6 m^3."""
    x = tensor(shape, requires_grad=True)
    tg.manual_seed(7)
    out = function(x, 0.4)
    mask = out.detach().numpy() / x.detach().numpy()
    found = (out * out * out).sum()
    for _ in range(2):
        found = tg.grad(found, x, create_graph=True).sum()
    third = tg.grad(found, x)
    np.testing.assert_allclose(third.numpy(), 6.0 * mask**3, 1e-10)


def test_a_seed_and_a_state_repeat_it(backend):
    x = tensor((1000,))
    tg.manual_seed(3)
    first, second = functional.dropout(x).numpy(), functional.dropout(x).numpy()
    assert (first != second).any()
    generator = tg.manual_seed(3)
    functional.dropout(x)
    state = generator.state
    np.testing.assert_array_equal(functional.dropout(x).numpy(), second)
    generator.state = state
    np.testing.assert_array_equal(functional.dropout(x).numpy(), second)
    mine = Generator(3)
    np.testing.assert_array_equal(functional.dropout(x, generator=mine).numpy(), first)
    tg.manual_seed(0)


def test_a_checkpoint_drops_the_same_again(backend):
    grads = []
    for again in (False, True):
        x = tensor((30, 40), requires_grad=True)
        tg.manual_seed(11)

        def block(x):
            return functional.dropout(tg.tanh(functional.dropout(x, 0.3)), 0.6)

        out = tg.checkpoint(block, x) if again else block(x)
        functional.dropout(x, 0.5)  # draws after it go on
        (out * out).sum().backward()
        assert tg.manual_seed(0).state == (0, 0)
        grads.append((out.detach().numpy(), x.grad.numpy()))
    for one, two in zip(*grads, strict=True):
        np.testing.assert_array_equal(one, two)


def test_alpha_dropout_takes_the_same_mask(backend):
    x = tg.ones(1000, device="cuda")
    tg.manual_seed(2)
    out = functional.alpha_dropout(x, 0.3, True).numpy()
    kept = words(1000, 2, 1) >= limit(0.3)
    assert len(np.unique(out)) == 2
    assert ((out > 0) == kept).all()


# -- captured in a graph of launches ---------------------------------------------------


@pytest.fixture
def recorded(monkeypatch):
    """The launches, which are still done; each can be done again with its arguments."""
    seen = []
    call = kernels.Kernel.__call__

    def noted(self, *arguments, **options):
        seen.append(lambda: call(self, *arguments, **options))
        return call(self, *arguments, **options)

    monkeypatch.setattr(kernels.Kernel, "__call__", noted)
    return seen


def test_another_graph_has_draws_of_its_own(backend):
    draws = CapturedDraws(backend)
    with draws.capturing():
        functional.dropout(tensor((5,)), 0.5)
    with (
        pytest.raises(RuntimeError, match="mend: make a CapturedDraws for each graph"),
        draws.capturing(),
    ):
        pass


def test_each_replay_gets_the_draws_of_a_call(backend, recorded):
    x, own = tensor((500,)), Generator(2**63 + 9)

    def work():
        first = functional.dropout(x, 0.3)
        return first, functional.dropout(first, 0.5, generator=own)

    tg.manual_seed(4)
    functional.dropout(x)
    own.draw()
    states = default, mine = default_generator.state, own.state
    draws = CapturedDraws(backend)
    recorded.clear()
    with draws.capturing():
        results = work()
    launches = list(recorded)
    assert (default_generator.state, own.state) == states
    replayed = []
    for _ in range(3):
        draws.advance()
        for launch in launches:
            launch()
        replayed.append([out.numpy().copy() for out in results])
    after = default_generator.state, own.state
    assert after == ((4, default[1] + 3), (own.seed, mine[1] + 3))
    default_generator.state, own.state = states
    for outs in replayed:
        for got, want in zip(outs, work(), strict=True):
            np.testing.assert_array_equal(got, want.numpy())
    tg.manual_seed(0)


def test_a_draw_from_before_a_capture_stays_what_it_was(backend, recorded):
    """The backward alone is captured."""
    x, other = tensor((500,), requires_grad=True), Generator(8)
    out = functional.dropout(x, 0.3, generator=other)
    mask = out.detach().numpy() / x.detach().numpy()
    draws = CapturedDraws(backend)
    recorded.clear()
    with draws.capturing():
        grad = tg.grad(out.sum(), x, retain_graph=True)
    np.testing.assert_allclose(grad.numpy(), mask, 1e-12)
    with draws.capturing():
        functional.dropout(x, 0.3, generator=other)  # now it draws there too
        grad = tg.grad(out.sum(), x)
    np.testing.assert_allclose(grad.numpy(), mask, 1e-12)


def test_a_checkpoint_from_before_a_capture_stays_what_it_was(backend):
    """Its draws are repeated in the backward, which is captured."""
    x, own = tensor((500,), requires_grad=True), Generator(9)
    out = tg.checkpoint(lambda x: functional.dropout(x, 0.3, generator=own), x)
    mask = out.detach().numpy() / x.detach().numpy()
    own.draw()
    draws, states = CapturedDraws(backend), (default_generator.state, own.state)
    with draws.capturing():
        grad = tg.grad(out.sum(), x)
    np.testing.assert_allclose(grad.numpy(), mask, 1e-12)
    assert (default_generator.state, own.state) == states


@pytest.mark.double
def test_a_replay_on_devices_that_are_not_current(backend, recorded):
    """Each finds the draws in its own memory."""
    devices, own = ("cuda:1", "cuda:0"), Generator(3)

    def work():
        ones = (tg.ones(500, device=each) for each in devices)
        return [functional.dropout(each, 0.5, generator=own) for each in ones]

    draws = CapturedDraws(backend)
    with draws.capturing():
        results = work()
    launches = list(zip(devices, recorded, strict=True))
    for number in (0, 2):
        draws.advance()
        for device, launch in launches:
            with backend.on(device):
                launch()
        assert own.state == (3, number + 2)
        own.count = number
        for got, want in zip(results, work(), strict=True):
            np.testing.assert_array_equal(got.numpy(), want.numpy())


def test_a_capture_ends_with_its_block(backend):
    draws, generator = CapturedDraws(backend), Generator(1)

    def interrupted():
        with draws.capturing():
            generator.draw()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()
    assert generator.state == (1, 0)
    functional.dropout(tensor((5,)), generator=generator)
    assert generator.state == (1, 1)
