"""How results of the CUDA kernels of normalisations are held against float64."""

from __future__ import annotations

from typing import Any

import cuda_checks as checks
import numpy as np
from cuda_checks import REFERENCE, assert_close, draw_array, on_device, wide

EPS = 1e-5


def given_to(backend: Any, *arrays: np.ndarray | None) -> list[Any]:
    return [None if a is None else on_device(backend, a) for a in arrays]


def widened(*arrays: np.ndarray | None) -> list[Any]:
    return [None if a is None else wide(a) for a in arrays]


def affine(rng, columns, dtype, which):
    """A weight and a bias of a dtype, or None."""
    return [
        draw_array(rng, columns, dtype, scale=1.0) if has else None for has in which
    ]


def check_forward(backend, x, weight, bias, dtype, shift=0):
    rows, host = on_device(backend, x, shift), wide(x)
    weight_, bias_ = given_to(backend, weight, bias)
    w, b = widened(weight, bias)
    working = str(checks.working(dtype))
    with np.errstate(all="ignore"):
        expected, mean, scale = REFERENCE.layer_norm(host, w, b, EPS)
        plain, root = REFERENCE.rms_norm(host, w, EPS)
        # Units in the last place: the mean's error beside the distance from it.
        size = abs(host).mean(axis=1, keepdims=True)
        times = 1.0 if w is None else abs(w)
        apart = (abs(host - mean) + size) * scale * times + (0 if b is None else abs(b))
    out, mean_, scale_ = backend.layer_norm(rows, weight_, bias_, EPS)
    unlike = 16 * (1 + np.nan_to_num((size * scale).max()))
    assert_close(mean_, mean, working, 16, size)
    infinite = np.isinf(mean)  # (which assert_close does not look at)
    assert (mean_.get()[infinite] == mean[infinite]).all()
    assert_close(scale_, scale, working, unlike)
    assert_close(out, expected, dtype, unlike, np.nan_to_num(apart))
    out, root_ = backend.rms_norm(rows, weight_, EPS)
    assert_close(root_, root, working, 16)
    assert_close(out, plain, dtype, 24)
    return given_to(backend, mean.astype(working), scale.astype(working))


def check_backward(backend, g, x, weight, dtype, shift=0, needs=(True, True, True)):
    """On a mean and a scale that were rounded once, so that both have the same."""
    working = str(checks.working(dtype))
    _, mean, scale = REFERENCE.layer_norm(wide(x), None, None, EPS)
    mean, scale = mean.astype(working), scale.astype(working)
    for name, centre in (("layer_norm_grad", mean), ("rms_norm_grad", None)):
        some = needs if centre is not None else needs[:2]
        rest = (scale,) if centre is None else (centre, scale)
        expected = getattr(REFERENCE, name)(*widened(g, x, weight, *rest), some)
        got = getattr(backend, name)(
            on_device(backend, g, shift), *given_to(backend, x, weight, *rest), some
        )
        check_gradients(got, expected, g, x, weight, centre, scale, dtype)


def check_gradients(got, expected, g, x, weight, mean, scale, dtype):
    host_g, host_x, w = widened(g, x, weight)
    m = 0.0 if mean is None else wide(mean)
    h = abs(host_g if w is None else host_g * w)
    # (x - mean is rounded once, to the place of the larger of them.)
    normal = (abs(host_x - m) + abs(host_x) + abs(m)) * wide(scale)
    over = {"axis": 1, "keepdims": True}
    size = (h + h.mean(**over) + normal * (h * normal).mean(**over)) * wide(scale)
    sizes = size, (abs(host_g) * normal).sum(axis=0), abs(host_g).sum(axis=0)
    working = str(checks.working(dtype))
    dtypes = [dtype, working if w is None else str(weight.dtype), working]
    limits = 24, 12, 8  # 8 units: 1e-6 of the sum of absolute values in float32
    for each, of, limit, wanted, bound in zip(
        got, expected, limits, dtypes, sizes, strict=False
    ):
        assert (each is None) == (of is None)
        if each is not None:
            assert_close(each, of, wanted, limit, bound)
