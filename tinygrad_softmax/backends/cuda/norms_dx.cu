// The gradient of x of layer norm and RMS norm: where nobody wants those of weight and
// bias, and for rows that no block can keep in its registers. Those are kept in shared
// memory where `is_staged` says so (g, then x: each thread reads what it wrote itself),
// or read twice.

#include "norms.cuh"
#include "norms_vjp.cuh"

template <bool CENTRED>
__device__ __forceinline__ void gradient(const T* g, const T* x, const void* weight,
                                         bool wide_weight, const W* mean, const W* scale,
                                         T* dx, long long n, long long columns,
                                         bool is_staged) {
    const Lanes mine = my_lanes();
#if !HELD
    DYNAMIC_SHARED(T, shared_rows);
    T* const staged = is_staged ? shared_rows : nullptr;
#endif
    with_weights(wide_weight, [&](const auto* type) {
        each_row(n, [&](long long number, bool exists) {
            const T *row_g = g + number * columns, *row_x = x + number * columns;
            T* to = dx + number * columns;
            const Normal<CENTRED> normal(mean, scale, number);
#if HELD
            Row held_g, held_x;  // then h and normal
            Pair sums = {W(0), W(0)};
            held_g.read(row_g, (int)columns, mine);
            held_x.read(row_x, (int)columns, mine);
            each_kept((int)columns, mine, [&](int k, int column) {
                const Values times = weights(type, weight, column, W(1));
#pragma unroll
                for (int i = 0; i < VECTOR; i++) {
                    held_g.at[k + i] *= times.at[i];
                    held_x.at[k + i] = normal(held_x.at[k + i]);
                    if (CENTRED) sums.a += held_g.at[k + i];
                    sums.b += held_g.at[k + i] * held_x.at[k + i];
                }
            });
            const Pair along = means_of(sums, columns);
            if (!exists) return;
            each_kept((int)columns, mine, [&](int k, int column) {
                Pack<T, VECTOR> result;
#pragma unroll
                for (int i = 0; i < VECTOR; i++) {
                    result.at[i] =
                        narrow<T>(normal.slope(held_g.at[k + i], held_x.at[k + i], along));
                }
                store<VECTOR>(to + column, result);
            });
#else
            Compensated plain, product;
            each_batch(columns, mine, [&](long long first, long long step) {
                Pair sums = {W(0), W(0)};
#pragma unroll
                for (int b = 0; b < BATCH; b++) {
                    const long long column = first + b * step;
                    if (column >= columns) continue;
                    const Pack<T, VECTOR> pack_g = load<VECTOR>(row_g + column);
                    const Pack<T, VECTOR> pack_x = load<VECTOR>(row_x + column);
                    const Values times = weights(type, weight, column, W(1));
                    if (staged) {
                        store_shared<VECTOR>(staged + column, pack_g);
                        store_shared<VECTOR>(staged + columns + column, pack_x);
                    }
#pragma unroll
                    for (int i = 0; i < VECTOR; i++) {
                        const W h = (W)widen(pack_g.at[i]) * times.at[i];
                        if (CENTRED) sums.a += h;
                        sums.b += h * normal((W)widen(pack_x.at[i]));
                    }
                }
                plain.add_any(sums.a);
                product.add_any(sums.b);
            });
            const Pair along = means_of({plain.value(), product.value()}, columns);
            if (!exists) return;
            if (staged) row_g = staged, row_x = staged + columns;
            each_pack(columns, mine, [&](long long column) {
                const Pack<T, VECTOR> pack_g = load<VECTOR>(row_g + column);
                Pack<T, VECTOR> result = load<VECTOR>(row_x + column);
                const Values times = weights(type, weight, column, W(1));
#pragma unroll
                for (int i = 0; i < VECTOR; i++) {
                    const W h = (W)widen(pack_g.at[i]) * times.at[i];
                    const W of_x = normal((W)widen(result.at[i]));
                    result.at[i] = narrow<T>(normal.slope(h, of_x, along));
                }
                store<VECTOR>(to + column, result);
            });
#endif
        });
    });
}

extern "C" __global__ void __launch_bounds__(MOST_THREADS, 1)
    layer_norm_dx(const T* __restrict__ g, const T* __restrict__ x,
                  const void* __restrict__ weight, long long wide_weight,
                  const W* __restrict__ mean, const W* __restrict__ scale,
                  T* __restrict__ dx, long long n, long long columns, long long staged) {
    gradient<true>(g, x, weight, wide_weight, mean, scale, dx, n, columns, staged);
}

extern "C" __global__ void __launch_bounds__(MOST_THREADS, 1)
    rms_norm_dx(const T* __restrict__ g, const T* __restrict__ x,
                const void* __restrict__ weight, long long wide_weight,
                const W* __restrict__ mean, const W* __restrict__ scale,
                T* __restrict__ dx, long long n, long long columns, long long staged) {
    gradient<false>(g, x, weight, wide_weight, mean, scale, dx, n, columns, staged);
}
