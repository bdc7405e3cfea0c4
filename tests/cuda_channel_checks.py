"""How results of the CUDA kernels of channels are held against float64."""

from __future__ import annotations

from typing import Any

import cuda_checks as checks
import numpy as np
from cuda_checks import REFERENCE, assert_close, draw_array, on_device, wide
from cuda_norm_checks import given_to, widened


def over(x: np.ndarray) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


def beside(x: np.ndarray, v: Any) -> Any:
    return v if np.isscalar(v) else v.reshape(-1, *(1,) * (x.ndim - 2))


def check_moments(backend: Any, x: np.ndarray, dtype: str, shift: int = 0) -> None:
    host, working = wide(x), str(checks.working(dtype))
    with np.errstate(all="ignore"):
        mean, var = REFERENCE.channel_moments(host)
        size = abs(host).mean(axis=over(x))
    found = backend.channel_moments(on_device(backend, x, shift))
    assert_close(found[0], mean, working, 8, np.nan_to_num(size, posinf=0.0))
    infinite = np.isinf(mean)  # (which assert_close does not look at)
    assert (found[0].get()[infinite] == mean[infinite]).all()
    # (x - mean is rounded to the place of the larger.)
    with np.errstate(all="ignore"):
        terms = np.nan_to_num(var + np.sqrt(var) * size, posinf=0.0)
    assert_close(found[1], var, working, 12, terms)


def check_sums(
    backend: Any, g: Any, x: Any, mean: Any, dtype: str, needs: Any, shift: int = 0
) -> None:
    host_g, host_x, m = widened(g, x, mean)
    of_x, of_mean = given_to(backend, x, mean)
    expected = REFERENCE.channel_sums(host_g, host_x, m, needs)
    found = backend.channel_sums(on_device(backend, g, shift), of_x, of_mean, needs)
    apart = abs(host_x) + beside(x, 0.0 if m is None else abs(m))
    sizes = abs(host_g).sum(axis=over(x)), (abs(host_g) * apart).sum(axis=over(x))
    for each, of, size in zip(found, expected, sizes, strict=True):
        assert (each is None) == (of is None)
        if each is not None:
            assert_close(each, of, str(checks.working(dtype)), 8, size)


def check_maps(
    backend: Any, g: Any, x: Any, values: list[Any], dtype: str, shift: int = 0
) -> None:
    """values: mean, scale, shift (each may be None), and then an offset and a slope."""
    host_g, host_x, *hosts = widened(g, x, *values)
    of_x = on_device(backend, x, shift)
    of_g, *given = given_to(backend, g, *values)
    m, scale, plus = hosts[:3]
    out = backend.channel_affine(of_x, *given[:3])
    size = abs(host_x) + beside(x, 0.0 if m is None else abs(m))
    size = size * beside(x, 1.0 if scale is None else abs(scale))
    size = size + beside(x, 0.0 if plus is None else abs(plus))
    assert_close(out, REFERENCE.channel_affine(host_x, *hosts[:3]), dtype, 4, size)
    if m is None or scale is None:
        return
    rest = [m, hosts[3], hosts[4], scale]
    out = backend.channel_blend(of_g, of_x, given[0], given[3], given[4], given[1])
    expected = wide(x) * 0 + host_g * beside(x, scale)
    expected = expected - (host_x - beside(x, m)) * beside(x, rest[2])
    expected = expected - beside(x, rest[1])
    size = abs(host_g) * beside(x, abs(scale)) + beside(x, abs(rest[1]))
    size = size + (abs(host_x) + beside(x, abs(m))) * beside(x, abs(rest[2]))
    assert_close(out, expected, dtype, 4, size)


def of_channels(rng: Any, channels: int, dtype: str, has: Any) -> list[Any]:
    """Numbers of channels, or None where `has` says so."""
    return [draw_array(rng, channels, dtype, scale=1.0) if h else None for h in has]
