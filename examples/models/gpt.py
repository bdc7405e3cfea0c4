"""A character-level GPT, trained on the texts of Python's own `help()`.

The decoder of "Attention is all you need" as GPT-2 has it (A. Radford et al., "Language
models are unsupervised multitask learners", 2019): embeddings of characters and of
places are added, blocks of causal attention and a two-layer network follow, each after
a LayerNorm and added to its input, and a last linear layer scores the next character.

    python examples/models/gpt.py           # a few seconds: it learns to spell "the"
    python examples/models/gpt.py --full    # about two minutes: 1.40 nats a character
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinygrad_softmax as tg
from tinygrad_softmax import nn
from tinygrad_softmax.nn import functional


class CausalSelfAttention(nn.Module):
    """Each place attends to itself and to the places before it, in several heads."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        batch, length, width = x.shape

        def split(projected: tg.Tensor) -> tg.Tensor:
            shape = (batch, length, self.heads, width // self.heads)
            return projected.reshape(shape).swapaxes(1, 2)

        attended = functional.scaled_dot_product_attention(
            split(self.query(x)),
            split(self.key(x)),
            split(self.value(x)),
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=True,
        )
        return self.output(attended.swapaxes(1, 2).reshape(x.shape))


class Block(nn.Module):
    """Attention, then a two-layer network at each place by itself."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        self.norm1 = nn.LayerNorm(width)
        self.attention = CausalSelfAttention(width, heads, dropout)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width),
            nn.GELU(approximate="tanh"),
            nn.Linear(4 * width, width),
        )
        self.drop = nn.Dropout(dropout)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        x = x + self.drop(self.attention(self.norm1(x)))
        return x + self.drop(self.mlp(self.norm2(x)))


class GPT(nn.Module):
    """Scores for the next token at each place of a sequence.

    tie_weights: score with the transposed embedding of the tokens, rather than with a
        matrix of its own.
    """

    def __init__(
        self,
        vocabulary: int,
        context: int = 64,
        width: int = 128,
        layers: int = 2,
        heads: int = 4,
        dropout: float = 0.0,
        tie_weights: bool = False,
    ) -> None:
        self.context, self.tie_weights = context, tie_weights
        self.tokens = nn.Embedding(vocabulary, width)
        self.places = nn.Embedding(context, width)
        self.drop = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        if tie_weights:
            self.head.weight = self.tokens.weight
        self.apply(_start_as_gpt2)
        for name, parameter in self.named_parameters():
            if name.endswith(("attention.output.weight", "mlp.2.weight")):
                # What the blocks add up must not grow with their number.
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * layers))

    def forward(
        self, idx: tg.Tensor, targets: tg.Tensor | None = None
    ) -> tuple[tg.Tensor, tg.Tensor | None]:
        """The scores (N, T, vocabulary), and the mean loss where targets are given.

        idx: tokens, integers of shape (N, T), with T <= context; targets: the tokens
            that come next, likewise.
        """
        length = idx.shape[1]
        if length > self.context:
            raise ValueError(
                f"GPT: {length} tokens were given to a context of {self.context}; "
                f"mend: the last ones, idx[:, -{self.context}:]"
            )
        x = self.drop(self.tokens(idx) + self.places.weight[:length])
        for block in self.blocks:
            x = block(x)
        logits = self.head(self.norm(x))
        if targets is None:
            return logits, None
        rows = logits.reshape(-1, logits.shape[-1])
        return logits, tg.softmax_cross_entropy(rows, targets.flatten())

    def generate(
        self,
        idx: tg.Tensor,
        max_new_tokens: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        generator: np.random.Generator | None = None,
    ) -> tg.Tensor:
        """`idx`, shape (N, T), with `max_new_tokens` more, drawn one after the other.

        temperature: below 1 makes the likely likelier; 0 always takes the likeliest.
        top_k: draw among so many likeliest only.
        generator: what is drawn from; by default a new one from `tg.manual_seed`.
        """
        rng = generator or np.random.default_rng(int(tg.rand(1).item() * 2**53))
        sequence = idx.numpy()
        with tg.no_grad():
            for _ in range(max_new_tokens):
                seen = tg.tensor(sequence[:, -self.context :], device=idx.device)
                scores = self(seen)[0][:, -1].numpy().astype(np.float64)
                if top_k is not None:
                    least = np.sort(scores, axis=1)[:, -top_k:][:, :1]
                    scores[scores < least] = -np.inf
                if temperature > 0:
                    # The largest of score + Gumbel noise is a draw from the softmax.
                    scores = scores / temperature + rng.gumbel(size=scores.shape)
                chosen = scores.argmax(axis=1)
                sequence = np.concatenate([sequence, chosen[:, None]], axis=1)
        return tg.tensor(sequence, device=idx.device)


def _start_as_gpt2(module: nn.Module) -> None:
    """Normal with standard deviation 0.02, and biases 0."""
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


# -- the text ------------------------------------------------------------------------


class Text:
    """A text as numbers of characters; its last tenth is for validation."""

    def __init__(self, text: str) -> None:
        self.characters = sorted(set(text))
        numbers = {character: i for i, character in enumerate(self.characters)}
        self.numbers = numbers
        encoded = np.array([numbers[c] for c in text])
        cut = len(encoded) * 9 // 10
        self.training, self.validation = encoded[:cut], encoded[cut:]

    def encode(self, text: str) -> np.ndarray:
        return np.array([[self.numbers[c] for c in text]])

    def decode(self, numbers: np.ndarray) -> str:
        return "".join(self.characters[i] for i in numbers)


def topics_of_python() -> str:
    """What `help()` knows of the language: half a million characters of prose."""
    from pydoc_data.topics import topics

    return "".join(topics[name] for name in sorted(topics))


def batch_of(
    data: np.ndarray, size: int, context: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Random pieces of the text, and the same pieces one character later."""
    starts = rng.integers(0, len(data) - context, size)
    windows = starts[:, None] + np.arange(context + 1)
    pieces = data[windows]
    return pieces[:, :-1], pieces[:, 1:]


def validation_loss(model: GPT, data: np.ndarray, batch: int = 64) -> float:
    """The mean loss in nats a character, over the text in pieces of `context`."""
    n = model.context
    count = (len(data) - 1) // n
    inputs = data[: count * n].reshape(count, n)
    targets = data[1 : count * n + 1].reshape(count, n)
    total = 0.0
    model.eval()
    with tg.no_grad():
        for i in range(0, count, batch):
            x, y = inputs[i : i + batch], targets[i : i + batch]
            total += model(tg.tensor(x), tg.tensor(y))[1].item() * len(x)
    model.train()
    return total / count


# -- training ------------------------------------------------------------------------


@dataclass
class Plan:
    """How long and how fast it is trained."""

    steps: int
    batch: int = 32
    lr: float = 3e-3
    warmup: int = 50
    weight_decay: float = 0.1

    def lr_at(self, step: int) -> float:
        """Rising for `warmup` steps, then half a cosine down to a tenth."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.lr * (0.1 + 0.45 * (1.0 + math.cos(math.pi * done)))


def train(model: GPT, text: Text, plan: Plan, seed: int = 0, report: int = 200) -> None:
    """AdamW on random pieces of the text."""
    rng = np.random.default_rng(seed)
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim < 2]
    optimizer = tg.optim.AdamW(
        [
            {"params": matrices, "weight_decay": plan.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=plan.lr,
        betas=(0.9, 0.99),
    )
    start = time.perf_counter()
    for step in range(plan.steps):
        for group in optimizer.param_groups:
            group["lr"] = plan.lr_at(step)
        x, y = batch_of(text.training, plan.batch, model.context, rng)
        _, loss = model(tg.tensor(x), tg.tensor(y))
        optimizer.zero_grad()
        loss.backward()
        tg.optim.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % report == 0 or step == plan.steps - 1:
            seconds = time.perf_counter() - start
            print(f"step {step:>5}  loss {loss.item():.3f}  {seconds:6.1f} s")


def main() -> Any:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="train for two minutes")
    full = parser.parse_args().full
    tg.manual_seed(0)
    text = Text(topics_of_python())
    if full:
        model = GPT(len(text.characters))
        plan = Plan(steps=1000)
    else:
        model = GPT(len(text.characters), context=32, width=32, layers=1)
        plan = Plan(steps=60, batch=16, lr=1e-2, warmup=10)
    print(model)
    train(model, text, plan)
    validation = text.validation if full else text.validation[:3000]
    print(f"validation: {validation_loss(model, validation):.3f} nats a character")
    start = tg.tensor(text.encode("The "))
    drawn = model.generate(start, 300 if full else 40, temperature=0.8, top_k=20)
    print(text.decode(drawn.numpy()[0]))


if __name__ == "__main__":
    main()
