// Layer norm and RMS norm over rows (n, C): backends/norms.py is the definition.
//
// A row that the registers of a block hold is read once, and its variance is the mean of
// (x - mean)^2. A longer one is read in batches, whose moments are joined (moments.cuh);
// it stays in shared memory where `staged` says so, or is read again.

#include "norms.cuh"
#include "moments.cuh"

#if !HELD
// The moments of a row, which is kept in `staged` if that is not null.
template <bool CENTRED>
__device__ __forceinline__ Moments moments(const T* row, T* staged, long long columns,
                                           Lanes mine) {
    MomentsSoFar<CENTRED> so_far;
    each_batch(columns, mine, [&](long long first, long long step) {
        W at[BATCH * VECTOR];
        int packs = 0;
#pragma unroll
        for (int b = 0; b < BATCH; b++) {
            const long long column = first + b * step;
            if (column >= columns) continue;
            const Pack<T, VECTOR> in = load<VECTOR>(row + column);
            if (staged) store_shared<VECTOR>(staged + column, in);
#pragma unroll
            for (int i = 0; i < VECTOR; i++) at[b * VECTOR + i] = widen(in.at[i]);
            packs++;
        }
        so_far.add(at, packs * VECTOR);
    });
    return reduce_row(so_far.moments(), Joined<CENTRED>());
}
#endif

// out = (x - mean) * scale * weight + bias, with the mean and scale of each row.
template <bool CENTRED>
__device__ __forceinline__ void normalised(const T* x, const void* weight, const void* bias,
                                           bool wide_weight, T* out, W* means, W* scales,
                                           long long n, long long columns, W eps,
                                           bool is_staged) {
    const Lanes mine = my_lanes();
#if !HELD
    DYNAMIC_SHARED(T, shared_row);
    T* const staged = is_staged ? shared_row : nullptr;
#endif
    each_row(n, [&](long long number, bool exists) {
        const T* in = x + number * columns;
        T* to = out + number * columns;
#if HELD
        Row row;
        row.read(in, (int)columns, mine);
        W mean = W(0), squares = W(0);
        if (CENTRED) {
            each_kept((int)columns, mine, [&](int k, int) {
#pragma unroll
                for (int i = 0; i < VECTOR; i++) mean += row.at[k + i];
            });
            mean = reduce_row(mean, Sum<W>()) / (W)columns;
        }
        each_kept((int)columns, mine, [&](int k, int) {
#pragma unroll
            for (int i = 0; i < VECTOR; i++) {
                squares += (row.at[k + i] - mean) * (row.at[k + i] - mean);
            }
        });
        squares = reduce_row(squares, Sum<W>());
#else
        const Moments found = moments<CENTRED>(in, staged, columns, mine);
        const W mean = CENTRED ? found.mean().high : W(0), squares = found.squares;
#endif
        const W scale = W(1) / sqrt(squares / (W)columns + eps);
        if (!exists) return;
        if (mine.lane == 0) {
            if (CENTRED) means[number] = mean;
            scales[number] = scale;
        }
        with_weights(wide_weight, [&](const auto* type) {
            const auto result = [&](const W* at, long long column) {
                const auto times = weights(type, weight, column, W(1));
                const auto plus = weights(type, bias, column, W(0));
                Pack<T, VECTOR> pack;
#pragma unroll
                for (int i = 0; i < VECTOR; i++) {
                    pack.at[i] = narrow<T>((at[i] - mean) * scale * times.at[i] + plus.at[i]);
                }
                store<VECTOR>(to + column, pack);
            };
#if HELD
            each_kept((int)columns, mine,
                      [&](int k, int column) { result(row.at + k, column); });
#else
            each_pack(columns, mine, [&](long long column) {
                const T* from = staged ? staged : in;
                const Pack<T, VECTOR> pack = load<VECTOR>(from + column);
                W at[VECTOR];
#pragma unroll
                for (int i = 0; i < VECTOR; i++) at[i] = widen(pack.at[i]);
                result(at, column);
            });
#endif
        });
    });
}

extern "C" __global__ void __launch_bounds__(MOST_THREADS, 1)
    layer_norm(const T* __restrict__ x, const void* __restrict__ weight,
               const void* __restrict__ bias, long long wide_weight, T* __restrict__ out,
               W* __restrict__ mean, W* __restrict__ scale, long long n, long long columns,
               double eps, long long staged) {
    normalised<true>(x, weight, bias, wide_weight, out, mean, scale, n, columns, (W)eps,
                     staged);
}

extern "C" __global__ void __launch_bounds__(MOST_THREADS, 1)
    rms_norm(const T* __restrict__ x, const void* __restrict__ weight,
             const void* __restrict__ bias, long long wide_weight, T* __restrict__ out,
             W* __restrict__ mean, W* __restrict__ scale, long long n, long long columns,
             double eps, long long staged) {
    normalised<false>(x, weight, bias, wide_weight, out, mean, scale, n, columns, (W)eps,
                      staged);
}
