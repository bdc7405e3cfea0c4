// The norm of many arrays as one vector, and many arrays times one number, in place:
// backends/optimizers.py is the definition.

#include "arrays.cuh"

constexpr int IN_FLIGHT = 4;  // packs of a thread on the way

static_assert(sizeof(Arrays) <= MOST_BYTES, "a launch takes 4 KB");

// Calls f(pack, where it begins) for every pack of N elements from `begin` to `end` of x
// that is this thread's, BATCH of them on the way.
template <int N, int BATCH, class F>
__device__ __forceinline__ void each_batch(const T* x, int begin, int end, F f) {
    constexpr int step = CHUNK_THREADS * N;
#pragma unroll 1
    for (int first = begin + (int)threadIdx.x * N; first < end; first += step * BATCH) {
        Pack<T, N> packs[BATCH];
#pragma unroll
        for (int b = 0; b < BATCH; b++) {
            if (first + b * step < end) packs[b] = load<N>(x + first + b * step);
        }
#pragma unroll
        for (int b = 0; b < BATCH; b++) {
            if (first + b * step < end) f(packs[b], first + b * step);
        }
    }
}

// The same for a chunk: f takes packs of VECTOR and of 1.
template <class F>
__device__ __forceinline__ void each_pack_of(const Chunk& chunk, F f) {
    const int whole = packed(chunk.count, address(chunk.at));
    each_batch<VECTOR, IN_FLIGHT>(chunk.at, 0, whole, f);
    each_batch<1, 1>(chunk.at, whole, chunk.count, f);
}

// -- the norm -------------------------------------------------------------------------------

// parts[block] = the squares of the block's chunks together: neighbouring elements as W, and
// those as double.
extern "C" __global__ void __launch_bounds__(256)
    norm_parts(const Arrays arrays, long long count, double* __restrict__ parts) {
    double so_far = 0.0;
    for (long long c = blockIdx.x; c < count; c += gridDim.x) {
        each_pack_of(chunk_at(arrays, c), [&](const auto& pack, int) {
            W sum = W(0);
#pragma unroll
            for (const T& x : pack.at) sum += widen(x) * widen(x);
            so_far += (double)sum;
        });
    }
    so_far = reduce_row(so_far, Sum<double>());
    if (threadIdx.x == 0) parts[blockIdx.x] = so_far;
}

// norm[0] = the root of all parts together, by one block.
extern "C" __global__ void __launch_bounds__(256)
    norm_total(const double* __restrict__ parts, long long count, W* __restrict__ norm) {
    double so_far = 0.0;
    for (long long i = threadIdx.x; i < count; i += blockDim.x) so_far += parts[i];
    so_far = reduce_row(so_far, Sum<double>());
    if (threadIdx.x == 0) norm[0] = (W)sqrt(so_far);
}

// -- scales ---------------------------------------------------------------------------------

// x *= factor; whether all of this thread's x were finite before.
__device__ __forceinline__ bool scale_chunks(const Arrays& arrays, long long count,
                                             W factor) {
    bool finite = true;
    for (long long c = blockIdx.x; c < count; c += gridDim.x) {
        const Chunk chunk = chunk_at(arrays, c);
        each_pack_of(chunk, [&](auto pack, int at) {
#pragma unroll
            for (T& x : pack.at) {
                const W value = widen(x);
                finite = finite && is_finite(value);
                x = narrow<T>(value * factor);
            }
            store(chunk.at + at, pack);
        });
    }
    return finite;
}

// x *= min(1, max_norm / (norm + 1e-6)). Nothing is read or written where that is 1.
extern "C" __global__ void __launch_bounds__(256)
    clip_to_norm(const Arrays arrays, long long count, const W* __restrict__ norm,
                 double max_norm) {
    const W factor = (W)max_norm / (norm[0] + (W)1e-6);
    if (factor >= W(1)) return;
    scale_chunks(arrays, count, factor);
}

// x *= factor; *finite becomes false if one of x was inf or nan before.
extern "C" __global__ void __launch_bounds__(256)
    unscale(const Arrays arrays, long long count, double factor, bool* finite) {
    if (!scale_chunks(arrays, count, (W)factor)) *finite = false;
}
