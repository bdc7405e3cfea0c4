"""The softmax cross-entropy written again, to test against.

In loops over rows and classes, in float64, with nothing but the standard library's
functions.
"""

from __future__ import annotations

import math

import numpy as np


def reference(
    logits,
    target,
    *,
    axis=-1,
    reduction="mean",
    weight=None,
    ignore_index=None,
    label_smoothing=0.0,
):
    """(The loss, the gradient of the loss or of the sum of the losses)."""
    x = np.moveaxis(np.asarray(logits, dtype=np.float64), axis, -1)
    classes, e = x.shape[-1], label_smoothing
    has_labels = np.asarray(target).dtype.kind in "iu"
    t = np.asarray(target) if has_labels else np.moveaxis(np.asarray(target), axis, -1)
    w = [1.0] * classes if weight is None else [float(each) for each in weight]
    losses, gradients, divisor = np.zeros(x.shape[:-1]), np.zeros(x.shape), 0.0
    for row in np.ndindex(x.shape[:-1]):
        if has_labels:
            y = int(t[row])
            if y == ignore_index:
                continue
            # (1 - e) (-w[y] lp[y]) + (e / C) sum_c (-w[c] lp[c])
            terms = [e / classes * w[c] for c in range(classes)]
            terms[y] += (1.0 - e) * w[y]
            divisor += w[y]
        else:
            # -sum_c w[c] t'[c] lp[c], t' = (1 - e) t + e / C
            values = [
                (1.0 - e) * float(t[row][c]) + e / classes for c in range(classes)
            ]
            terms = [w[c] * values[c] for c in range(classes)]
            divisor += 1.0
        lp = log_softmax([float(each) for each in x[row]])
        losses[row] = -math.fsum(a * b for a, b in zip(terms, lp, strict=True) if a)
        p = [math.exp(each) for each in lp]
        for j in range(classes):  # d(-a[c] lp[c]) / dx[j] = a[c] (p[j] - [j == c])
            parts = (terms[c] * (p[j] - (j == c)) for c in range(classes))
            gradients[row][j] = math.fsum(parts)
    if reduction == "mean":
        losses = losses.sum() / divisor if divisor else math.nan
        gradients = gradients / divisor if divisor else 0.0 * gradients
    elif reduction == "sum":
        losses = losses.sum()
    return losses, np.moveaxis(gradients, -1, axis)


def log_softmax(row: list[float]) -> list[float]:
    top = max(row)
    total = math.log(math.fsum(math.exp(each - top) for each in row))
    return [each - top - total for each in row]
