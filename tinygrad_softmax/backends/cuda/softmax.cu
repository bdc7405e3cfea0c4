// softmax, log_softmax and logsumexp over rows (n, C). The definition is in backends/base.py.

#include "denominator.cuh"

struct Together {
    __device__ __forceinline__ Denominator operator()(Denominator a, Denominator b) const {
        const W m = larger(a.m, b.m);
        a = a.lifted(m);
        b = b.lifted(m);
        return {m, a.s + b.s, a.count + b.count};
    }
    __device__ __forceinline__ Denominator identity() const {
        return {-infinity<W>(), W(0), W(0)};
    }
};

// (m, s, count) of a row that is read as it goes: one pass, no registers.
__device__ __forceinline__ Denominator denominator(const T* row, long long columns,
                                                   Lanes mine) {
    Denominator so_far = Together().identity();
    each_pack(columns, mine, [&](long long column) {
        const Pack<T, VECTOR> in = load<VECTOR>(row + column);
        W m = so_far.m;
#pragma unroll
        for (int i = 0; i < VECTOR; i++) m = larger(m, (W)widen(in.at[i]));
        so_far = so_far.lifted(m);
#pragma unroll
        for (int i = 0; i < VECTOR; i++) {
            const W x = widen(in.at[i]);
            if (x == m) {
                so_far.count += W(1);
            } else {
                so_far.s += exp(x - m);
            }
        }
    });
    return reduce_row(so_far, Together());
}

#if HELD
__device__ __forceinline__ Denominator denominator(const Row& row, int columns,
                                                   Lanes mine) {
    W m = -infinity<W>();
    each_kept(columns, mine, [&](int k, int) {
#pragma unroll
        for (int i = 0; i < VECTOR; i++) m = larger(m, row.at[k + i]);
    });
    m = reduce_row(m, Larger<W>());
    W s = W(0), count = W(0);
    each_kept(columns, mine, [&](int k, int) {
#pragma unroll
        for (int i = 0; i < VECTOR; i++) {
            if (row.at[k + i] == m) {
                count += W(1);
            } else {
                s += exp(row.at[k + i] - m);
            }
        }
    });
    s = reduce_row(s, Sum<W>());
    count = reduce_row(count, Sum<W>());
    return {m, s, count};
}
#endif

// out = f(x, the row's denominator), for every entry.
template <class F>
__device__ __forceinline__ void map_rows(const T* x, T* out, long long n,
                                         long long columns, F f) {
    const Lanes mine = my_lanes();
    each_row(n, [&](long long number, bool exists) {
        const T* in = x + number * columns;
        T* to = out + number * columns;
#if HELD
        Row row;
        row.read(in, (int)columns, mine);
        const Denominator of = denominator(row, (int)columns, mine);
        const W rest = of.rest();
        if (!exists) return;
        each_kept((int)columns, mine, [&](int k, int column) {
            Pack<T, VECTOR> result;
#pragma unroll
            for (int i = 0; i < VECTOR; i++) {
                result.at[i] = narrow<T>(f(row.at[k + i], of.m, rest));
            }
            store<VECTOR>(to + column, result);
        });
#else
        const Denominator of = denominator(in, columns, mine);
        const W rest = of.rest();
        if (!exists) return;
        each_pack(columns, mine, [&](long long column) {
            Pack<T, VECTOR> result = load<VECTOR>(in + column);
#pragma unroll
            for (int i = 0; i < VECTOR; i++) {
                result.at[i] = narrow<T>(f((W)widen(result.at[i]), of.m, rest));
            }
            store<VECTOR>(to + column, result);
        });
#endif
    });
}

extern "C" __global__ void __launch_bounds__(MOST_THREADS, 1)
    softmax(const T* __restrict__ x, T* __restrict__ out, long long n, long long columns) {
    map_rows(x, out, n, columns,
             [](W v, W m, W rest) { return exp(v - m) / (W(1) + rest); });
}

extern "C" __global__ void __launch_bounds__(MOST_THREADS, 1)
    log_softmax(const T* __restrict__ x, T* __restrict__ out, long long n,
                long long columns) {
    map_rows(x, out, n, columns, [](W v, W m, W rest) { return v - m - log1p(rest); });
}

extern "C" __global__ void __launch_bounds__(MOST_THREADS, 1)
    logsumexp(const T* __restrict__ x, T* __restrict__ out, long long n,
              long long columns) {
    const Lanes mine = my_lanes();
    each_row(n, [&](long long number, bool exists) {
        const T* in = x + number * columns;
#if HELD
        Row row;
        row.read(in, (int)columns, mine);
        const Denominator of = denominator(row, (int)columns, mine);
#else
        const Denominator of = denominator(in, columns, mine);
#endif
        const bool infinite = !is_finite(of.m) && !is_nan(of.m);
        const W rest = infinite ? W(0) : of.rest();
        if (exists && mine.lane == 0) out[number] = narrow<T>(of.m + log1p(rest));
    });
}
