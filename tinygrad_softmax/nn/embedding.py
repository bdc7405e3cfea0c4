"""Embedding: a table whose rows are looked up and learned."""

from __future__ import annotations

from typing import Any

from ..backends import there
from ..creation import asarray, zeros
from . import functional, init
from .module import Module, Parameter

__all__ = ["Embedding"]


class Embedding(Module):
    """A learned vector for each of `num_embeddings` numbers: `functional.embedding`.

    The weight, (num_embeddings, embedding_dim), starts normal with mean 0 and standard
    deviation 1, drawn on the host from the library's generator (`tg.manual_seed`).

    padding_idx: a row that starts as 0 and gets no gradient.
    max_norm, norm_type, scale_grad_by_freq: as in `functional.embedding`.
    sparse: refused if True; gradients here are dense.

    Raises:
        ValueError: a padding_idx out of range, or `sparse=True`.

    >>> Embedding(10, 3, padding_idx=0)(tg.tensor([0]))
    tensor([[0., 0., 0.]], requires_grad=True)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Any = None,
        _freeze: bool = False,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        if sparse:
            raise ValueError("Embedding: gradients here are dense; mend: sparse=False")
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise ValueError(
                    f"Embedding: padding_idx={padding_idx} is none of the "
                    f"{num_embeddings} rows"
                )
            padding_idx %= num_embeddings
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = padding_idx
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.sparse = sparse
        shape = (num_embeddings, embedding_dim)
        if _weight is None:
            self.weight = Parameter(zeros(shape, dtype, device), not _freeze)
            self.reset_parameters()
        elif tuple(_weight.shape) != shape:
            raise ValueError(
                f"Embedding: the weight has shape {tuple(_weight.shape)}; expected "
                f"{shape}"
            )
        else:
            self.weight = Parameter(_weight, not _freeze)

    def reset_parameters(self) -> None:
        """Draw the weight anew; the padding row becomes 0."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with there(self.weight.array):
                self.weight.array[self.padding_idx] = 0

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Any,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Embedding:
        """Around a table, (rows, width), whose memory it shares.

        freeze: the table is not trained.

        >>> table = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> Embedding.from_pretrained(table)(tg.tensor(1))
        tensor([3., 4.])
        """
        embeddings = asarray(embeddings)
        if embeddings.ndim != 2:
            raise ValueError(
                f"Embedding.from_pretrained: the table has shape {embeddings.shape}; "
                "expected (rows, width)"
            )
        rows, width = embeddings.shape
        return cls(
            rows,
            width,
            padding_idx,
            max_norm,
            norm_type,
            scale_grad_by_freq,
            sparse,
            _weight=embeddings,
            _freeze=freeze,
        )

    def forward(self, input: Any) -> Any:
        return functional.embedding(
            input,
            self.weight,
            self.padding_idx,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
        )

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        if self.padding_idx is not None:
            text += f", padding_idx={self.padding_idx}"
        if self.max_norm is not None:
            text += f", max_norm={self.max_norm}"
        if self.norm_type != 2.0:
            text += f", norm_type={self.norm_type}"
        if self.scale_grad_by_freq:
            text += ", scale_grad_by_freq=True"
        return text
