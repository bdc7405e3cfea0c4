// softmax over the scores of attention (n, keys), in place, and its gradient; for float
// and double. Row i is query i % length; if `causal`, it sees keys 0 to that, and only
// those are read. What it does not see has weight 0. Rows are kept: HELD is never 0.
//
// The denominator is 1 + s, with s the sum over all keys but one that has the maximum, as
// in softmax.cu.

struct Seen {
    int count;  // how many keys, from the first on

    __device__ __forceinline__ Seen(long long row, long long length, long long keys,
                                    long long causal) {
        const long long query = causal ? row % length + 1 : keys;
        count = (int)min(query, keys);
    }

    // Read those that are seen; the others are `hidden`.
    __device__ __forceinline__ void read(Row& to, const T* row, int keys, W hidden,
                                         Lanes mine) const {
        each_kept(keys, mine, [&](int k, int column) {
            if (column < count) {
                const Pack<T, VECTOR> in = load<VECTOR>(row + column);
#pragma unroll
                for (int i = 0; i < VECTOR; i++) {
                    to.at[k + i] = column + i < count ? (W)widen(in.at[i]) : hidden;
                }
            } else {
#pragma unroll
                for (int i = 0; i < VECTOR; i++) to.at[k + i] = hidden;
            }
        });
    }
};

extern "C" __global__ void __launch_bounds__(MOST_THREADS, 1)
    attention_weights(T* scores, long long n, long long length, long long keys,
                      long long causal) {
    const Lanes mine = my_lanes();
    each_row(n, [&](long long number, bool exists) {
        T* to = scores + number * keys;
        Row row;
        Seen(number, length, keys, causal).read(row, to, (int)keys, -infinity<W>(), mine);
        W m = -infinity<W>();
        each_kept((int)keys, mine, [&](int k, int) {
#pragma unroll
            for (int i = 0; i < VECTOR; i++) m = larger(m, row.at[k + i]);
        });
        m = reduce_row(m, Larger<W>());
        W s = W(0), count = W(0);
        each_kept((int)keys, mine, [&](int k, int) {
#pragma unroll
            for (int i = 0; i < VECTOR; i++) {
                const W x = row.at[k + i];
                row.at[k + i] = exp(x - m);
                if (x == m) {
                    count += W(1);
                } else {
                    s += row.at[k + i];
                }
            }
        });
        s = reduce_row(s, Sum<W>());
        count = reduce_row(count, Sum<W>());
        const bool several = count > W(1);
        W rest = several ? s + (count - W(1)) : s;
        if (several && !is_finite(m)) rest = not_a_number<W>();
        if (!exists) return;
        each_kept((int)keys, mine, [&](int k, int column) {
            Pack<T, VECTOR> result;
#pragma unroll
            for (int i = 0; i < VECTOR; i++) {
                result.at[i] = narrow<T>(row.at[k + i] / (W(1) + rest));
            }
            store<VECTOR>(to + column, result);
        });
    });
}

// g = p * (g - sum(g * p)), with p the weights.
extern "C" __global__ void __launch_bounds__(MOST_THREADS, 1)
    attention_weights_vjp(T* g, const T* __restrict__ weights, long long n,
                          long long length, long long keys, long long causal) {
    const Lanes mine = my_lanes();
    each_row(n, [&](long long number, bool exists) {
        T* to = g + number * keys;
        const Seen seen(number, length, keys, causal);
        Row held_g, held_p;
        seen.read(held_g, to, (int)keys, W(0), mine);
        seen.read(held_p, weights + number * keys, (int)keys, W(0), mine);
        W sum = W(0);
        each_kept((int)keys, mine, [&](int k, int) {
#pragma unroll
            for (int i = 0; i < VECTOR; i++) sum += held_g.at[k + i] * held_p.at[k + i];
        });
        sum = reduce_row(sum, Sum<W>());
        if (!exists) return;
        each_kept((int)keys, mine, [&](int k, int column) {
            Pack<T, VECTOR> result;
#pragma unroll
            for (int i = 0; i < VECTOR; i++) {
                result.at[i] = narrow<T>(held_p.at[k + i] * (held_g.at[k + i] - sum));
            }
            store<VECTOR>(to + column, result);
        });
    });
}
