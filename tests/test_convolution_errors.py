"""What convolution and pooling say of arguments that do not fit."""

from __future__ import annotations

import numpy as np
import pytest

from tinygrad_softmax import nn

F = nn.functional
X1, X2 = np.ones((1, 2, 5)), np.ones((1, 2, 5, 4))
W1, W2 = np.ones((4, 2, 3)), np.ones((4, 2, 3, 3))
U1 = np.ones((2, 4, 3))
ERRORS = [
    (lambda: F.conv1d([1.0], W1), TypeError, "a list was given; expected a tensor"),
    (lambda: F.conv1d(X2, W1), ValueError, r"shape \(1, 2, 5, 4\); expected \(N, C, L"),
    (lambda: F.conv2d(X1[0], W2), ValueError, r"expected \(N, C, H, W\), or \(C, H, W"),
    (lambda: F.conv2d(X2, W1), ValueError, r"expected \(O, C / groups, kH, kW\)"),
    (lambda: F.conv1d(X1, W1[:0]), ValueError, r"expected \(O, C / groups, kernel\)"),
    (lambda: F.conv1d(X1.astype(int), W1), TypeError, "the input is int64; expected"),
    (
        lambda: F.conv1d(X1, W1 > 0),
        TypeError,
        "the weight is bool; expected a floating tensor",
    ),
    (
        lambda: F.conv1d(X1[:, :1], W1),
        ValueError,
        r"input has 1 channels .*the weight, of shape \(4, 2, 3\), takes 2 with",
    ),
    (lambda: F.conv1d(X1, W1, groups=2), ValueError, "takes 4 with groups=2"),
    (
        lambda: F.conv1d(X1, W1, groups=3),
        ValueError,
        "groups was given as 3; .*length, 4",
    ),
    (lambda: F.conv1d(X1, W1, groups=0), ValueError, "groups was given as 0; expected"),
    (lambda: F.conv1d(X1, W1, groups=1.0), ValueError, "groups was given as 1.0"),
    (lambda: F.conv1d(X1, W1, X1[0, 0]), ValueError, r"shape \(5,\); expected \(4,\)"),
    (
        lambda: F.conv1d(X1, W1, dilation=3),
        ValueError,
        r"padded input is \(5,\) long, less than the kernel \(3,\) with dilation",
    ),
    (lambda: F.conv1d(X1[..., :0], W1), ValueError, r"padded input is \(0,\) long"),
    (
        lambda: F.conv1d(X1, W1, stride=0),
        ValueError,
        "stride was given as 0; .*least 1",
    ),
    (
        lambda: F.conv2d(X2, W2, stride=(1, 2, 3)),
        ValueError,
        "expected one integer or 2",
    ),
    (lambda: F.conv2d(X2, W2, dilation=1.5), ValueError, "dilation was given as 1.5"),
    (lambda: F.conv2d(X2, W2, padding=-1), ValueError, "padding was given as -1"),
    (
        lambda: F.conv2d(X2, W2, padding="full"),
        ValueError,
        "'full'; expected an integer",
    ),
    (
        lambda: F.conv2d(X2, W2, padding="same", stride=2),
        ValueError,
        r"padding='same' was given with stride \(2, 2\); expected 1; mend",
    ),
    (lambda: F.conv_transpose1d(X1, W1), ValueError, "input has 2 channels .*takes 4"),
    (
        lambda: F.conv_transpose1d(X1, U1[0]),
        ValueError,
        r"expected \(C, O / groups, kernel\)",
    ),
    (
        lambda: F.conv_transpose1d(X1, U1, stride=2, output_padding=2),
        ValueError,
        r"output_padding is \(2,\); expected less than stride \(2,\) or dilation",
    ),
    (
        lambda: F.conv_transpose1d(X1, U1, padding=4),
        ValueError,
        r"gives an output that is \(-1,\) long; mend: less padding",
    ),
    (lambda: F.max_pool1d(X2, 2), ValueError, "max_pool1d: the input has shape"),
    (
        lambda: F.max_pool2d(X2.astype(int), 2),
        TypeError,
        "the input is int64; expected",
    ),
    (lambda: F.max_pool1d(X1, 0), ValueError, "kernel_size was given as 0; expected"),
    (
        lambda: F.max_pool2d(X2, 6),
        ValueError,
        r"has no place for a window \(6, 6\) long",
    ),
    (lambda: F.max_pool2d(X2[..., :0], 1), ValueError, "has no place for a window"),
    (
        lambda: F.max_pool1d(X1, 2, padding=2),
        ValueError,
        r"padding was given as \(2,\); expected at most half of the window, .*\(2,\)",
    ),
    (lambda: F.avg_pool1d(X1, 3, padding=2), ValueError, "at most half of the window"),
    (lambda: F.avg_pool2d(X2, (2, 2, 2)), ValueError, "kernel_size was given as"),
    (
        lambda: F.avg_pool2d(X2, 2, divisor_override=0),
        ValueError,
        "divisor_override was given as 0; expected an integer that is not 0",
    ),
    (lambda: F.adaptive_avg_pool1d(X1, 0), ValueError, "output_size was given as 0"),
    (lambda: F.adaptive_avg_pool1d(X1, None), ValueError, "output_size was given as N"),
    (
        lambda: F.adaptive_max_pool2d(X2[..., :0], 1),
        ValueError,
        "expected at least one element along each axis that is pooled",
    ),
    (lambda: F.adaptive_max_pool2d(X2 > 0, 1), TypeError, "the input is bool"),
    (lambda: nn.Conv1d(0, 1, 1), ValueError, "0 input and 1 output channels"),
    (lambda: nn.Conv1d(4, 6, 1, groups=4), ValueError, "a divisor of .*4 and 6"),
    (lambda: nn.Conv2d(1, 1, (1, 2, 3)), ValueError, "Conv2d: kernel_size was given"),
    (
        lambda: nn.Conv2d(1, 1, 3, padding="all"),
        ValueError,
        "'all'; expected an integer",
    ),
    (lambda: nn.Conv2d(1, 1, 3, 2, "same"), ValueError, "Conv2d: padding='same' was"),
    (
        lambda: nn.Conv2d(1, 1, 3, padding_mode="mirror"),
        ValueError,
        "'mirror'; expected 'zeros', 'reflect', 'replicate', 'circular'",
    ),
    (
        lambda: nn.ConvTranspose1d(1, 1, 3, padding_mode="reflect"),
        ValueError,
        "padding_mode was given as 'reflect'; expected 'zeros'",
    ),
    (
        lambda: nn.ConvTranspose1d(1, 1, 3, padding="same"),
        ValueError,
        "ConvTranspose1d: padding was given as 'same'; expected one integer",
    ),
    (
        lambda: nn.Conv1d(2, 1, 3, padding=5, padding_mode="reflect")(X1),
        ValueError,
        r"padding of \(5, 5\) was .* an axis of length 5 has only 4 to repeat",
    ),
    (
        lambda: nn.Conv1d(2, 1, 3, padding=6, padding_mode="circular")(X1),
        ValueError,
        "has only 5 to repeat",
    ),
    (
        lambda: nn.Conv1d(2, 1, 3, padding=1, padding_mode="replicate")(X1[..., :0]),
        ValueError,
        "an axis of length 0",
    ),
    (
        lambda: nn.ConvTranspose1d(2, 1, 3, stride=2)(X1, output_size=[13]),
        ValueError,
        r"output_size was given as \[13\], .* gives lengths from \(11,\) to \(12,\)",
    ),
    (
        lambda: nn.ConvTranspose1d(2, 1, 3)(X1, output_size=[1, 1, 1, 1]),
        ValueError,
        "output_size was given as",
    ),
]


@pytest.mark.parametrize(("call", "kind", "text"), ERRORS, ids=[t for *_, t in ERRORS])
def test_errors(call, kind, text):
    with pytest.raises(kind, match=text):
        call()
