"""The losses: every option, at kinks, at 0 and 1, far out."""

from __future__ import annotations

import warnings
from itertools import product

import numpy as np
from parity.harness import Case, values

X, Y, W = values("x", (3, 4), -3, 3), values("y", (3, 4), -3, 3), values("w", (3, 4))
P, Q = values("p", (3, 4), 0.05, 0.95), values("q", (3, 4), 0.05, 0.95)
W = np.abs(W) + 0.1
PER_CLASS = np.array([0.5, 2.0, 1.0, 0.25])
HARD = (Q > 0.5).astype(np.float64)
FAR = np.array([-1000.0, -40.0, -1.0, 0.0, 1.0, 40.0, 1000.0])
LABELS = np.array([1, 0, 3])
REDUCTIONS = ("mean", "sum", "none")


def module(name, **options):
    return lambda lib: getattr(lib.nn, name)(**options)


def function(name):
    return lambda lib: getattr(lib.nn.functional, name)


def weighted(name, **options):
    """A module whose class weights are tensors of its library."""

    def make(lib):
        tensors = {
            key: lib.tensor(value) if isinstance(value, np.ndarray) else value
            for key, value in options.items()
        }
        return getattr(lib.nn, name)(**tensors)

    return make


def silently(f, *args, **options):
    """Without PyTorch's warning that the "mean" of kl_div is no mean of rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return f(*args, **options)


def distances():
    every = {
        "MSELoss": [{}],
        "L1Loss": [{}],
        "SmoothL1Loss": [{}, {"beta": 0.5}, {"beta": 0.0}],
        "HuberLoss": [{}, {"delta": 0.5}, {"delta": 2.0}],
    }
    kinks = np.array([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0])
    for (name, options), reduction in product(every.items(), REDUCTIONS):
        for kw in options:
            made = module(name, reduction=reduction, **kw)
            text = f"{name} {kw or ''} {reduction}"
            yield Case(text, made, (X, Y))
            yield Case(f"{text} at kinks", made, (kinks, 0 * kinks))
        if name != "SmoothL1Loss":
            f = function(
                {"MSELoss": "mse_loss", "L1Loss": "l1_loss"}.get(name, "huber_loss")
            )
            kw = {"reduction": reduction, "weight": W}
            yield Case(f"{name} weighted {reduction}", f, (X, Y), kw)
    yield Case(
        "MSELoss of integers",
        module("MSELoss"),
        (X, LABELS[:, None] + 0 * W.astype(int)),
    )
    yield Case("HuberLoss far", module("HuberLoss"), (FAR, 0 * FAR))
    yield Case("smooth_l1_loss", function("smooth_l1_loss"), (X, Y), {"beta": 2.0})


def binary():
    for reduction in REDUCTIONS:
        kw = {"reduction": reduction}
        made = module("BCELoss", **kw)
        yield Case(f"BCELoss {reduction}", made, (P, Q))
        made = weighted("BCELoss", weight=PER_CLASS, **kw)
        yield Case(f"BCELoss weighted {reduction}", made, (P, Q))
        for weight, pos in product((None, PER_CLASS, W), (None, PER_CLASS)):
            made = weighted("BCEWithLogitsLoss", weight=weight, pos_weight=pos, **kw)
            shapes = [None if each is None else each.shape for each in (weight, pos)]
            text = f"BCEWithLogitsLoss {shapes} {reduction}"
            yield Case(text, made, (X, Q))
            yield Case(f"{text} hard", made, (X, HARD))
    edges, targets = np.array([0.0, 1.0, 0.0, 1.0, 1e-13]), np.array([0.0, 1, 1, 0, 1])
    none = module("BCELoss", reduction="none")

    def of_constants(f, x, y):
        return f(x, y.detach())

    yield Case(
        "BCELoss at 0 and 1", none, (edges, targets), second=False, call=of_constants
    )
    none = module("BCEWithLogitsLoss", reduction="none")
    for target in (0.0, 0.3, 1.0):
        yield Case(f"logits far, {target}", none, (FAR, 0 * FAR + target))
    f = function("binary_cross_entropy")
    yield Case("binary_cross_entropy", f, (P, Q), {"weight": W, "reduction": "sum"})
    f = function("binary_cross_entropy_with_logits")
    yield Case("..._with_logits", f, (X, Q), {"weight": W, "pos_weight": PER_CLASS})


def divergences():
    log_p, log_q = np.log(P), np.log(Q)
    zeros = np.where(Q > 0.7, 0.0, Q)
    for reduction in (*REDUCTIONS, "batchmean"):
        kw = {"reduction": reduction}
        made = module("KLDivLoss", **kw)
        yield Case(f"KLDivLoss {reduction}", made, (log_p, Q), call=silently)
        made = module("KLDivLoss", log_target=True, **kw)
        yield Case(f"KLDivLoss log {reduction}", made, (log_p, log_q), call=silently)
    f = function("kl_div")
    kw = {"reduction": "sum"}
    yield Case("kl_div with zeros", f, (log_p,), {**kw, "target": zeros})
    yield Case("kl_div of one", f, (log_p[0, 0], Q[0, 0]), {"reduction": "batchmean"})


def likelihoods():
    counts = np.array([[0.5, 1.0, 2.0, 7.5]] * 3)  # (at 0 PyTorch's gradient is nan)
    for reduction in REDUCTIONS:
        kw = {"reduction": reduction}
        for full, log in product((False, True), (False, True)):
            made = module("PoissonNLLLoss", full=full, log_input=log, **kw)
            text = f"PoissonNLLLoss full={full} log={log} {reduction}"
            yield Case(text, made, (X if log else P, counts))
        for full in (False, True):
            made = module("GaussianNLLLoss", full=full, **kw)
            for var in (P, P[:, :1], P[:, 0]):
                text = f"GaussianNLLLoss full={full} {var.shape} {reduction}"
                yield Case(text, made, (X, Y, var))
        for margin in (0.0, 0.3):
            made = module("CosineEmbeddingLoss", margin=margin, **kw)
            signs = np.array([1, -1, -1])
            yield Case(f"CosineEmbeddingLoss {margin} {reduction}", made, (X, Y, signs))
    small = module("GaussianNLLLoss", eps=0.5)
    yield Case("GaussianNLLLoss of small variances", small, (X, Y, P))
    f = function("gaussian_nll_loss")
    yield Case("gaussian_nll_loss of a number", f, (X, Y), {"var": 0.7})
    yield Case(
        "CosineEmbeddingLoss of one",
        module("CosineEmbeddingLoss"),
        (X[0], Y[0], LABELS[0]),
    )
    f = function("cosine_similarity")
    yield Case("cosine_similarity", f, (X, Y))
    yield Case("cosine_similarity, broadcast", f, (X, Y[:1]), {"dim": -1, "eps": 10.0})


def classes():
    labels = LABELS.copy()
    ignored = np.array([1, 2, 3])
    for reduction, weight in product(REDUCTIONS, (None, PER_CLASS)):
        kw = {"reduction": reduction, "weight": weight}
        text = f"{'' if weight is None else 'weighted '}{reduction}"
        made = weighted("CrossEntropyLoss", label_smoothing=0.1, **kw)
        yield Case(f"CrossEntropyLoss {text}", made, (X, labels))
        made = weighted("CrossEntropyLoss", ignore_index=2, **kw)
        yield Case(f"CrossEntropyLoss ignored {text}", made, (X, ignored))
        yield Case(
            f"CrossEntropyLoss of values {text}",
            weighted("CrossEntropyLoss", **kw),
            (X, Q),
        )
        made = weighted("NLLLoss", ignore_index=2, **kw)
        yield Case(f"NLLLoss {text}", made, (np.log(P), ignored))


CASES = [*distances(), *binary(), *divergences(), *likelihoods(), *classes()]
