// Sums over rows (n, C), of g * normal and of g: the gradients of weight and bias, in two
// stages. The number of partial sums and the order that they are added up in depend on the
// shape alone.

#include "norms.cuh"

constexpr int ROWS_AT_ONCE = 4;  // read together

// One row of `partials` of each kind, (blockIdx.y, kind, column), from `rows` rows. Without
// a mean there is one kind, for x is not centred.
__device__ __forceinline__ void add_columns(const T* g, const T* x, const W* mean,
                                            const W* scale, W* partials, long long n,
                                            long long columns, long long rows) {
    const long long column =
        ((long long)blockIdx.x * blockDim.x + threadIdx.x) * VECTOR;
    if (column >= columns) return;
    const long long first = blockIdx.y * rows, end = min(first + rows, n);
    Compensated of_weight[VECTOR], of_bias[VECTOR];
    for (long long row = first; row < end; row += ROWS_AT_ONCE) {
        Pack<T, VECTOR> pack_g[ROWS_AT_ONCE], pack_x[ROWS_AT_ONCE];
#pragma unroll
        for (int r = 0; r < ROWS_AT_ONCE; r++) {
            if (row + r >= end) continue;
            pack_g[r] = load<VECTOR>(g + (row + r) * columns + column);
            pack_x[r] = load<VECTOR>(x + (row + r) * columns + column);
        }
#pragma unroll
        for (int r = 0; r < ROWS_AT_ONCE; r++) {
            if (row + r >= end) continue;
            const W centre = mean ? mean[row + r] : W(0), of_row = scale[row + r];
#pragma unroll
            for (int i = 0; i < VECTOR; i++) {
                const W of_g = widen(pack_g[r].at[i]);
                const W normal = ((W)widen(pack_x[r].at[i]) - centre) * of_row;
                of_weight[i].add(of_g * normal);
                if (mean) of_bias[i].add(of_g);
            }
        }
    }
    W* to = partials + blockIdx.y * columns * (mean ? 2 : 1) + column;
#pragma unroll
    for (int i = 0; i < VECTOR; i++) {
        to[i] = of_weight[i].value();
        if (mean) to[columns + i] = of_bias[i].value();
    }
}

extern "C" __global__ void __launch_bounds__(256, 1)
    column_partials(const T* __restrict__ g, const T* __restrict__ x,
                    const W* __restrict__ mean, const W* __restrict__ scale,
                    W* __restrict__ partials, long long n, long long columns,
                    long long rows) {
    add_columns(g, x, mean, scale, partials, n, columns, rows);
}

// The sums of `count` partials: first[column], of T where `is_narrow`, else of W, and
// second[column] for those of the second kind; either may be null. Blocks are (32, rows).
extern "C" __global__ void __launch_bounds__(512, 1)
    column_totals(const W* __restrict__ partials, void* __restrict__ first,
                  W* __restrict__ second, long long is_narrow, long long count,
                  long long columns, long long kinds) {
    __shared__ W sums[16][33];
    const long long width = kinds * columns;
    const long long at = (long long)blockIdx.x * 32 + threadIdx.x;
    Compensated total;
    if (at < width) {
#pragma unroll 4
        for (long long part = threadIdx.y; part < count; part += blockDim.y) {
            total.add(partials[part * width + at]);
        }
    }
    sums[threadIdx.y][threadIdx.x] = total.value();
    __syncthreads();
    if (threadIdx.y || at >= width) return;
    Compensated all;
    for (int row = 0; row < (int)blockDim.y; row++) all.add(sums[row][threadIdx.x]);
    if (at >= columns) {
        if (second) second[at - columns] = all.value();
    } else if (first && is_narrow) {
        static_cast<T*>(first)[at] = narrow<T>(all.value());
    } else if (first) {
        static_cast<W*>(first)[at] = all.value();
    }
}
