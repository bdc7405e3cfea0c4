"""What `parity/` cannot show of layers: errors, 16 bits, extremes, waiting.

That their numbers are PyTorch's is shown by tests/parity/.
"""

from __future__ import annotations

import copy
import inspect
import pickle
import re

import numpy as np
import pytest
import scipy.stats
from strict_cupy import strict_cuda
from test_nn_activations import ACTIVATIONS, OPTIONS
from test_nn_losses import LOSSES, loss_of

import tinygrad_softmax as tg
from tinygrad_softmax import nn
from tinygrad_softmax.backends.cupy_dropout import CudaDropout
from tinygrad_softmax.backends.dropouts import DropoutKernels
from tinygrad_softmax.nn import functional as F  # noqa: N812  (PyTorch's name)
from tinygrad_softmax.nn.functional import channel_norms
from tinygrad_softmax.optim import SGD


def raises(text: str, kind: type[Exception] = ValueError):
    return pytest.raises(kind, match=re.escape(text))


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


# -- normalisation ---------------------------------------------------------------------


def test_the_means_of_all_batches(device):
    """momentum=None: the running values are plain averages, in float64 as here."""
    module = nn.BatchNorm1d(3, momentum=None, dtype="float64", device=device)
    batches = random(4, 8, 3) + 3.0
    for i, batch in enumerate(batches):
        module(tg.tensor(batch, device=device))
        assert module.num_batches_tracked.item() == i + 1
    mean, var = module.running_mean.numpy(), module.running_var.numpy()
    np.testing.assert_allclose(mean, batches.mean(axis=(0, 1)), rtol=1e-13)
    unbiased = batches.var(axis=1, ddof=1).mean(axis=0)
    np.testing.assert_allclose(var, unbiased, rtol=1e-13)


def test_running_values_have_no_graph_and_stay_the_same_arrays(device):
    module = nn.BatchNorm2d(2, device=device)
    arrays = [buffer.array for buffer in module.buffers()]
    x = tg.tensor(random(3, 2, 2, 2).astype("float32"), device=device)
    module(x.requires_grad_()).sum().backward()
    for buffer, array in zip(module.buffers(), arrays, strict=True):
        assert buffer.array is array
        assert not buffer.requires_grad
    assert module.num_batches_tracked.item() == 1
    module.eval()(x)
    assert module.num_batches_tracked.item() == 1
    module.reset_running_stats()
    state = {k: v.tolist() for k, v in module.state_dict().items()}
    assert state["running_mean"] == [0, 0]
    assert state["running_var"] == [1, 1]
    assert state["num_batches_tracked"] == 0


@pytest.mark.parametrize(
    "kind",
    [
        lambda: nn.BatchNorm1d(4),
        lambda: nn.InstanceNorm1d(4, affine=True, track_running_stats=True),
        lambda: nn.LayerNorm((4, 5)),
        lambda: nn.RMSNorm((4, 5)),
        lambda: nn.GroupNorm(2, 4),
    ],
)
def test_reset_parameters(kind, device):
    module, fresh = kind().to(device), kind()
    with tg.no_grad():
        for each in module.parameters():
            each += 3.0
    for buffer in module.buffers():
        nn.init.constant_(buffer, 7)
    module.reset_parameters()
    for key, value in fresh.state_dict().items():
        np.testing.assert_array_equal(module.state_dict()[key].numpy(), value.numpy())


NORMS = {
    "batch_norm": lambda x: F.batch_norm(x, None, None, training=True),
    "instance_norm": F.instance_norm,
    "layer_norm": lambda x: F.layer_norm(x, x.shape[1:]),
    "rms_norm": lambda x: F.rms_norm(x, x.shape[1:]),
    "group_norm": lambda x: F.group_norm(x, 2),
}


@pytest.mark.parametrize("name", NORMS)
def test_norms_of_16_bits_are_computed_in_float32(name, device):
    """Their squares would overflow float16, and their sums lose digits."""
    x = (random(4, 6, 50) * 100.0 + 300.0).astype(np.float16)
    exact = NORMS[name](x.astype(np.float64))
    given = tg.tensor(x, device=device, requires_grad=True)
    out = NORMS[name](given)
    assert out.dtype == tg.float16
    np.testing.assert_allclose(out.detach().numpy(), exact, rtol=2e-3, atol=2e-3)
    out.sum().backward()
    assert given.grad.dtype == tg.float16
    weight = tg.ones(6, "float32", device)
    mixed = F.batch_norm(given, None, None, weight, weight, training=True)
    assert mixed.dtype == tg.float16


@pytest.mark.parametrize("name", NORMS)
def test_norms_far_from_0(name, device):
    """The mean is taken first: a naive E[x^2] - E[x]^2 has no digits left here."""
    x = random(4, 6, 50)
    near, far = NORMS[name](x), NORMS[name](tg.tensor(x + 1e6, device=device))
    if name != "rms_norm":
        np.testing.assert_allclose(far.numpy(), near, atol=1e-8)


@pytest.mark.parametrize("name", NORMS)
def test_norms_of_nothing(name, device):
    for shape in ((0, 4, 3), (4, 4, 3)):
        x = tg.ones(shape, "float64", device, requires_grad=True)
        out = NORMS[name](x)
        assert out.shape == shape
        out.sum().backward()
        assert np.isfinite(x.grad.numpy()).all()
    module = nn.BatchNorm1d(3, device=device)
    module(tg.ones((0, 3), device=device)).sum().backward()
    assert module.running_mean.tolist() == [0, 0, 0]
    assert module.weight.grad.tolist() == [0, 0, 0]


def test_a_batch_norm_as_pytorch_initialises_and_shows_it():
    assert repr(nn.BatchNorm2d(3)) == (
        "BatchNorm2d(3, eps=1e-05, momentum=0.1, affine=True, "
        "track_running_stats=True)  # 6 parameters"
    )
    norm = nn.LayerNorm([2, 3])
    assert repr(norm) == (
        "LayerNorm((2, 3), eps=1e-05, elementwise_affine=True)  # 12 parameters"
    )
    assert repr(nn.GroupNorm(2, 4, affine=False)) == (
        "GroupNorm(2, 4, eps=1e-05, affine=False)"
    )
    assert repr(nn.RMSNorm(2)) == (
        "RMSNorm((2,), eps=None, elementwise_affine=True)  # 2 parameters"
    )


def test_what_norms_refuse(device):
    def x(*shape):
        return tg.ones(shape, device=device)

    with raises("batch_norm: the input of shape (1, 3) has one value per channel"):
        nn.BatchNorm1d(3, device=device)(x(1, 3))
    with raises("(1, 3, 1, 1) has one value per channel"):
        nn.BatchNorm2d(3, track_running_stats=False, device=device).eval()(
            x(1, 3, 1, 1)
        )
    with raises("BatchNorm1d: the input has shape (2, 3, 4, 5); expected 2 or 3 axes"):
        nn.BatchNorm1d(3)(x(2, 3, 4, 5))
    with raises("BatchNorm2d: the input has shape (2, 3); expected 4 axes"):
        nn.BatchNorm2d(3)(x(2, 3))
    with raises("BatchNorm1d: the input has 4 channels; expected num_features=3"):
        nn.BatchNorm1d(3)(x(2, 4))
    with raises("batch_norm: running_mean and running_var are needed outside training"):
        F.batch_norm(x(2, 3), None, None)
    with raises("has 3 channels, but a weight, bias or running value has shape (4,)"):
        F.batch_norm(x(2, 3), None, None, x(4), training=True)
    with raises("batch_norm: the input has shape (3,); expected (N, C, ...)"):
        F.batch_norm(x(3), None, None, training=True)
    with raises("batch_norm: the input is int64", TypeError):
        F.batch_norm(tg.tensor([[1]], device=device), None, None)
    with raises("instance_norm: the input of shape (2, 3, 1) has one place per"):
        F.instance_norm(x(2, 3, 1))
    with raises("InstanceNorm1d: the input has 3 channels; expected num_features=4"):
        nn.InstanceNorm1d(4)(x(2, 3, 5))
    with raises("InstanceNorm2d: the input has shape (2, 3); expected 3 or 4 axes"):
        nn.InstanceNorm2d(3)(x(2, 3))
    for shape in ((4,), (2, 3, 1), ()):
        with raises(f"layer_norm: normalized_shape is {shape}; expected the last"):
            F.layer_norm(x(2, 3), shape)
    with raises("rms_norm: normalized_shape is (4,); expected the last lengths of the"):
        F.rms_norm(x(2, 3), 4)
    with raises("layer_norm: weight or bias has shape (1,); expected normalized_shape"):
        F.layer_norm(x(2, 3), 3, x(1))
    with raises("group_norm: 2 groups were asked for, which does not divide the 3"):
        F.group_norm(x(2, 3), 2)
    with raises("group_norm: the input of shape (1, 4) has one value in each of its 4"):
        F.group_norm(x(1, 4), 4)
    for groups in (3, 0):
        with raises(f"GroupNorm: num_groups={groups} does not divide num_channels=4"):
            nn.GroupNorm(groups, 4)
    with raises("normalize: the input is int64", TypeError):
        F.normalize(tg.tensor([[1]], device=device))


# -- embedding -------------------------------------------------------------------------


def test_embeddings_start_normal_and_pad_with_0(device):
    tg.manual_seed(0)
    module = nn.Embedding(500, 40, padding_idx=-1, device=device)
    weight = module.weight.detach().numpy()
    assert module.padding_idx == 499
    assert not weight[499].any()
    assert scipy.stats.kstest(weight[:499].ravel(), "norm").pvalue > 1e-3
    module(tg.tensor([499, 3], device=device)).sum().backward()
    grad = module.weight.grad.numpy()
    assert not grad[499].any()
    assert (grad[3] == 1).all()
    assert repr(nn.Embedding(5, 3, 0, 1.0, 1.0, True)) == (
        "Embedding(5, 3, padding_idx=0, max_norm=1.0, norm_type=1.0, "
        "scale_grad_by_freq=True)  # 15 parameters"
    )


def test_from_pretrained_shares_and_freezes(device):
    table = tg.tensor(random(4, 3), device=device)
    frozen = nn.Embedding.from_pretrained(table, padding_idx=1)
    assert frozen.weight.array is table.array
    assert not frozen.weight.requires_grad
    assert frozen.padding_idx == 1
    assert nn.Embedding.from_pretrained(table, freeze=False).weight.requires_grad
    assert repr(frozen).endswith("# 12 parameters, 12 frozen")
    np.testing.assert_array_equal(frozen.weight.numpy(), table.numpy())
    with raises("the table has shape (3,); expected (rows, width)"):
        nn.Embedding.from_pretrained(table[0])


def test_an_index_out_of_range_is_named(device):
    weight = tg.ones((4, 2), device=device)
    for index, text in {
        (
            (0, 1),
            (4, -1),
        ): "the index at position (1, 0) is 4, but with 4 rows an index "
        "must be in 0..3",
        (0, -2, 9): "embedding: the index at position 1 is -2, but with 4 rows",
        5: "the index at position () is 5",
    }.items():
        given = tg.tensor(index, device=device)
        with raises(text, IndexError):
            F.embedding(given, weight).tolist()
    with raises(
        "one_hot: the label at position 1 is 3, but with 3 classes", IndexError
    ):
        F.one_hot(tg.tensor([0, 3], device=device), 3).tolist()
    with raises("one_hot: the label at position 0 is -1, but with 2 cl", IndexError):
        F.one_hot(tg.tensor([-1, 1], device=device)).tolist()


def test_what_embedding_refuses(device):
    weight, index = tg.ones((4, 2), device=device), tg.tensor([0], device=device)
    with raises("embedding: the indices are float32; expected an integer", TypeError):
        F.embedding(tg.ones(1, device=device), weight)
    with raises("embedding: the indices are list; expected an integer", TypeError):
        F.embedding([0], weight)
    with raises("embedding: weight has shape (4,); expected (rows, width)"):
        F.embedding(index, weight[:, 0])
    for padding in (4, -5):
        with raises(f"embedding: padding_idx={padding} is none of the 4 rows"):
            F.embedding(index, weight, padding)
        with raises(f"Embedding: padding_idx={padding} is none of the 4 rows"):
            nn.Embedding(4, 2, padding)
    for call in (
        lambda: F.embedding(index, weight, sparse=True),
        lambda: nn.Embedding(4, 2, sparse=True),
    ):
        with raises("gradients here are dense; mend: sparse=False"):
            call()
    with raises("Embedding: the weight has shape (4, 2); expected (4, 3)"):
        nn.Embedding(4, 3, _weight=weight)
    with raises("one_hot: the labels are float32; expected integers", TypeError):
        F.one_hot(tg.ones(1, device=device))
    with raises("one_hot: there are no labels; mend: give num_classes"):
        F.one_hot(index[:0])
    with raises("one_hot: num_classes was given as 0; expected 1 or more, or -1"):
        F.one_hot(index, 0)


# -- modules of all kinds --------------------------------------------------------------


def test_signatures_are_pytorchs_without_what_is_deprecated():
    """Names and order of what is taken by place, as torch 2.13 has them."""
    for name, wanted in {
        "BatchNorm1d": "num_features eps momentum affine track_running_stats device "
        "dtype bias",
        "LayerNorm": "normalized_shape eps elementwise_affine bias device dtype",
        "RMSNorm": "normalized_shape eps elementwise_affine device dtype",
        "GroupNorm": "num_groups num_channels eps affine device dtype bias",
        "Embedding": "num_embeddings embedding_dim padding_idx max_norm norm_type "
        "scale_grad_by_freq sparse _weight _freeze device dtype",
        "Dropout": "p inplace",
        "PReLU": "num_parameters init device dtype",
        "Softplus": "beta threshold",
        "Threshold": "threshold value inplace",
        "BCEWithLogitsLoss": "weight reduction pos_weight",
        "SmoothL1Loss": "reduction beta",
        "KLDivLoss": "reduction log_target",
    }.items():
        parameters = inspect.signature(getattr(nn, name)).parameters
        assert list(parameters) == wanted.split()


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.BatchNorm1d(3),
        lambda: nn.LayerNorm(3),
        lambda: nn.PReLU(3),
        lambda: nn.Sequential(nn.Dropout(0.0), nn.GroupNorm(3, 3), nn.GELU("tanh")),
    ],
)
def test_layers_copy_and_pickle(make, device):
    module = make().to(device)
    x = tg.tensor(random(4, 3).astype("float32"), device=device)
    module(x)
    wanted = module.eval()(x).detach().numpy()
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        np.testing.assert_array_equal(other(x).detach().numpy(), wanted)
        assert not other.training
        other.train()(x)  # moves its own running values only
    np.testing.assert_array_equal(module(x).detach().numpy(), wanted)


@pytest.mark.parametrize(
    "norm",
    [
        lambda x, w: F.layer_norm(x, 8, w, None, 1.0),
        lambda x, w: F.rms_norm(x, 8, w, 1.0),
        lambda x, w: F.batch_norm(x, None, None, w, None, True, eps=1.0),
        lambda x, w: F.group_norm(x, 2, w, None, 1.0),
        lambda x, w: F.batch_norm(x, w, w, w, None, eps=400.0),
    ],
)
def test_norms_are_computed_in_float32_at_higher_orders(norm, device):
    """Squares of 300, and sums of gradients of 300, have no room in float16."""
    x = (300 * random(3, 8)).astype("float16")
    g = (300 * random(3, 8)).astype("float16")
    found = {}
    for create_graph in (False, True):
        a = tg.tensor(x, device=device, requires_grad=True)
        w = tg.full(8, 200.0, dtype="float16", device=device, requires_grad=True)
        out = norm(a, w)
        seed = tg.tensor(g, device=device)
        da, dw = tg.grad(out, [a, w], seed, create_graph=create_graph)
        found[create_graph] = [each.detach().numpy() for each in (da, dw)]
    for first, again in zip(found[False], found[True], strict=True):
        np.testing.assert_allclose(first, again, rtol=2e-3, atol=0.2)


def test_one_scale_and_shift_adds_up_in_float32_at_higher_orders(device):
    """Products of 160,000, which have no room in float16, and their difference."""
    half = dict(dtype="float16", device=device)
    x, g = tg.full((2, 1), 400.0, **half), tg.tensor([[400.0], [-399.0]], **half)
    for create_graph in (False, True):
        mean, scale = (tg.full(1, v, **half, requires_grad=True) for v in (0.0, 400.0))
        out = channel_norms._channel_affine(x * 0.0, mean, scale, None)
        (found,) = tg.grad(out, [mean], g, create_graph=create_graph)
        assert found.tolist() == [-400.0]
        out = channel_norms._channel_affine(x, None, scale * 0.25, None)
        (found,) = tg.grad(out, [scale], g, create_graph=create_graph)
        assert found.tolist() == [100.0]


# -- no waiting ------------------------------------------------------------------------


def test_a_training_step_of_every_layer_waits_for_nothing(monkeypatch):
    """On the strict double of CuPy: three steps, and the CPU's numbers.

    In float64: a batch norm before another has a bias whose gradient is 0, so that it
    holds nothing but rounding, and the CPU's kernels don't round as the plain ones do.
    """

    def build(device):
        tg.manual_seed(0)
        return nn.Sequential(
            nn.Embedding(9, 6, padding_idx=0, max_norm=2.0, scale_grad_by_freq=True),
            nn.BatchNorm1d(4),
            nn.BatchNorm1d(4, momentum=None),
            nn.InstanceNorm1d(4, affine=True, track_running_stats=True),
            nn.LayerNorm(6),
            nn.RMSNorm((4, 6)),
            nn.GroupNorm(2, 4),
            nn.Dropout(0.3),
            nn.Dropout1d(0.2),
            nn.AlphaDropout(0.1),
            nn.PReLU(4),
            *(getattr(nn, name)() for name in SIMPLE),
            nn.Flatten(),
            nn.Linear(24, 3),
        ).to(device, tg.float64)

    index = np.random.default_rng(1).integers(0, 9, (5, 4))
    target = np.random.default_rng(2).random((5, 3))
    losses = (
        nn.MSELoss(),
        nn.L1Loss(),
        nn.SmoothL1Loss(),
        nn.HuberLoss(),
        nn.BCEWithLogitsLoss(pos_weight=tg.ones(3)),
        nn.PoissonNLLLoss(full=True),
        lambda x, y: nn.BCELoss()(F.sigmoid(x), y),
        lambda x, y: nn.KLDivLoss("batchmean")(F.log_softmax(x, 1), y),
        lambda x, y: nn.GaussianNLLLoss()(x, y, F.softplus(x)),
    )
    found = {}
    with strict_cuda() as cuda:
        # A seed drops others on a GPU: here the same as on the CPU.
        for name in ("dropout", "kept"):
            monkeypatch.setattr(CudaDropout, name, getattr(DropoutKernels, name))
        for device in ("cpu", "cuda"):
            model = build(device)
            x, y = tg.tensor(index, device=device), tg.tensor(target, device=device)
            moved = [
                loss.to(device) if isinstance(loss, nn.Module) else loss
                for loss in losses
            ]
            optimizer = SGD(model.parameters(), 0.01)
            with cuda.counting() as seen:
                for _ in range(3):
                    out = model(x)
                    sum(loss(out, y) for loss in moved).backward()
                    optimizer.step()
                    optimizer.zero_grad()
                model.eval()(x)
            assert not seen.waits
            assert not seen.downloads
            found[device] = [v.numpy() for v in model.state_dict().values()]
    for got, want in zip(found["cuda"], found["cpu"], strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)


SIMPLE = [
    "ReLU6",
    "LeakyReLU",
    "ELU",
    "SELU",
    "CELU",
    "GELU",
    "SiLU",
    "Mish",
    "Tanh",
    "Softplus",
    "Softsign",
    "Hardtanh",
    "Hardswish",
    "LogSigmoid",
    "Hardsigmoid",
    "Sigmoid",
]


def test_layers_on_another_device_than_the_current_one():
    """cuda:1 while cuda:0 is current: the double refuses arrays made in between."""
    with strict_cuda():
        device = "cuda:1"
        x = tg.tensor(random(4, 3, 2), device=device, requires_grad=True)
        norm = nn.BatchNorm1d(3, momentum=None, dtype="float64", device=device)
        tracked = nn.InstanceNorm1d(3, track_running_stats=True).double().to(device)
        out = tracked(norm(x))
        for name in ACTIVATIONS:
            if name not in ("softmin", "threshold"):
                out = out + getattr(F, name)(x, **OPTIONS.get(name, {}))
        for function in (F.dropout, F.dropout1d, F.alpha_dropout):
            out = out + function(x, 0.5, True)
        y = F.sigmoid(x.detach())
        for name in LOSSES:
            out = out + loss_of(name, F.sigmoid(x), y)
        table = nn.Embedding(5, 2, 0, 1.0, 2.0, True, device=device)
        index = tg.tensor([[1, 4, 0]] * 4, device=device)
        out = out + table(index) + F.one_hot(index[:, :1], 2)
        out.sum().backward()
        model = nn.Sequential(norm, tracked, table)
        model.load_state_dict(model.state_dict())
        model.zero_grad(set_to_none=False)
        norm.reset_parameters()
        table.reset_parameters()
        for each in (x.grad, *model.parameters(), *model.buffers()):
            assert each.device == device


def test_bad_indices_on_a_gpu_are_told_at_the_next_read():
    with strict_cuda() as cuda:
        weight = tg.tensor(random(4, 2), device="cuda", requires_grad=True)
        index = tg.tensor([[0, 1], [7, 3]], device="cuda")
        with cuda.counting() as seen:
            out = F.embedding(index, weight, padding_idx=1)
            out.sum().backward()
        assert not seen.waits
        with raises("the index at position (1, 0) is 7, but with 4 rows", IndexError):
            out.tolist()
        values = out.detach().numpy()
        assert np.isnan(values[1, 0]).all()
        assert np.isfinite(values[[0, 0, 1], [0, 1, 1]]).all()
        grad = weight.grad.numpy()
        np.testing.assert_array_equal(grad, [[1, 1], [0, 0], [0, 0], [1, 1]])
        hot = F.one_hot(tg.tensor([0, 5], device="cuda"), 2)
        with raises("one_hot: the label at position 1 is 5", IndexError):
            hot.numpy()
        assert hot.tolist() == [[1, 0], [0, 0]]


def test_what_is_not_checked_on_a_gpu_is_nan():
    with strict_cuda():
        probs = tg.tensor([0.5, 1.5, -0.5], device="cuda")
        half = tg.full(3, 0.5, device="cuda")
        loss = F.binary_cross_entropy(probs, half, reduction="none").numpy()
        assert np.isnan(loss).tolist() == [False, True, True]


def test_linear_says_what_does_not_fit(device):
    x, weight = tg.ones((3, 5), device=device), tg.ones((2, 4), device=device)
    with pytest.raises(
        ValueError, match=r"and None; expected .*of length 5, must have 4"
    ):
        F.linear(x, weight)
    with pytest.raises(
        ValueError, match=r"and \(3,\); expected .* and \(out_features,\)$"
    ):
        F.linear(x, tg.ones((2, 5), device=device), tg.ones(3, device=device))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda m: m(tg.ones((1, 2), dtype="int64")),
            "linear: the input is int64; exp",
        ),
        (
            lambda m: F.cross_entropy(m(tg.ones((2, 2))), [0, 1]),
            "the target is a list;",
        ),
        (
            lambda m: nn.Sequential([m]),
            "was given a list; expected a Module; mend: Seq",
        ),
        (lambda m: nn.init.zeros_(m), "nn.init got a Linear; expected a tensor, such"),
        (
            lambda m: nn.init.uniform_(m),
            "nn.init got a Linear; expected a tensor, such",
        ),
        (
            lambda m: nn.utils.clip_grad_norm_(m, 1.0),
            "clip_grad_norm_ got a Linear; ex",
        ),
        (
            lambda m: m.load_state_dict({"weight": "none", "bias": np.zeros(2)}),
            "load_state_dict: weight is a str; expected a tensor or an array (",
        ),
    ],
)
def test_what_is_handed_over_by_mistake_is_refused(call, text):
    with raises(text, TypeError):
        call(nn.Linear(2, 2))
