// Softmax cross-entropy of rows, and its gradient on the way: one read, one write.
//
// With m the maximum of a row, d = x - m, s the sum of exp(d) without one entry that is
// m, u = w t the weighted target row and S its sum:
//
//   loss      S log1p(s) - sum(u d); entries with u = 0 are left out
//   gradient  S exp(d) / (1 + s) - u, and where x alone is the maximum, where that
//             cancels, (sum of the other u - u s) / (1 + s)
//
// times `factor`. backends/base.py is the definition. A label that is no class makes a
// row of nan; an ignored row is 0. `grad` may be the logits themselves, or null.
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

// Calls f(columns, how many of them there are) for BATCH packs of this lane at a time, so
// that their loads are all on the way before the first is used.
constexpr int BATCH = VECTOR == 1 ? 16 : 4;

template <class F>
__device__ __forceinline__ void each_batch(i64 begin, i64 end, bool backwards, Lanes mine,
                                           F f) {
    const i64 step = (i64)mine.count * VECTOR, stride = step * BATCH;
    const i64 first = begin + (i64)mine.lane * VECTOR;
    if (first >= end) return;
    const i64 batches = (end - first + stride - 1) / stride;
    for (i64 i = 0; i < batches; i++) {
        const i64 start = first + (backwards ? batches - 1 - i : i) * stride;
        const i64 left = (end - start + step - 1) / step;
        f(start, step, left < BATCH ? (int)left : BATCH);
    }
}

// What is in the columns [begin, end) of a row; they are kept in `kept`, if that is given.
__device__ __forceinline__ Seen read(const T* row, T* kept, const Goal& goal, i64 begin,
                                     i64 end, Lanes mine) {
    Seen seen = SeenTogether().identity();
    each_batch(begin, end, false, mine, [&](i64 start, i64 step, int count) {
        Pack<T, VECTOR> in[BATCH];
        W m = seen.of.m;
#pragma unroll
        for (int j = 0; j < BATCH; j++) {
            if (j < count) in[j] = load<VECTOR>(row + start + j * step);
        }
#pragma unroll
        for (int j = 0; j < BATCH; j++) {
            if (j >= count) break;
            if (kept) store_shared<VECTOR>(kept + start + j * step, in[j]);
#pragma unroll
            for (int i = 0; i < VECTOR; i++) m = larger(m, (W)widen(in[j].at[i]));
        }
        seen = seen.lifted(m);
#pragma unroll
        for (int j = 0; j < BATCH; j++) {
            if (j >= count) break;
            W u[VECTOR] = {};
            if (KIND != LABELS) goal.shares(start + j * step, u);
#pragma unroll
            for (int i = 0; i < VECTOR; i++) seen.add(widen(in[j].at[i]), u[i]);
        }
    });
    return reduce_row(seen, SeenTogether());
}

// The gradient of the columns [begin, end). `from` is the row, or where it was kept. What
// was read last comes first: it may still be in a cache.
__device__ __forceinline__ void write(const T* from, T* grad, const Goal& goal,
                                      const Result& r, W factor, i64 begin, i64 end,
                                      Lanes mine) {
    each_batch(begin, end, true, mine, [&](i64 start, i64 step, int count) {
        Pack<T, VECTOR> packs[BATCH];
#pragma unroll
        for (int j = 0; j < BATCH; j++) {
            if (j < count) packs[j] = load<VECTOR>(from + start + j * step);
        }
#pragma unroll
        for (int j = 0; j < BATCH; j++) {
            if (j >= count) break;
            const i64 column = start + j * step;
            W u[VECTOR];
            goal.shares(column, u);
#pragma unroll
            for (int i = 0; i < VECTOR; i++) {
                const W g = r.gradient(widen(packs[j].at[i]), u[i]);
                packs[j].at[i] = rounded(r, g, factor);
            }
            store<VECTOR>(grad + column, packs[j]);
        }
    });
}

// One row, whole, with room for it in `kept`, or null. Returns its loss, in every lane.
__device__ __forceinline__ W whole_row(const T* row, T* kept, T* grad, const Goal& goal,
                                       W factor, i64 columns, bool exists, Lanes mine) {
    const W label_x = at_label(goal, row, 1);
#if HELD
    Row held;
    held.read(row, (int)columns, mine);
    Seen seen = SeenTogether().identity();
    each_kept((int)columns, mine, [&](int k, int) {
#pragma unroll
        for (int i = 0; i < VECTOR; i++) seen.of.m = larger(seen.of.m, held.at[k + i]);
    });
    seen.of.m = reduce_row(seen.of.m, Larger<W>());
    // From here on exp(d) is held in place of x, and -1 where x is the maximum.
#if KIND == VALUES
    W shares[KEPT];
#endif
    each_kept((int)columns, mine, [&](int k, int column) {
        W u[VECTOR] = {};
        if (KIND != LABELS) goal.shares(column, u);
#pragma unroll
        for (int i = 0; i < VECTOR; i++) {
#if KIND == VALUES
            shares[k + i] = u[i];
#endif
            const W x = held.at[k + i];
            if (x == seen.of.m) {
                seen.of.count += W(1);
                held.at[k + i] = W(-1);
            } else {
                held.at[k + i] = exp(x - seen.of.m);
                seen.of.s += held.at[k + i];
            }
            seen.add_share(x, u[i]);
        }
    });
    seen = reduce_row(seen, SeenTogether());
    const Result r = result_of(seen, goal, label_x);
    __syncwarp();  // all have read x at the label, and one of them may write over it
    if (grad == nullptr || !exists) return r.loss;
    each_kept((int)columns, mine, [&](int k, int column) {
        Pack<T, VECTOR> out;
        W u[VECTOR];
#if KIND != VALUES
        goal.shares(column, u);
#endif
#pragma unroll
        for (int i = 0; i < VECTOR; i++) {
#if KIND == VALUES
            u[i] = shares[k + i];
#endif
            const bool top = held.at[k + i] == W(-1);
            const W e = top ? W(1) + r.zero_at_top : held.at[k + i];
            const W g = r.from_exponential(e, top, u[i]);
            out.at[i] = rounded(r, g, factor);
        }
        store<VECTOR>(grad + column, out);
    });
#else
    const Seen seen = read(row, kept, goal, 0, columns, mine);
    const Result r = result_of(seen, goal, label_x);
    if (grad == nullptr || !exists) return r.loss;
    write(kept ? kept : row, grad, goal, r, factor, 0, columns, mine);
#endif
    return r.loss;
}

#define PARAMETERS                                                                       \
    const T *logits, const TARGET *__restrict__ targets, const W *__restrict__ weights,  \
        T *grad, const W *__restrict__ factor_at, double factor, i64 n, i64 columns,     \
        i64 ignoring, i64 ignored, double smoothing

#define WANTED {targets, weights, columns, ignoring != 0, ignored, (W)smoothing}
#define FACTOR (factor_at ? *factor_at : (W)factor)

// The losses of n rows, (n,), and `factor` times their gradient.
// factor_at: the factor, on the device; null for `factor`. keeping: whether the launch has
// shared memory for a row, of which a block then has only one at a time.
extern "C" __global__ void __launch_bounds__(MOST_THREADS, 1)
    cross_entropy(PARAMETERS, W* __restrict__ losses, i64 keeping) {
    DYNAMIC_SHARED(T, room);
    const Lanes mine = my_lanes();
    const Wanted wanted = WANTED;
    const W by = FACTOR;
    each_row(n, [&](i64 number, bool exists) {
        const i64 start = number * columns;
        const Goal goal = goal_of(wanted, number, targets + start, 1);
        T* to = grad ? grad + start : nullptr;
        const W loss = whole_row(logits + start, keeping ? room : nullptr, to, goal, by,
                                 columns, exists, mine);
        if (exists && mine.lane == 0) losses[number] = loss;
    });
}

// Calls f(column, how many from there) for FEW columns at a time, for the same reason.
constexpr int FEW = 8;

template <class F>
__device__ __forceinline__ void each_few(i64 columns, bool backwards, F f) {
    const i64 times = (columns + FEW - 1) / FEW;
    for (i64 i = 0; i < times; i++) {
        const i64 first = (backwards ? times - 1 - i : i) * FEW, left = columns - first;
        f(first, left < FEW ? (int)left : FEW);
    }
}

// The same where the classes are on any axis: logits (n / inner, columns, inner), a
// thread for each row. Neighbouring threads read neighbouring numbers.
extern "C" __global__ void __launch_bounds__(256)
    cross_entropy_columns(PARAMETERS, W* __restrict__ losses, i64 inner) {
    const Wanted wanted = WANTED;
    const W by = FACTOR;
    const i64 step = (i64)gridDim.x * blockDim.x;
    for (i64 number = (i64)blockIdx.x * blockDim.x + threadIdx.x; number < n;
         number += step) {
        const i64 start = number / inner * columns * inner + number % inner;
        const T* row = logits + start;
        const Goal goal = goal_of(wanted, number, targets + start, inner);
        const W label_x = at_label(goal, row, inner);
        Seen seen = SeenTogether().identity();
        each_few(columns, false, [&](i64 c, int count) {
            W x[FEW], m = seen.of.m;
#pragma unroll
            for (int j = 0; j < FEW; j++) {
                if (j < count) x[j] = widen(row[(c + j) * inner]);
            }
#pragma unroll
            for (int j = 0; j < FEW; j++) {
                if (j < count) m = larger(m, x[j]);
            }
            seen = seen.lifted(m);
#pragma unroll
            for (int j = 0; j < FEW; j++) {
                if (j < count) seen.add(x[j], KIND == LABELS ? W(0) : goal.share(c + j));
            }
        });
        const Result r = result_of(seen, goal, label_x);
        losses[number] = r.loss;
        if (!grad) continue;
        each_few(columns, true, [&](i64 c, int count) {
            W x[FEW];
#pragma unroll
            for (int j = 0; j < FEW; j++) {
                if (j < count) x[j] = widen(row[(c + j) * inner]);
            }
#pragma unroll
            for (int j = 0; j < FEW; j++) {
                if (j >= count) break;
                const W g = r.gradient(x[j], goal.share(c + j));
                grad[start + (c + j) * inner] = rounded(r, g, by);
            }
        });
    }
}

// -- few rows of many classes: blocks (part, row) of one row's parts ------------------------

// What each block saw of its part of a row, into parts (n, gridDim.x); and the logits at
// the labels, which may be written over later.
extern "C" __global__ void __launch_bounds__(MOST_THREADS, 1)
    cross_entropy_parts(PARAMETERS, W* __restrict__ parts, W* __restrict__ at_labels,
                        i64 part_columns) {
    const Wanted wanted = WANTED;
    for (i64 number = blockIdx.y; number < n; number += gridDim.y) {
        const i64 start = number * columns, begin = blockIdx.x * part_columns;
        const i64 end = begin + part_columns < columns ? begin + part_columns : columns;
        const Goal goal = goal_of(wanted, number, targets + start, 1);
        const Seen seen = read(logits + start, nullptr, goal, begin, end, my_lanes());
        Seen* to = reinterpret_cast<Seen*>(parts) + number * gridDim.x + blockIdx.x;
        if (threadIdx.x == 0) *to = seen;
        if (threadIdx.x == 0 && begin <= goal.label && goal.label < end) {
            at_labels[number] = at_label(goal, logits + start, 1);
        }
    }
}

// The losses and the gradient, from what all blocks saw.
extern "C" __global__ void __launch_bounds__(MOST_THREADS, 1)
    cross_entropy_from_parts(PARAMETERS, W* __restrict__ losses,
                             const W* __restrict__ parts, const W* __restrict__ at_labels,
                             i64 part_columns) {
    const Wanted wanted = WANTED;
    const Lanes mine = my_lanes();
    const W by = FACTOR;
    for (i64 number = blockIdx.y; number < n; number += gridDim.y) {
        const i64 start = number * columns, begin = blockIdx.x * part_columns;
        const i64 end = begin + part_columns < columns ? begin + part_columns : columns;
        const Goal goal = goal_of(wanted, number, targets + start, 1);
        const Seen* from = reinterpret_cast<const Seen*>(parts) + number * gridDim.x;
        Seen seen = SeenTogether().identity();
        for (int i = mine.lane; i < (int)gridDim.x; i += mine.count) {
            seen = SeenTogether()(seen, from[i]);
        }
        seen = reduce_row(seen, SeenTogether());
        const Result r = result_of(seen, goal, KIND == LABELS ? at_labels[number] : W(0));
        if (blockIdx.x == 0 && mine.lane == 0) losses[number] = r.loss;
        if (grad) {
            write(logits + start, grad + start, goal, r, by, begin, end, mine);
        }
    }
}
