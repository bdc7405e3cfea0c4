"""Formulas of the ops that work on whole arrays: see formulas.py."""

from __future__ import annotations

from .formula_text import formula

_BISHOP = "Bishop, Pattern Recognition and Machine Learning, 2006, section 4.3.4"
_GOODFELLOW = "Goodfellow, Bengio & Courville, Deep Learning, 2016, section 6.2.2.3"
_MATRICES = "Petersen & Pedersen, The Matrix Cookbook, 2012, section 2.5"

ARRANGEMENT = {
    "autograd.core_ops.broadcast_to": formula(
        "spread(x)",
        "every element had a part in each of its copies",
        x="sum_over(g, copies)",
    ),
    "autograd.core_ops.sum_to": formula("sum_over(x, axes)", x="spread(g)"),
    "autograd.core_ops.cast": formula("with_cast(x, dtype)", x="g"),
    "ops.placement.copy": formula("x", x="g"),
    "ops.placement._to_integer": formula("with_cast(x, dtype)"),
    "ops.placement._to_device": formula("x", "on another device", x="g"),
    "ops.shaping._reshape": formula("reshape(x, shape)", x="reshape(g, x_shape)"),
    "ops.shaping._permute": formula("permute(x, axes)", x="permute_back(g, axes)"),
    "ops.shaping._flip": formula("reverse(x, axis)", x="reverse(g, axis)"),
    "ops.shaping._roll": formula("roll(x, shift, axis)", x="roll(g, -shift, axis)"),
    "ops.shaping._tril": formula("tril(x, k)", x="tril(g, k)"),
    "ops.shaping._triu": formula("triu(x, k)", x="triu(g, k)"),
    "ops.joining._concatenate": formula(
        "concatenate(arrays, axis)", arrays="part(g, position)"
    ),
    "ops.joining._pad": formula("pad(x, pad_width)", x="part(g, inside)"),
    "ops.indexing._getitem": formula(
        "x[index]",
        "an element that was taken twice gets both gradients",
        x="added_at(g, index)",
    ),
    "ops.indexing._scatter": formula("added_at(x, index)", x="g[index]"),
    "ops.indexing._index_add": formula(
        "x + added_at(values, index)", x="g", values="g[index]"
    ),
    "ops.indexing._index_update": formula(
        "values if at(index) else x",
        "of a place that is named twice only the value that stayed gets its gradient",
        x="0 if at(index) else g",
        values="g[index]",
    ),
    "ops.indexing._stayed": formula("1 if stayed(picked) else 0"),
}

REDUCTIONS = {
    "ops.reductions._sum": formula(
        "sum(x, axis)", "each element counts once", x="spread(g)"
    ),
    "ops.reductions._mean": formula(
        "sum(x, axis) / n", "n elements share in each mean", x="spread(g) / n"
    ),
    "ops.reductions._var": formula(
        "sum((x - mean(x)) ** 2, axis) / (n - correction)",
        "",
        x="spread(g) * 2 * (x - mean(x)) / (n - correction)",
    ),
    "ops.reductions._std": formula(
        "sqrt(sum((x - mean(x)) ** 2, axis) / (n - correction))",
        "0 where it is 0",
        x="spread(g) * (x - mean(x)) / ((n - correction) * out)",
    ),
    "ops.reductions._prod": formula("prod(x, axis)", x="spread(g) * others(x)"),
    "ops.reductions._max": formula("max(x, axis)", x="spread(g) * picked(x)"),
    "ops.reductions._min": formula("min(x, axis)", x="spread(g) * picked(x)"),
    "ops.reductions._ties": formula("1 if x == extremum else 0"),
    "ops.reductions._cumsum": formula(
        "cumsum(x, axis)", x="reverse(cumsum(reverse(g, axis), axis), axis)"
    ),
    "ops.reductions._logsumexp": formula(
        "log(sum(exp(x), axis))", x="spread(g) * softmax(x)"
    ),
    "ops.reductions._norm": formula(
        "sqrt(sum(x ** 2, axis))", "0 where it is 0", x="spread(g) * x / out"
    ),
    "ops.softmaxes._softmax": formula(
        "exp(x) / sum(exp(x), axis)",
        "the Jacobian is diag(out) - out out^T",
        _GOODFELLOW,
        x="out * (g - sum(g * out, axis))",
    ),
    "ops.softmaxes._log_softmax": formula(
        "x - log(sum(exp(x), axis))", "", _GOODFELLOW, x="g - exp(out) * sum(g, axis)"
    ),
}

_MATRIX_NOTE = "of matrices; a vector is a matrix of one row or column"

PRODUCTS = {
    "ops.linalg._matmul": formula(
        "a @ b", _MATRIX_NOTE, _MATRICES, a="g @ b.T", b="a.T @ g"
    ),
    "ops.linalg._einsum": formula(
        "einsum(subscripts, operands)", operands="einsum(g, others(operands))"
    ),
    "nn.functional.linears._linear": formula(
        "input @ weight.T + bias",
        "the bias was added to every row, so its gradient is summed over the rows",
        _MATRICES,
        input="g @ weight",
        weight="g.T @ input",
        bias="g",
    ),
    "nn.functional.linears._linear_activation": formula(
        "activation(input @ weight.T + bias)",
        "d = g activation'(input weight^T + bias)",
        _MATRICES,
        input="d @ weight",
        weight="d.T @ input",
        bias="sum_over(d, rows)",
    ),
    "ops.convolution.convolution": formula(
        "sum(weight * windows(x)) + bias",
        "",
        "Dumoulin & Visin, A guide to convolution arithmetic, 2016",
        x="back_through_windows(g * weight)",
        weight="correlate(x, g)",
        bias="sum_over(g, batch_and_places)",
    ),
    "ops.convolution.transposed_convolution": formula(
        "back_through_windows(y * weight)",
        "",
        "Dumoulin & Visin, A guide to convolution arithmetic, 2016",
        y="sum(weight * windows(g))",
        weight="correlate(g, y)",
    ),
    "ops.convolution.kernel_correlation": formula(
        "correlate(x, y)", x="back_through_windows(y * g)", y="sum(g * windows(x))"
    ),
    "nn.functional.attention._attention": formula(
        "softmax(scale * query @ key.T) @ value",
        "p = softmax(scale query key^T), dp = g value^T and ds = p (dp - sum(p dp))",
        "Vaswani et al., Attention is all you need, 2017, equation 1",
        query="scale * ds @ key",
        key="scale * ds.T @ query",
        value="p.T @ g",
    ),
}

WINDOWS = {
    "ops.pooling.window_sum": formula("sum(windows(x))", x="back_through_windows(g)"),
    "ops.pooling.window_spread": formula(
        "back_through_windows(y)", y="sum(windows(g))"
    ),
    "ops.pooling.max_pool": formula(
        "max(windows(x))",
        "of equals, the first has the gradient",
        x="back_through_windows(g * picked(x))",
    ),
    "ops.pooling._winners": formula("argmax(windows(x))"),
    "ops.pooling.max_pool_indices": formula("argmax(windows(x))"),
}

_LOSS_NOTE = (
    "y_hat - y over m, the number of rows (1 unless reduction is 'mean'). Labels are "
    "rows hot(label). In general it is y_hat sum(y) - y, and class weights multiply y: "
    "that y sums to 1 is assumed in y_hat - y"
)

LOSSES = {
    "ops.cross_entropy._cross_entropy": formula(
        "-sum(target * log(softmax(logits))) / m",
        _LOSS_NOTE,
        _BISHOP,
        logits="g * (softmax(logits) - target) / m",
        target="-g * log(softmax(logits)) / m",
    ),
    "ops.cross_entropy._first_max": formula("1 if logits == max(logits, axis) else 0"),
    "ops.cross_entropy._dense": formula("hot(target)"),
    "ops.cross_entropy._row_factor": formula("1 / n"),
    "ops.chunked._linear_cross_entropy": formula(
        "cross_entropy(x @ weight.T + bias, target)",
        "d = (softmax(x weight^T + bias) - target) / m, a chunk of rows at a time",
        "Wijmans et al., Cut your losses in large-vocabulary language models, 2024",
        x="g * d @ weight",
        weight="g * d.T @ x",
        bias="g * sum_over(d, rows)",
        target="-g * log(softmax(x @ weight.T + bias)) / m",
    ),
    "nn.functional.binary_losses._binary_cross_entropy": formula(
        "-(target * log(input) + (1 - target) * log(1 - input))",
        "logarithms are limited to -100 and above",
        _BISHOP,
        input="g * (input - target) / (input * (1 - input))",
        target="g * (log(1 - input) - log(input))",
    ),
}

_NORM_RULE = "scale * (h - mean_over(h) - normal(input) * mean_over(h * normal(input)))"
_NORM_NOTE = "h = g weight and scale = 1 / sqrt(var + eps)"

NORMALISATIONS = {
    "nn.functional.normalizations._layer_norm": formula(
        "normal(input) * weight + bias",
        _NORM_NOTE,
        "Ba, Kiros & Hinton, Layer normalization, 2016",
        input=_NORM_RULE,
        weight="g * normal(input)",
        bias="g",
    ),
    "nn.functional.normalizations._rms_norm": formula(
        "input * scale * weight",
        "h = g weight, scale = 1 / sqrt(mean_over(input^2) + eps)",
        "Zhang & Sennrich, Root mean square layer normalization, 2019",
        input="scale * (h - input * scale * mean_over(h * input * scale))",
        weight="g * input * scale",
    ),
    "nn.functional.channel_norms._batch_norm": formula(
        "normal(input) * weight + bias",
        _NORM_NOTE + ", over the batch, for each channel",
        "Ioffe & Szegedy, Batch normalization, 2015",
        input=_NORM_RULE,
        weight="sum_over(g * normal(input), batch_and_places)",
        bias="sum_over(g, batch_and_places)",
    ),
    "nn.functional.channel_norms._channel_affine": formula(
        "(input - mean) * scale + shift",
        "for each channel",
        input="g * scale",
        mean="-sum_over(g * scale, batch_and_places)",
        scale="sum_over(g * (input - mean), batch_and_places)",
        shift="sum_over(g, batch_and_places)",
    ),
    "nn.functional.channel_norms._group_norm": formula(
        "normal(input) * weight + bias",
        _NORM_NOTE + ", over each group of channels",
        "Wu & He, Group normalization, 2018",
        input=_NORM_RULE,
        weight="sum_over(g * normal(input), batch_and_places)",
        bias="sum_over(g, batch_and_places)",
    ),
}

DROPOUT = {
    "nn.functional.dropouts._dropout": formula(
        "input / (1 - p) if kept(draw) else 0",
        "backward repeats the draw: what was dropped gets no gradient",
        "Srivastava et al., Dropout, 2014",
        input="g / (1 - p) if kept(draw) else 0",
    ),
}

_GATES = "gates holds i, f, z and o side by side"
_GRU = "r = r_x + r_h, z = z_x + z_h and n = tanh(n_x + sigmoid(r) n_h)"

CELLS = {
    "nn.functional.gates.lstm_state": formula(
        "sigmoid(f) * state + sigmoid(i) * tanh(z)",
        _GATES + "; its gradient has the four parts side by side",
        "Hochreiter & Schmidhuber, Long short-term memory, 1997",
        gates="concatenate(g * tanh(z) * d_sigmoid(i), g * state * d_sigmoid(f), "
        "g * sigmoid(i) * (1 - tanh(z) ** 2), 0)",
        state="g * sigmoid(f)",
    ),
    "nn.functional.gates.lstm_output": formula(
        "sigmoid(o) * tanh(state)",
        _GATES,
        "Hochreiter & Schmidhuber, Long short-term memory, 1997",
        gates="concatenate(0, 0, 0, g * tanh(state) * d_sigmoid(o))",
        state="g * sigmoid(o) * (1 - tanh(state) ** 2)",
    ),
    "nn.functional.gates.gru_state": formula(
        "(1 - sigmoid(z)) * n + sigmoid(z) * state",
        _GRU + "; dn = g (1 - sigmoid(z)) (1 - n^2) and dr = dn n_h sigmoid'(r)",
        "Cho et al., Learning phrase representations using RNN encoder-decoder, 2014",
        from_input="concatenate(dr, g * (state - n) * d_sigmoid(z), dn)",
        from_state="concatenate(dr, g * (state - n) * d_sigmoid(z), dn * sigmoid(r))",
        state="g * sigmoid(z)",
    ),
}
