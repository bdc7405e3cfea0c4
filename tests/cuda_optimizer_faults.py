"""Faults to plant in the kernels of optimizers: (file, old, new, why, case)."""

from __future__ import annotations

from typing import Any

from cuda_optimizer_cases import Gradients, Update, not_finite

ODD = (3, 0, 4096, 17, 4101)
MANY = (1, 8200, 5)
FAULTS: list[Any] = [
    ("arrays.cuh", *each)
    for each in [
        (
            "const long long begin = (c - before) * CHUNK;",
            "const long long begin = 0 * (c - before);",
            "every chunk is its array's first",
            Update("SGD", "plain", MANY),
        ),
        (
            "arrays.place[low] + begin,",
            "arrays.place[low],",
            "every chunk is written to where the first one lies",
            Update("SGD", "plain", (8200,)),
        ),
        (
            "is_last ? arrays.rest[low] : CHUNK",
            "is_last ? arrays.rest[low] / 2 * 2 : CHUNK",
            "the last element of an odd array is left out",
            Update("SGD", "plain", ODD),
        ),
        (
            "is_last ? arrays.rest[low] : CHUNK",
            "arrays.rest[low] + 0 * is_last",
            "all chunks are as short as the last",
            Gradients(MANY),
        ),
        (
            "return addresses % 16 ? 0 : count / VECTOR * VECTOR;",
            "return count / VECTOR * VECTOR;",
            "what lies at no multiple of 16 bytes is read 16 bytes at a time",
            Update("SGD", "plain", ODD, gap=1),
        ),
    ]
]
FAULTS += [
    ("optimizers.cu", *each)
    for each in [
        (
            "if (maximize) g = -g;",
            "",
            "maximize is forgotten",
            Update("SGD", "maximize", ODD),
        ),
        (
            "p *= shrink;",
            "",
            "there is no decoupled weight decay",
            Update("AdamW", "all", ODD),
        ),
        (
            "g + p * weight_decay : g;",
            "g - p * weight_decay : g;",
            "the L2 penalty's sign",
            Update("SGD", "weight decay", ODD),
        ),
        (
            "rest((W)(1.0 - decay))",
            "rest((W)decay)",
            "a mean's weights are swapped",
            Update("Adam", "plain", ODD),
        ),
        (
            "fresh((W)(1.0 - n[5]))",
            "fresh((W)n[5])",
            "dampening lets through what it should hold back",
            Update("SGD", "dampening", ODD),
        ),
        (
            "s[0] = is_first ? g :",
            "s[0] =",
            "the first velocity is dampened",
            Update("SGD", "dampening", ODD, step=1),
        ),
        (
            "g = nesterov ? g + momentum * s[0] : s[0];",
            "g = s[0];",
            "nesterov is forgotten",
            Update("SGD", "nesterov", ODD),
        ),
        (
            "v = s[2] = larger(s[2], v);",
            "s[2] = larger(s[2], v);",
            "amsgrad divides by the last square and not by the largest",
            Update("Adam", "all", ODD),
        ),
        (
            "p -= size * (s[0] / (sqrt(v) + eps));",
            "p -= size * (s[0] / sqrt(v + eps));",
            "eps is under the root",
            Update("Adam", "all", ODD),
        ),
        (
            "sqrt(s[1] / correction)",
            "sqrt(s[1])",
            "NAdam's squares are not corrected",
            Update("NAdam", "all", ODD),
        ),
        (
            "rectified ? s[0] / (sqrt(s[1]) + eps) : s[0]",
            "s[0] / (sqrt(s[1]) + eps)",
            "RAdam's first steps divide by what they do not know yet",
            Update("RAdam", "all", ODD, step=1),
        ),
        (
            "square -= s[1] * s[1];",
            "",
            "RMSprop is not centered",
            Update("RMSprop", "all", ODD),
        ),
        (
            "change = s[2] = momentum * s[2] + change;",
            "change = s[2] = momentum * (s[2] + change);",
            "RMSprop's velocity is damped after it is added to",
            Update("RMSprop", "all", ODD),
        ),
        (
            "s[0] += g * g;",
            "s[0] = g * g;",
            "Adagrad forgets",
            Update("Adagrad", "all", ODD),
        ),
        (
            "average(s[1], g * g);\n        p -= lr * g;",
            "average(s[1], g);\n        p -= lr * g;",
            "Adadelta averages changes and not their squares",
            Update("Adadelta", "all", ODD),
        ),
        (
            "update_part<1>(chunk.at, to, state, whole, chunk.count, rule);",
            "",
            "what fills no 16 bytes is left out",
            Update("Adam", "plain", ODD),
        ),
        (
            "update_part<1>(chunk.at, to, state, whole,",
            "update_part<1>(chunk.at, to, state, 0,",
            "what was done 16 bytes at a time is done again",
            Update("Adam", "plain", ODD),
        ),
        (
            "if (state[k]) store<N>(state[k] + at, s[k]);",
            "",
            "the state is not stored",
            Update("Adam", "plain", ODD),
        ),
    ]
]
FAULTS += [
    ("gradients.cu", *each)
    for each in [
        (
            "so_far += (double)sum;",
            "so_far = (double)sum;",
            "only a thread's last elements are measured",
            Gradients((8192,)),
        ),
        (
            "if (first + b * step < end) packs[b]",
            "if (first + b * step < end - 1) packs[b]",
            "the last element is not loaded",
            Gradients((4097,)),
        ),
        (
            "if (first + b * step < end) f(packs[b], first + b * step);",
            "if (b < 1 && first + b * step < end) f(packs[b], first + b * step);",
            "most of what was loaded is not used",
            Gradients((4096,)),
        ),
        (
            "i < count; i += blockDim.x",
            "i < count - 1; i += blockDim.x",
            "the last block's part is forgotten",
            Gradients((4096, 4096)),
        ),
        (
            "(W)sqrt(so_far)",
            "(W)so_far",
            "no root is taken",
            Gradients((3,)),
        ),
        (
            "if (factor >= W(1)) return;",
            "",
            "what is within bounds is scaled up",
            Gradients((100,)),
        ),
        (
            "finite = finite && is_finite(value);",
            "finite = is_finite(value);",
            "only the last element is looked at",
            not_finite,
        ),
        (
            "if (!scale_chunks(arrays, count, (W)factor)) *finite = false;",
            "*finite = scale_chunks(arrays, count, (W)factor);",
            "a block that is finite speaks for all",
            not_finite,
        ),
    ]
]
