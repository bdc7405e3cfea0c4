"""Transformer layers: encoder, decoder, and both together.

Source: A. Vaswani et al., "Attention is all you need", NeurIPS 2017; with the
normalisation first, R. Xiong et al., "On layer normalization in the transformer
architecture", ICML 2020.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

from .. import ops
from ..creation import full
from . import functional, init
from .attention import MultiheadAttention
from .containers import ModuleList
from .dropout import Dropout
from .functional.linears import linear_activation
from .linear import Linear
from .module import Module
from .normalization import LayerNorm

__all__ = [
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
]


class TransformerEncoderLayer(Module):
    """Self-attention and a two-layer network, `torch.nn.TransformerEncoderLayer`.

    Each is added to its input and normalised: LayerNorm(x + f(x)), or with `norm_first`
    x + f(LayerNorm(x)).

    Args:
        d_model: features of input and output.
        nhead: heads of the attention.
        dim_feedforward: features between the two linear layers.
        dropout: dropout on the attention weights, and after each linear map.
        activation: "relu", "gelu", or a function of one tensor.
        layer_norm_eps: `eps` of the normalisations.
        batch_first: whether inputs are (N, T, d_model), rather than (T, N, d_model).
        norm_first: normalise what goes in, rather than what comes out.
        bias: whether linear layers and normalisations have one.

    >>> layer = TransformerEncoderLayer(d_model=8, nhead=2, dim_feedforward=16)
    >>> layer(tg.zeros((5, 3, 8))).shape
    (5, 3, 8)
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Any], Any] = functional.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        place = {"device": device, "dtype": dtype}
        attention = {"dropout": dropout, "bias": bias, "batch_first": batch_first}
        norm = {"eps": layer_norm_eps, "bias": bias}
        self.self_attn = MultiheadAttention(d_model, nhead, **attention, **place)
        self.linear1 = Linear(d_model, dim_feedforward, bias, **place)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, **place)
        self.norm_first = norm_first
        self.norm1 = LayerNorm(d_model, **norm, **place)
        self.norm2 = LayerNorm(d_model, **norm, **place)
        self.dropout1, self.dropout2 = Dropout(dropout), Dropout(dropout)
        self.activation = _activation(activation)

    def forward(
        self,
        src: Any,
        src_mask: Any = None,
        src_key_padding_mask: Any = None,
        is_causal: bool = False,
    ) -> Any:
        """The layer's output, of the shape of `src`.

        src_mask, src_key_padding_mask, is_causal: the masks and the hint of
            `MultiheadAttention`.
        """

        def attend(x: Any) -> Any:
            masks = (src_key_padding_mask, False, src_mask)
            x, _ = self.self_attn(x, x, x, *masks, is_causal=is_causal)
            return self.dropout1(x)

        x = _added(src, attend, self.norm1, self.norm_first)
        return _added(x, self._feed_forward, self.norm2, self.norm_first)

    def _feed_forward(self, x: Any) -> Any:
        x = _activated(x, self.linear1, self.activation)
        x = self.linear2(self.dropout(x))
        return self.dropout2(x)


class TransformerDecoderLayer(Module):
    """Self-attention, attention to a memory, and a two-layer network.

    `torch.nn.TransformerDecoderLayer`. The arguments are those of
    `TransformerEncoderLayer`.

    >>> layer = TransformerDecoderLayer(d_model=8, nhead=2, dim_feedforward=16)
    >>> layer(tg.zeros((5, 3, 8)), memory=tg.zeros((7, 3, 8))).shape
    (5, 3, 8)
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Any], Any] = functional.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        place = {"device": device, "dtype": dtype}
        attention = {"dropout": dropout, "bias": bias, "batch_first": batch_first}
        norm = {"eps": layer_norm_eps, "bias": bias}
        self.self_attn = MultiheadAttention(d_model, nhead, **attention, **place)
        self.multihead_attn = MultiheadAttention(d_model, nhead, **attention, **place)
        self.linear1 = Linear(d_model, dim_feedforward, bias, **place)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, **place)
        self.norm_first = norm_first
        self.norm1 = LayerNorm(d_model, **norm, **place)
        self.norm2 = LayerNorm(d_model, **norm, **place)
        self.norm3 = LayerNorm(d_model, **norm, **place)
        self.dropout1, self.dropout2 = Dropout(dropout), Dropout(dropout)
        self.dropout3 = Dropout(dropout)
        self.activation = _activation(activation)

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Any:
        """The layer's output, of the shape of `tgt`.

        memory: the encoder's output, shape (S, N, d_model), or with N first.
        tgt_*, memory_*: the masks and hints of the two attentions.
        """

        def attend_itself(x: Any) -> Any:
            masks = (tgt_key_padding_mask, False, tgt_mask)
            x, _ = self.self_attn(x, x, x, *masks, is_causal=tgt_is_causal)
            return self.dropout1(x)

        def attend_memory(x: Any) -> Any:
            masks = (memory_key_padding_mask, False, memory_mask)
            hint = memory_is_causal
            x, _ = self.multihead_attn(x, memory, memory, *masks, is_causal=hint)
            return self.dropout2(x)

        x = _added(tgt, attend_itself, self.norm1, self.norm_first)
        x = _added(x, attend_memory, self.norm2, self.norm_first)
        return _added(x, self._feed_forward, self.norm3, self.norm_first)

    def _feed_forward(self, x: Any) -> Any:
        x = _activated(x, self.linear1, self.activation)
        x = self.linear2(self.dropout(x))
        return self.dropout3(x)


class TransformerEncoder(Module):
    """Copies of an encoder layer, one after the other, `torch.nn.TransformerEncoder`.

    Args:
        encoder_layer: the layer; all copies start with its weights.
        num_layers: how many.
        norm: a module for the last output, or None.
        enable_nested_tensor, mask_check: PyTorch's switches of a faster path for
            inference, which there gives zeros at padded places; accepted and ignored.

    >>> layer = TransformerEncoderLayer(8, 2, dim_feedforward=16, batch_first=True)
    >>> encoder = TransformerEncoder(layer, num_layers=2)
    >>> mask = Transformer.generate_square_subsequent_mask(5)
    >>> encoder(tg.zeros((3, 5, 8)), mask, is_causal=True).shape
    (3, 5, 8)
    """

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        self.layers = _copies(encoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self,
        src: Any,
        mask: Any = None,
        src_key_padding_mask: Any = None,
        is_causal: bool | None = None,
    ) -> Any:
        """The last layer's output, normalised where there is a `norm`.

        is_causal: the hint of `MultiheadAttention`. None is False here; in PyTorch
            it looks whether the mask is the causal one. That would wait for a GPU, and
            the result is the same.
        """
        for layer in self.layers:
            src = layer(src, mask, src_key_padding_mask, is_causal=bool(is_causal))
        return src if self.norm is None else self.norm(src)


class TransformerDecoder(Module):
    """Copies of a decoder layer, one after the other, `torch.nn.TransformerDecoder`.

    The arguments are those of `TransformerEncoder`.

    >>> layer = TransformerDecoderLayer(8, 2, dim_feedforward=16)
    >>> decoder = TransformerDecoder(layer, num_layers=2)
    >>> decoder(tg.zeros((5, 3, 8)), tg.zeros((7, 3, 8))).shape
    (5, 3, 8)
    """

    def __init__(
        self, decoder_layer: Module, num_layers: int, norm: Module | None = None
    ) -> None:
        self.layers = _copies(decoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Any:
        """The last layer's output; the arguments are those of the layer."""
        masks = (tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask)
        for layer in self.layers:
            tgt = layer(tgt, memory, *masks, bool(tgt_is_causal), memory_is_causal)
        return tgt if self.norm is None else self.norm(tgt)


class Transformer(Module):
    """An encoder and a decoder that attends to its output, `torch.nn.Transformer`.

    Every parameter of two axes or more starts as `xavier_uniform_` has it.

    Args:
        num_encoder_layers, num_decoder_layers: how many layers; a LayerNorm follows.
        custom_encoder, custom_decoder: modules in place of those.

    The other arguments are those of `TransformerEncoderLayer`.

    >>> model = Transformer(8, 2, 1, 1, dim_feedforward=16)
    >>> model(src=tg.zeros((7, 3, 8)), tgt=tg.zeros((5, 3, 8))).shape
    (5, 3, 8)
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Any], Any] = functional.relu,
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        place = {"device": device, "dtype": dtype}
        sizes = (d_model, nhead, dim_feedforward, dropout, activation)
        options = (layer_norm_eps, batch_first, norm_first, bias)

        def norm() -> Module:
            return LayerNorm(d_model, layer_norm_eps, bias=bias, **place)

        if custom_encoder is None:
            layer = TransformerEncoderLayer(*sizes, *options, **place)
            custom_encoder = TransformerEncoder(layer, num_encoder_layers, norm())
        if custom_decoder is None:
            layer = TransformerDecoderLayer(*sizes, *options, **place)
            custom_decoder = TransformerDecoder(layer, num_decoder_layers, norm())
        self.encoder, self.decoder = custom_encoder, custom_decoder
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first
        for parameter in self.parameters():
            if parameter.ndim > 1:
                init.xavier_uniform_(parameter)

    def forward(
        self,
        src: Any,
        tgt: Any,
        src_mask: Any = None,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        src_key_padding_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Any:
        """The decoder's output, of the shape of `tgt`.

        src: shape (S, N, d_model), with N first under `batch_first`, or (S, d_model).
        tgt: shape (T, N, d_model), likewise.

        Raises ValueError for other shapes.
        """
        s, t = tuple(src.shape), tuple(tgt.shape)
        batch = 0 if self.batch_first else 1
        fits = len(s) == len(t) in (2, 3) and s[-1] == t[-1] == self.d_model
        if not fits or (len(s) == 3 and s[batch] != t[batch]):
            raise ValueError(
                f"Transformer: src and tgt have shapes {s} and {t}; expected the same "
                f"N on axis {batch}, or none, and {self.d_model} features"
            )
        memory = self.encoder(src, src_mask, src_key_padding_mask, src_is_causal)
        return self.decoder(
            tgt,
            memory,
            tgt_mask,
            memory_mask,
            tgt_key_padding_mask,
            memory_key_padding_mask,
            tgt_is_causal,
            memory_is_causal,
        )

    @staticmethod
    def generate_square_subsequent_mask(
        sz: int, device: str | None = None, dtype: Any = None
    ) -> Any:
        """The causal mask of floats, shape (sz, sz): -inf above the diagonal, else 0.

        >>> Transformer.generate_square_subsequent_mask(2)
        tensor([[  0., -inf],
                [  0.,   0.]])
        """
        return ops.triu(full((sz, sz), -math.inf, dtype, device), 1)


def _added(x: Any, block: Callable[[Any], Any], norm: Module, norm_first: bool) -> Any:
    """A block with its residual connection and its normalisation."""
    return x + block(norm(x)) if norm_first else norm(x + block(x))


def _copies(layer: Module, n: int) -> ModuleList:
    return ModuleList(copy.deepcopy(layer) for _ in range(n))


# Activations that `linear_activation` knows.
_TOGETHER = (
    (functional.relu, "relu"),
    (functional.gelu, "gelu"),
    (ops.relu, "relu"),
    (ops.gelu, "gelu"),
)


def _activated(x: Any, linear: Module, activation: Callable[[Any], Any]) -> Any:
    """activation(linear(x)): as one op where that is all that would happen."""
    if (
        type(linear) is Linear
        and "forward" not in vars(linear)
        and linear.bias is not None
    ):
        for function, name in _TOGETHER:
            if activation is function:
                return linear_activation(x, linear.weight, linear.bias, name)
    return activation(linear(x))


def _activation(given: str | Callable[[Any], Any]) -> Callable[[Any], Any]:
    named = {"relu": functional.relu, "gelu": functional.gelu}
    if isinstance(given, str):
        if given not in named:
            raise ValueError(
                f"a transformer's activation was given as {given!r}; expected 'relu', "
                "'gelu' or a function"
            )
        return named[given]
    return given
