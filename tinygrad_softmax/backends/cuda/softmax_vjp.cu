// The gradients of softmax and log_softmax over rows (n, C), from those of their outputs.

// out = f(g, y, the row's sum of part(g, y)), for every entry.
template <class Part, class F>
__device__ __forceinline__ void gradient_rows(const T* g, const T* y, T* out, long long n,
                                              long long columns, Part part, F f) {
    const Lanes mine = my_lanes();
    each_row(n, [&](long long number, bool exists) {
        const T *row_g = g + number * columns, *row_y = y + number * columns;
        T* to = out + number * columns;
        W sum = W(0);
#if HELD
        Row held_g, held_y;
        held_g.read(row_g, (int)columns, mine);
        held_y.read(row_y, (int)columns, mine);
        each_kept((int)columns, mine, [&](int k, int) {
#pragma unroll
            for (int i = 0; i < VECTOR; i++) {
                sum += part(held_g.at[k + i], held_y.at[k + i]);
            }
        });
        sum = reduce_row(sum, Sum<W>());
        if (!exists) return;
        each_kept((int)columns, mine, [&](int k, int column) {
            Pack<T, VECTOR> result;
#pragma unroll
            for (int i = 0; i < VECTOR; i++) {
                result.at[i] = narrow<T>(f(held_g.at[k + i], held_y.at[k + i], sum));
            }
            store<VECTOR>(to + column, result);
        });
#else
        each_pack(columns, mine, [&](long long column) {
            const Pack<T, VECTOR> pack_g = load<VECTOR>(row_g + column);
            const Pack<T, VECTOR> pack_y = load<VECTOR>(row_y + column);
#pragma unroll
            for (int i = 0; i < VECTOR; i++) {
                sum += part((W)widen(pack_g.at[i]), (W)widen(pack_y.at[i]));
            }
        });
        sum = reduce_row(sum, Sum<W>());
        if (!exists) return;
        each_pack(columns, mine, [&](long long column) {
            const Pack<T, VECTOR> pack_g = load<VECTOR>(row_g + column);
            Pack<T, VECTOR> result = load<VECTOR>(row_y + column);
#pragma unroll
            for (int i = 0; i < VECTOR; i++) {
                const W of_g = widen(pack_g.at[i]), of_y = widen(result.at[i]);
                result.at[i] = narrow<T>(f(of_g, of_y, sum));
            }
            store<VECTOR>(to + column, result);
        });
#endif
    });
}

// y * (g - sum(g * y)), with y the softmax.
extern "C" __global__ void __launch_bounds__(MOST_THREADS, 1)
    softmax_vjp(const T* __restrict__ g, const T* __restrict__ y, T* __restrict__ out,
                long long n, long long columns) {
    gradient_rows(
        g, y, out, n, columns, [](W of_g, W of_y) { return of_g * of_y; },
        [](W of_g, W of_y, W sum) { return of_y * (of_g - sum); });
}

// g - exp(y) * sum(g), with y the log of the softmax.
extern "C" __global__ void __launch_bounds__(MOST_THREADS, 1)
    log_softmax_vjp(const T* __restrict__ g, const T* __restrict__ y, T* __restrict__ out,
                    long long n, long long columns) {
    gradient_rows(
        g, y, out, n, columns, [](W of_g, W) { return of_g; },
        [](W of_g, W of_y, W sum) { return of_g - exp(of_y) * sum; });
}
