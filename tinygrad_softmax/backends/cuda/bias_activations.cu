// out = f(x + bias) over rows (n, C), and from the gradient g of the output dx = g f'(x +
// bias) and the sums of its columns, which are the bias's gradient. Each element is read
// once; what x + bias was is not kept.
//
// A block (32, DEEP) does a tile, some rows of 32 packs of columns (geometry.tiles): each
// thread keeps its pack of the bias, and the sums of its columns. Those of a tile are added
// in a fixed order, and so are those of all tiles, by sum_tiles.

#include "activations.cuh"

constexpr int DEEP = 8;  // threads of a block that share its columns
constexpr int TILE_THREADS = 256;  // 32 * DEEP
constexpr int AT_ONCE = 4;  // packs that a thread reads before it computes
constexpr int OF_SUM = 32;  // threads of sum_tiles that share a column
constexpr int SUM_THREADS = 1024;  // 32 * OF_SUM

// f(column, whether there is such a column) for this thread's columns, all threads alike.
template <class F>
__device__ __forceinline__ void each_tile(long long columns, F f) {
    const long long of_block = 32 * VECTOR;
    for (long long start = blockIdx.y * of_block; start < columns;
         start += gridDim.y * of_block) {
        const long long column = start + (int)threadIdx.x * VECTOR;
        f(column, column < columns);
    }
}

// f(row, k) for this thread's rows of a tile, ROWS of them read by `read(row, k)` before.
template <int ROWS, class Read, class F>
__device__ __forceinline__ void each_row_of_tile(long long n, long long of_tile, Read read,
                                                 F f) {
    const long long first = blockIdx.x * of_tile;
    const long long end = first + of_tile < n ? first + of_tile : n;
#pragma unroll 1
    for (long long row = first + threadIdx.y; row < end; row += DEEP * ROWS) {
#pragma unroll
        for (int k = 0; k < ROWS; k++) {
            if (row + k * DEEP < end) read(row + k * DEEP, k);
        }
#pragma unroll
        for (int k = 0; k < ROWS; k++) {
            if (row + k * DEEP < end) f(row + k * DEEP, k);
        }
    }
}

// A pack of the bias, which may lie anywhere: in the middle of a buffer of parameters.
__device__ __forceinline__ Pack<T, VECTOR> load_bias(const T* bias) {
    if (reinterpret_cast<unsigned long long>(bias) % sizeof(Pack<T, VECTOR>) == 0) {
        return load<VECTOR>(bias);
    }
    Pack<T, VECTOR> pack;
#pragma unroll
    for (int i = 0; i < VECTOR; i++) pack.at[i] = bias[i];
    return pack;
}

struct Values {
    W at[VECTOR];

    __device__ __forceinline__ explicit Values(const Pack<T, VECTOR>& pack) {
#pragma unroll
        for (int i = 0; i < VECTOR; i++) at[i] = widen(pack.at[i]);
    }
};

template <class F>
__device__ __forceinline__ void biased(const T* x, const T* bias, T* out, long long n,
                                       long long columns, long long of_tile, F f) {
    each_tile(columns, [&](long long column, bool exists) {
        if (!exists) return;
        const Values added(load_bias(bias + column));
        Pack<T, VECTOR> packs[AT_ONCE];
        each_row_of_tile<AT_ONCE>(
            n, of_tile,
            [&](long long row, int k) { packs[k] = load<VECTOR>(x + row * columns + column); },
            [&](long long row, int k) {
                Pack<T, VECTOR> result;
#pragma unroll
                for (int i = 0; i < VECTOR; i++) {
                    result.at[i] = narrow<T>(f((W)widen(packs[k].at[i]) + added.at[i]));
                }
                store<VECTOR>(out + row * columns + column, result);
            });
    });
}

// dx = f(g, x + bias), or f(g, x) without a bias. sums: (tiles, C), or null where nobody
// wants the bias's gradient.
template <class F>
__device__ __forceinline__ void biased_grad(const T* g, const T* x, const T* bias, T* dx,
                                            W* sums, long long n, long long columns,
                                            long long of_tile, F f) {
    constexpr int ROWS = AT_ONCE / 2;
    DYNAMIC_SHARED(W, of_threads);  // (DEEP, 32 * VECTOR), where there are sums
    const int first = threadIdx.x * VECTOR;
    each_tile(columns, [&](long long column, bool exists) {
        W mine[VECTOR] = {};
        if (exists) {
            const Values added(bias ? load_bias(bias + column) : Pack<T, VECTOR>{});
            Pack<T, VECTOR> packs_g[ROWS], packs_x[ROWS];
            each_row_of_tile<ROWS>(
                n, of_tile,
                [&](long long row, int k) {
                    packs_g[k] = load<VECTOR>(g + row * columns + column);
                    packs_x[k] = load<VECTOR>(x + row * columns + column);
                },
                [&](long long row, int k) {
                    Pack<T, VECTOR> result;
#pragma unroll
                    for (int i = 0; i < VECTOR; i++) {
                        const W at = (W)widen(packs_x[k].at[i]) + added.at[i];
                        const W d = f((W)widen(packs_g[k].at[i]), at);
                        mine[i] += d;
                        result.at[i] = narrow<T>(d);
                    }
                    store<VECTOR>(dx + row * columns + column, result);
                });
        }
        if (!sums) return;
#pragma unroll
        for (int i = 0; i < VECTOR; i++) {
            of_threads[threadIdx.y * 32 * VECTOR + first + i] = mine[i];
        }
        __syncthreads();
        if (threadIdx.y == 0 && exists) {
#pragma unroll
            for (int i = 0; i < VECTOR; i++) {
                W sum = W(0);
#pragma unroll
                for (int k = 0; k < DEEP; k++) sum += of_threads[k * 32 * VECTOR + first + i];
                sums[(long long)blockIdx.x * columns + column + i] = sum;
            }
        }
        __syncthreads();  // of_threads may be written to again
    });
}

// -- x + bias ---------------------------------------------------------------------------

extern "C" __global__ void __launch_bounds__(TILE_THREADS)
    relu(const T* x, const T* __restrict__ bias, T* out, long long n, long long columns,
         long long of_tile) {
    biased(x, bias, out, n, columns, of_tile, [](W v) { return relu_of(v); });
}

extern "C" __global__ void __launch_bounds__(TILE_THREADS)
    gelu(const T* x, const T* __restrict__ bias, T* out, long long n, long long columns,
         long long of_tile) {
    biased(x, bias, out, n, columns, of_tile, [](W v) { return v * Normal(v).cdf; });
}

extern "C" __global__ void __launch_bounds__(TILE_THREADS)
    gelu_tanh(const T* x, const T* __restrict__ bias, T* out, long long n,
              long long columns, long long of_tile) {
    biased(x, bias, out, n, columns, of_tile, [](W v) { return v * Tanh(v).cdf; });
}

extern "C" __global__ void __launch_bounds__(TILE_THREADS)
    relu_grad(const T* __restrict__ g, const T* __restrict__ x,  // or what relu gave
              const T* __restrict__ bias, T* __restrict__ dx, W* __restrict__ sums,
              long long n, long long columns, long long of_tile) {
    biased_grad(g, x, bias, dx, sums, n, columns, of_tile,
                [](W of_g, W v) { return v > W(0) ? of_g : W(0); });
}

extern "C" __global__ void __launch_bounds__(TILE_THREADS)
    gelu_grad(const T* __restrict__ g, const T* __restrict__ x,
              const T* __restrict__ bias, T* __restrict__ dx, W* __restrict__ sums,
              long long n, long long columns, long long of_tile) {
    biased_grad(g, x, bias, dx, sums, n, columns, of_tile, [](W of_g, W v) {
        const Normal f(v);
        return of_g * (f.cdf + f.lever);
    });
}

extern "C" __global__ void __launch_bounds__(TILE_THREADS)
    gelu_tanh_grad(const T* __restrict__ g, const T* __restrict__ x,
                   const T* __restrict__ bias, T* __restrict__ dx, W* __restrict__ sums,
                   long long n, long long columns, long long of_tile) {
    biased_grad(g, x, bias, dx, sums, n, columns, of_tile, [](W of_g, W v) {
        const Tanh f(v);
        return of_g * (f.cdf + f.lever);
    });
}

// The sums of all tiles: a block (32, OF_SUM) does 32 columns.
extern "C" __global__ void __launch_bounds__(SUM_THREADS)
    sum_tiles(const W* __restrict__ sums, T* __restrict__ out, long long tiles,
              long long columns) {
    DYNAMIC_SHARED(W, of_threads);  // (OF_SUM, 32)
    const long long column = (long long)blockIdx.x * 32 + threadIdx.x;
    W sum = W(0);
    if (column < columns) {
#pragma unroll 8
        for (long long tile = threadIdx.y; tile < tiles; tile += OF_SUM) {
            sum += sums[tile * columns + column];
        }
    }
    of_threads[threadIdx.y * 32 + threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y || column >= columns) return;
    for (int k = 1; k < OF_SUM; k++) sum += of_threads[k * 32 + threadIdx.x];
    out[column] = narrow<T>(sum);
}
