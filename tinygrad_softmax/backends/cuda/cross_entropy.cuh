// A row of a cross-entropy: what it should be, what was seen of it, and what comes of that.
//
// With m the maximum of a row, d = x - m, s the sum of exp(d) without one entry that is
// m, u = w t the weighted target row and S its sum:
//
//   loss      S log1p(s) - sum(u d); entries with u = 0 are left out
//   gradient  S exp(d) / (1 + s) - u, and where x alone is the maximum, where that
//             cancels, (sum of the other u - u s) / (1 + s)
//
// times `factor`. backends/base.py is the definition. A label that is no class makes a
// row of nan; an ignored row is 0.
//
// Macros besides those of common.cuh:
//   KIND    LABELS, SMOOTHED (labels with label smoothing) or VALUES (target rows).
//   TARGET  what the targets are: int, i64, T or W.

#include "denominator.cuh"

#define LABELS 0
#define SMOOTHED 1
#define VALUES 2
using i64 = long long;

// What the rows should be, and the options, as the launch gives them.
struct Wanted {
    const TARGET* targets;
    const W* weights;  // (C,), or null for ones
    i64 columns;
    bool ignoring;
    i64 ignored;
    W smoothing;

    __device__ __forceinline__ W weight(i64 column) const {
        return weights ? weights[column] : W(1);
    }
};

// What one row should be.
struct Goal {
    const Wanted* of;
    const TARGET* values;  // of this row; column c at c * stride
    i64 stride;
    i64 label;
    bool kept, bad;

    // u of a column: its weight times its (smoothed) target.
    __device__ __forceinline__ W share(i64 column) const {
#if KIND == LABELS
        return column == label ? of->weight(column) : W(0);
#endif
        const W even = of->smoothing / (W)of->columns, rest = W(1) - of->smoothing;
        W u;
#if KIND == VALUES
        u = of->smoothing == W(0) ? (W)widen(values[column * stride])
                                  : rest * (W)widen(values[column * stride]) + even;
#else
        u = column == label ? even + rest : even;
#endif
        return of->weights ? u * of->weights[column] : u;
    }

    // u of the columns of a pack, where the row's values are neighbours.
    __device__ __forceinline__ void shares(i64 column, W (&u)[VECTOR]) const {
#if KIND == VALUES
        if constexpr (VECTOR * sizeof(TARGET) == 16) {
            const Pack<TARGET, VECTOR> pack = load<VECTOR>(values + column);
            const W even = of->smoothing / (W)of->columns, rest = W(1) - of->smoothing;
#pragma unroll
            for (int i = 0; i < VECTOR; i++) {
                u[i] = widen(pack.at[i]);
                if (of->smoothing != W(0)) u[i] = rest * u[i] + even;
                if (of->weights) u[i] *= of->weights[column + i];
            }
            return;
        }
#endif
#pragma unroll
        for (int i = 0; i < VECTOR; i++) u[i] = share(column + i);
    }
};

__device__ __forceinline__ Goal goal_of(const Wanted& wanted, i64 row,
                                        const TARGET* values, i64 stride) {
#if KIND == VALUES
    return {&wanted, values, stride, 0, true, false};
#else
    const i64 label = (i64)wanted.targets[row];
    const bool kept = !(wanted.ignoring && label == wanted.ignored);
    const bool bad = kept && (label < 0 || label >= wanted.columns);
    return {&wanted, values, stride, kept && !bad ? label : 0, kept, bad};
#endif
}

// A row so far: its denominator, and of u the sum where x is the maximum, the sum over
// the other columns, and the sum of u d.
struct Seen {
    Denominator of;
#if KIND != LABELS
    W top, others, product;
#endif

    __device__ __forceinline__ Seen shuffled(int distance) const {
        return {of.shuffled(distance)
#if KIND != LABELS
                    ,
                ::shuffled(top, distance), ::shuffled(others, distance),
                ::shuffled(product, distance)
#endif
        };
    }

    // The same with respect to a maximum that is at least m.
    __device__ __forceinline__ Seen lifted(W m) const {
        Seen out = *this;
        if (of.m == m) return out;
        out.of = of.lifted(m);
#if KIND != LABELS
        out.others = others + top;
        out.top = W(0);
        if (out.others != W(0)) out.product = product + out.others * (of.m - m);
#endif
        return out;
    }

    // Another entry, none larger than m.
    __device__ __forceinline__ void add(W x, W u) {
        if (x == of.m) {
            of.count += W(1);
        } else {
            of.s += exp(x - of.m);
        }
        add_share(x, u);
    }

    __device__ __forceinline__ void add_share(W x, W u) {
#if KIND != LABELS
        if (x == of.m) {  // (d is 0; or nan, if this remains the maximum and is infinite)
            top += u;
            return;
        }
        others += u;
        if (u != W(0)) product += u * (x - of.m);
#endif
    }
};

struct SeenTogether {
    __device__ __forceinline__ Seen operator()(Seen a, Seen b) const {
        const W m = larger(a.of.m, b.of.m);
        a = a.lifted(m);
        b = b.lifted(m);
        a.of.s += b.of.s;
        a.of.count += b.of.count;
#if KIND != LABELS
        a.top += b.top;
        a.others += b.others;
        a.product += b.product;
#endif
        return a;
    }
    __device__ __forceinline__ Seen identity() const {
        Seen none = {};
        none.of.m = -infinity<W>();
        return none;
    }
};

// What a row's entries are turned into losses and gradients with.
struct Result {
    W loss, m, s, scale, others_at_top, zero_at_top;
    bool alone, kept, bad;

    __device__ __forceinline__ W gradient(W x, W u) const {
        return from_exponential(exp(x - m), x == m, u);
    }

    // The gradient where exp(d) is e.
    __device__ __forceinline__ W from_exponential(W e, bool is_top, W u) const {
        if (is_top && alone) return (others_at_top - u * s) / (W(1) + s) + zero_at_top;
        return e * scale - u;
    }
};

// `at_label`: x at the label, where the targets are labels without smoothing.
__device__ __forceinline__ Result result_of(const Seen& seen, const Goal& goal,
                                            W at_label) {
    Result r;
    r.m = seen.of.m;
    r.s = seen.of.rest();
    r.alone = seen.of.count == W(1);
    r.zero_at_top = r.m - r.m;  // nan where the maximum is infinite
    r.kept = goal.kept;
    r.bad = goal.bad;
#if KIND == LABELS
    const W total = goal.of->weight(goal.label);
    r.others_at_top = at_label == r.m ? W(0) : total;
    const W product = total == W(0) ? W(0) : total * (at_label - r.m);
#else
    const W total = seen.top + seen.others;
    const W product = seen.top == W(0) ? seen.product : seen.product + r.zero_at_top;
    r.others_at_top = seen.others;
#endif
    r.loss = total * log1p(r.s) - product;
    r.scale = total / (W(1) + r.s);
    if (!goal.kept) r.loss = W(0);
    if (goal.bad) r.loss = not_a_number<W>();
    return r;
}


__device__ __forceinline__ T rounded(const Result& r, W gradient, W factor) {
    if (!r.kept) return narrow<T>(W(0));
    return narrow<T>(r.bad ? not_a_number<W>() : gradient * factor);
}

__device__ __forceinline__ W at_label(const Goal& goal, const T* row, i64 stride) {
#if KIND == LABELS
    return widen(row[goal.label * stride]);
#else
    return W(0);
#endif
}
