// Softmax cross-entropy of rows, and its gradient on the way: one read, one write.
//
// `grad` may be the logits themselves, or null. The formulas and the macros are in
// cross_entropy.cuh.

#include "cross_entropy.cuh"

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
