// The gradients of x, weight and bias of layer norm, and of x and weight of RMS norm.
//
// Those of weight and bias are sums over rows, of g * normal and of g: a block adds up
// those of its rows, each thread in the columns that it keeps, and writes one row of
// `partials` of each. norms_columns.cu adds these up.

#include "norms.cuh"
#include "norms_vjp.cuh"

// Sums over the rows of this thread, for the columns that it keeps.
struct ColumnSums {
    Compensated at[KEPT];
};

// partials[column] = the sum over the block's rows, for every column.
__device__ __forceinline__ void add_rows(const ColumnSums& sums, W* buffer, W* partials,
                                         int columns, Lanes mine) {
    if (blockDim.y == 1) {
        each_kept(columns, mine, [&](int k, int column) {
#pragma unroll
            for (int i = 0; i < VECTOR; i++) partials[column + i] = sums.at[k + i].value();
        });
        return;
    }
    each_kept(columns, mine, [&](int k, int column) {
        W* row = buffer + threadIdx.y * columns + column;
#pragma unroll
        for (int i = 0; i < VECTOR; i++) row[i] = sums.at[k + i].value();
    });
    __syncthreads();
    const int thread = threadIdx.y * mine.count + mine.lane;
    for (int column = thread; column < columns; column += mine.count * blockDim.y) {
        Compensated total;
        for (int row = 0; row < (int)blockDim.y; row++) total.add(buffer[row * columns + column]);
        partials[column] = total.value();
    }
    __syncthreads();  // the buffer may be written to again
}

// dx may be null.
template <bool CENTRED>
__device__ __forceinline__ void gradients(const T* g, const T* x, const void* weight,
                                          bool wide_weight, const W* mean, const W* scale,
                                          T* dx, W* partials, long long n,
                                          long long columns) {
    const Lanes mine = my_lanes();
    const int width = (int)columns;
    ColumnSums of_weight, of_bias;
    with_weights(wide_weight, [&](const auto* type) {
        each_row(n, [&](long long number, bool exists) {
            const long long start = number * columns;
            const Normal<CENTRED> normal(mean, scale, number);
            Row held_g, held_x;  // then h and normal
            Pair sums = {W(0), W(0)};
            held_g.read(g + start, width, mine);
            held_x.read(x + start, width, mine);
            each_kept(width, mine, [&](int k, int column) {
                const Values times = weights(type, weight, column, W(1));
#pragma unroll
                for (int i = 0; i < VECTOR; i++) {
                    const W of_g = exists ? held_g.at[k + i] : W(0);
                    const W of_x = normal(held_x.at[k + i]), h = of_g * times.at[i];
                    of_weight.at[k + i].add(of_g * of_x);
                    if (CENTRED) of_bias.at[k + i].add(of_g);
                    if (CENTRED) sums.a += h;
                    sums.b += h * of_x;
                    held_g.at[k + i] = h;
                    held_x.at[k + i] = of_x;
                }
            });
            if (!dx) return;
            const Pair along = means_of(sums, columns);
            if (!exists) return;
            each_kept(width, mine, [&](int k, int column) {
                Pack<T, VECTOR> result;
#pragma unroll
                for (int i = 0; i < VECTOR; i++) {
                    result.at[i] =
                        narrow<T>(normal.slope(held_g.at[k + i], held_x.at[k + i], along));
                }
                store<VECTOR>(dx + start + column, result);
            });
        });
    });
    DYNAMIC_SHARED(W, buffer);  // blockDim.y rows
    partials += blockIdx.x * columns * (CENTRED ? 2 : 1);
    add_rows(of_weight, buffer, partials, width, mine);
    if (CENTRED) add_rows(of_bias, buffer, partials + columns, width, mine);
}

extern "C" __global__ void __launch_bounds__(MOST_THREADS, 1)
    layer_norm_vjp(const T* __restrict__ g, const T* __restrict__ x,
                   const void* __restrict__ weight, long long wide_weight,
                   const W* __restrict__ mean, const W* __restrict__ scale,
                   T* __restrict__ dx, W* __restrict__ partials, long long n,
                   long long columns) {
    gradients<true>(g, x, weight, wide_weight, mean, scale, dx, partials, n, columns);
}

extern "C" __global__ void __launch_bounds__(MOST_THREADS, 1)
    rms_norm_vjp(const T* __restrict__ g, const T* __restrict__ x,
                 const void* __restrict__ weight, long long wide_weight,
                 const W* __restrict__ mean, const W* __restrict__ scale,
                 T* __restrict__ dx, W* __restrict__ partials, long long n,
                 long long columns) {
    gradients<false>(g, x, weight, wide_weight, mean, scale, dx, partials, n, columns);
}
