"""RNN, LSTM, GRU and their cells."""

from __future__ import annotations

from parity.harness import Case, values

X = values("x", (4, 2, 3))  # (T, N, features)
H1, H2, H4 = (values("h", (n, 2, 2)) for n in (1, 2, 4))
C1, C2, C4 = (values("c", (n, 2, 2)) for n in (1, 2, 4))


def layers(name, **options):
    return lambda lib: getattr(lib.nn, name)(3, 2, **options)


def with_pair(made, x, h, c):
    return made(x, (h, c))


def family(name, number_of_states):
    def states(h, c):
        return (h, c)[:number_of_states]

    def case(what, x=X, given=(), **options):
        call = with_pair if number_of_states == 2 and given else None
        made = layers(name, **options)
        return Case(
            f"{name}, {what}", made, (x, *states(*given)) if given else (x,), call=call
        )

    return [
        case("plain"),
        case("given states", given=(H1, C1)),
        case("no bias", bias=False),
        case("two layers", num_layers=2),
        case("two layers, given states", num_layers=2, given=(H2, C2)),
        case("both directions", bidirectional=True),
        case("both directions, given states", bidirectional=True, given=(H2, C2)),
        case(
            "two layers, both directions, given states, batch first",
            x=values("y", (2, 3, 3)),
            num_layers=2,
            bidirectional=True,
            batch_first=True,
            given=(H4, C4),
        ),
        case("batch first", batch_first=True),
        case("unbatched", x=X[:, 0], bidirectional=True),
        case(
            "unbatched, given states",
            x=X[:, 0],
            batch_first=True,
            given=(H1[:, 0], C1[:, 0]),
        ),
        case("one step", x=X[:1]),
    ]


def cell(name, **options):
    number = 2 if name == "LSTMCell" else 1
    what = "".join(f", {key}={value}" for key, value in options.items())
    made = layers(name, **options)
    x, given = X[0], (H1[0], C1[0])[:number]

    def call(made, x, *states):
        return made(x, states[0] if number == 1 else states)

    return [
        Case(f"{name}{what}", made, (x,)),
        Case(f"{name}{what}, given", made, (x, *given), call=call),
        Case(
            f"{name}{what}, unbatched", made, (x[0], *(s[0] for s in given)), call=call
        ),
    ]


CASES = [
    *family("RNN", 1),
    *family("LSTM", 2),
    *family("GRU", 1),
    Case("RNN, relu", layers("RNN", nonlinearity="relu"), (X,)),
    Case("RNN, relu by place", lambda lib: lib.nn.RNN(3, 2, 2, "relu", False), (X,)),
    Case(
        "LSTM, projected",
        layers("LSTM", proj_size=1, num_layers=2, bidirectional=True),
        (X, H4[..., :1], C4),
        call=with_pair,
    ),
    Case("LSTM, projected, no bias", layers("LSTM", proj_size=1, bias=False), (X,)),
    *cell("RNNCell"),
    *cell("RNNCell", nonlinearity="relu", bias=False),
    *cell("LSTMCell"),
    *cell("LSTMCell", bias=False),
    *cell("GRUCell"),
    *cell("GRUCell", bias=False),
]
