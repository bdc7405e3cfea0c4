"""Gradients kept within bounds, in place.

Below both `optim` and `nn`, which do not import each other: PyTorch's name for it is
`nn.utils`.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import GeneratorType
from typing import Any

import numpy as np

from .backends import backend_of, there
from .ops import to_device
from .tensor import Tensor

__all__ = ["clip_grad_norm_", "clip_grad_value_"]

Array = Any  # an array of some backend


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale all gradients alike, in place, so that their norm is at most `max_norm`.

    `torch.nn.utils.clip_grad_norm_`: the norm is that of all gradients as one vector,
    and the factor is min(1, max_norm / (norm + 1e-6)) (R. Pascanu, T. Mikolov and Y.
    Bengio, "On the difficulty of training recurrent neural networks", ICML 2013).

    Args:
        parameters: Tensors, of which those without a gradient are passed over.
        max_norm: the largest norm.
        norm_type: of the norm (sum |g|^p)^(1/p); inf is the largest |g|, and 0 counts
            the gradients that are not 0, as in PyTorch.
        error_if_nonfinite: raise if the norm is infinite or nan. This waits for the
            device; nothing else here does.

    Returns:
        The norm before clipping, shape (), on the device of the first gradient. That of
        16-bit gradients is computed and returned in float32 (PyTorch's is 16-bit).

    Raises:
        RuntimeError: the norm is not finite, and `error_if_nonfinite`.

    >>> import tinygrad_softmax as tg
    >>> x = tg.tensor([3.0, 4.0], requires_grad=True)
    >>> (x * x / 2).sum().backward()
    >>> clip_grad_norm_([x], max_norm=1.0)
    tensor(5.)
    >>> [round(value, 4) for value in x.grad.tolist()]
    [0.6, 0.8]
    """
    grads = _gradients(parameters, "clip_grad_norm_")
    if not grads:
        return Tensor(np.zeros((), np.float32))
    order, home = float(norm_type), grads[0]
    device = backend_of(home).device_of(home)
    groups = _by_device(grads)
    with np.errstate(over="ignore", invalid="ignore"):
        norms = [
            to_device(norm, device) for group in groups for norm in _norms(group, order)
        ]
        total = norms[0]
        if len(norms) > 1 or order == 0.0:
            with there(home):
                total = _norms([backend_of(home).xp.stack(norms)], order)[0]
    norm = Tensor(total)
    if error_if_nonfinite and not np.isfinite(norm.item()):
        raise RuntimeError(
            f"clip_grad_norm_: the norm of order {norm_type} of the gradients is "
            f"{norm.item()}; mend: error_if_nonfinite=False scales them all the same"
        )
    for group in groups:
        backend, place = backend_of(group[0]), there(group[0])
        with place:
            to = to_device(total, backend.device_of(group[0]))
            backend.clip_to_norm(group, to, float(max_norm))
    return norm


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Bring every element of every gradient into [-clip_value, clip_value], in place.

    `torch.nn.utils.clip_grad_value_`. nan stays nan.

    >>> import tinygrad_softmax as tg
    >>> x = tg.tensor([3.0, -4.0, 0.5], requires_grad=True)
    >>> (x * x / 2).sum().backward()
    >>> clip_grad_value_([x], 1.0)
    >>> x.grad
    tensor([ 1. , -1. ,  0.5])
    """
    bound = float(clip_value)
    for grad in _gradients(parameters, "clip_grad_value_"):
        with there(grad):
            xp = backend_of(grad).xp
            xp.maximum(grad, -bound, out=grad)
            xp.minimum(grad, bound, out=grad)


def _gradients(parameters: Tensor | Iterable[Tensor], caller: str) -> list[Array]:
    if isinstance(parameters, Tensor):
        parameters = [parameters]
    if hasattr(parameters, "parameters"):
        raise TypeError(
            f"{caller} got a {type(parameters).__name__}; expected its parameters; "
            "mend: model.parameters()"
        )
    given = list(parameters)
    if not given and isinstance(parameters, GeneratorType):
        import warnings

        warnings.warn(
            f"{caller} got a generator that is used up, so no gradient is clipped; "
            "mend: give it model.parameters() anew",
            UserWarning,
            stacklevel=3,
        )
    return [each.grad.array for each in given if each.grad is not None]


def _norms(arrays: list[Array], order: float) -> list[Array]:
    """One or more norms whose norm is that of these arrays of one device."""
    with there(arrays[0]):
        backend = backend_of(arrays[0])
        return list(map(backend.xp.asarray, backend.vector_norms(arrays, order)))


def _by_device(arrays: list[Array]) -> list[list[Array]]:
    """The arrays of each device, in the order in which devices are met."""
    found: dict[str, list[Array]] = {}
    for array in arrays:
        found.setdefault(backend_of(array).device_of(array), []).append(array)
    return list(found.values())
