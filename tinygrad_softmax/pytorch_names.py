"""What PyTorch calls otherwise, for the errors of a name that is not there."""

from __future__ import annotations

# PyTorch's name: what to write here.
_HERE = {
    "add_": "x += y under tg.no_grad()",
    "allclose": "numpy.allclose(x.numpy(), y.numpy())",
    "baddbmm": "x + y @ z",
    "bmm": "tg.matmul, or @",
    "cat": "tg.concatenate",
    "chunk": "tg.split",
    "clamp": "tg.clip",
    "contiguous": "x itself: layout is nobody's business here",
    "copy_": "x[...] = y under tg.no_grad()",
    "cpu": 'x.to("cpu")',
    "cuda": 'x.to("cuda")',
    "data": "x.detach()",
    "dim": "x.ndim",
    "double": "x.astype(tg.float64)",
    "expand": "tg.broadcast_to",
    "fill_": "x[...] = value under tg.no_grad()",
    "float": "x.astype(tg.float32)",
    "from_numpy": "tg.asarray",
    "gather": "tg.take_along_axis",
    "ge": "x >= y",
    "gt": "x > y",
    "half": "x.astype(tg.float16)",
    "index_select": "tg.take",
    "int": "x.astype(tg.int32)",
    "inference_mode": "tg.no_grad",
    "is_tensor": "isinstance(x, tg.Tensor)",
    "le": "x <= y",
    "long": "x.astype(tg.int64)",
    "lt": "x < y",
    "masked_fill": "tg.where(mask, value, x)",
    "mm": "tg.matmul, or @",
    "mul_": "x *= y under tg.no_grad()",
    "numel": "x.size",
    "permute": "tg.permute_dims",
    "randint": "numpy.random.default_rng(seed).integers",
    "randperm": "numpy.random.default_rng(seed).permutation",
    "scatter_add": "tg.index_add",
    "set_grad_enabled": "tg.no_grad or tg.enable_grad",
    "sub_": "x -= y under tg.no_grad()",
    "t": "x.T",
    "topk": "tg.sort or tg.argsort, and the last k",
    "type": "x.astype",
    "unbind": "tuple(x)",
    "unsqueeze": "tg.expand_dims",
    "view": "x.reshape",
    "zero_": "x[...] = 0 under tg.no_grad()",
}


def missing(owner: str, name: str) -> str:
    """The sentence for a name that `owner` has not, with the mend if there is one."""
    mend = f"; mend: PyTorch's {name} is {_HERE[name]} here" if name in _HERE else ""
    return f"{owner} has no attribute {name!r}{mend}"
