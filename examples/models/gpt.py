"""A character-level GPT, trained on the texts of Python's own `help()`.

The decoder of "Attention is all you need" as GPT-2 has it (A. Radford et al., "Language
models are unsupervised multitask learners", 2019): embeddings of characters and of
places are added, blocks of causal attention and a two-layer network follow, each after
a LayerNorm and added to its input, and a last linear layer scores the next character.

    python examples/models/gpt.py           # a few seconds: it learns to spell "the"
    python examples/models/gpt.py --full    # two minutes of CPU: 1.32 nats a character
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass

import tinygrad_softmax as tg
from tinygrad_softmax import nn
from tinygrad_softmax.data import (
    CharDataset,
    CharVocabulary,
    DataLoader,
    RandomSampler,
    split_text,
)
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

    def forward(self, idx: tg.Tensor) -> tg.Tensor:
        """The scores of the next token at each place, shape (N, T, vocabulary).

        idx: tokens, integers of shape (N, T), with T <= context.
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
        return self.head(self.norm(x))

    def generate(
        self,
        idx: tg.Tensor,
        max_new_tokens: int,
        temperature: float = 1.0,
        top_k: int | None = None,
    ) -> tg.Tensor:
        """`idx`, shape (N, T), with `max_new_tokens` more, drawn one after the other.

        temperature: below 1 makes the likely likelier.
        top_k: draw among so many likeliest only.
        """
        with tg.no_grad():
            for _ in range(max_new_tokens):
                scores = self(idx[:, -self.context :])[:, -1] * (1.0 / temperature)
                if top_k is not None:
                    least = tg.sort(scores, axis=1)[:, -top_k][:, None]
                    scores = tg.where(scores < least, -math.inf, scores)
                # A number below the sum of the first n probabilities draws the n-th.
                below = tg.cumsum(tg.softmax(scores.astype("float64"), axis=1), axis=1)
                drawn = tg.rand(len(idx), 1, dtype="float64", device=idx.device)
                chosen = tg.argmax(below > drawn, axis=1)[:, None]
                idx = tg.concatenate([idx, chosen], axis=1)
        return idx


def _start_as_gpt2(module: nn.Module) -> None:
    """Normal with standard deviation 0.02, and biases 0."""
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


# -- training ------------------------------------------------------------------------


def topics_of_python() -> str:
    """What `help()` knows of the language: half a million characters of prose."""
    from pydoc_data.topics import topics

    return "".join(topics[name] for name in sorted(topics))


@dataclass
class Plan:
    """How long and how fast it is trained."""

    steps: int
    batch: int = 32
    lr: float = 3e-3
    warmup: int = 50
    weight_decay: float = 0.1

    def factor(self, step: int) -> float:
        """Of the learning rate: rising at first, then half a cosine down to a tenth."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return 0.1 + 0.45 * (1.0 + math.cos(math.pi * done))


def trainer_for(model: GPT, plan: Plan) -> tg.Trainer:
    """AdamW; matrices decay, and biases and the weights of norms do not."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim < 2]
    optimizer = tg.optim.AdamW(
        [{"params": matrices}, {"params": others, "weight_decay": 0.0}],
        lr=plan.lr,
        betas=(0.9, 0.99),
        weight_decay=plan.weight_decay,
    )
    return tg.Trainer(
        model,
        optimizer,
        tg.softmax_cross_entropy,
        scheduler=tg.optim.lr_scheduler.LambdaLR(optimizer, plan.factor),
        scheduler_interval="step",
        clip_grad_norm=1.0,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="train for two minutes")
    full = parser.parse_args().full
    tg.manual_seed(0)
    text = topics_of_python()
    vocabulary = CharVocabulary(text)
    if full:
        model, plan = GPT(len(vocabulary)), Plan(steps=1000)
    else:
        model = GPT(len(vocabulary), context=32, width=32, layers=1)
        plan = Plan(steps=60, batch=16, lr=1e-2, warmup=10)
    print(model)
    train_text, held_out = split_text(text)
    train = CharDataset(train_text, model.context, vocabulary)
    # Random pieces of the text; a tenth of the steps are called an epoch.
    pieces = RandomSampler(train, True, num_samples=plan.steps // 10 * plan.batch)
    trainer, start = trainer_for(model, plan), time.perf_counter()
    history = trainer.fit(DataLoader(train, plan.batch, sampler=pieces), epochs=10)
    print("training loss:", *(f"{loss:.2f}" for loss in history["loss"]))
    print(f"{plan.steps} steps in {time.perf_counter() - start:.0f} s")
    held_out = held_out if full else held_out[:3000]
    test = CharDataset(held_out, model.context, vocabulary, stride=model.context)
    measured = trainer.evaluate(DataLoader(test, 64))
    print(f"held out: {measured['loss']:.3f} nats a character")
    start_text = tg.tensor(vocabulary.encode("The ")[None])
    drawn = model.eval().generate(start_text, 300 if full else 40, 0.8, top_k=20)
    print(vocabulary.decode(drawn[0]))


if __name__ == "__main__":
    main()
