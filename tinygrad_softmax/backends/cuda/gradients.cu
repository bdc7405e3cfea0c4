// The norm of many arrays as one vector, and many arrays times one number, in place:
// backends/optimizers.py is the definition.

constexpr int IN_FLIGHT = 4;  // packs of a thread on the way

enum Kind { SQUARES, MAGNITUDES, LARGEST };  // as cupy_optimizers.py numbers them

// Calls f(where it begins, pack) for every pack of N elements of this thread.
template <int N, class F>
__device__ __forceinline__ void each_batch(const T* x, int count, F f) {
    const int step = (int)blockDim.x * N;
    for (int first = (int)threadIdx.x * N; first < count; first += step * IN_FLIGHT) {
        Pack<T, N> packs[IN_FLIGHT];
#pragma unroll
        for (int b = 0; b < IN_FLIGHT; b++) {
            if (first + b * step < count) packs[b] = load<N>(x + first + b * step);
        }
#pragma unroll
        for (int b = 0; b < IN_FLIGHT; b++) {
            if (first + b * step < count) f(first + b * step, packs[b]);
        }
    }
}

// Calls f(a pack, elements, how many) for the part of a chunk that can be accessed 16 bytes
// at a time, and for the rest. The pack only says by its type how many are accessed at once.
template <class F>
__device__ __forceinline__ void each_part(T* x, int count, F f) {
    int packed = 0;
    if (address(x) % 16 == 0) {
        packed = count / VECTOR * VECTOR;
        f(Pack<T, VECTOR>(), x, packed);
    }
    if (packed < count) f(Pack<T, 1>(), x + packed, count - packed);
}

// -- norms ----------------------------------------------------------------------------------

struct Squares {
    static constexpr int KIND = SQUARES;
    using Op = Sum<double>;
    __device__ __forceinline__ W operator()(W so_far, W x) const { return so_far + x * x; }
};
struct Magnitudes {
    static constexpr int KIND = MAGNITUDES;
    using Op = Sum<double>;
    __device__ __forceinline__ W operator()(W so_far, W x) const {
        return so_far + fabs(x);
    }
};
struct Largest {
    static constexpr int KIND = LARGEST;
    using Op = Larger<double>;
    __device__ __forceinline__ W operator()(W so_far, W x) const {
        return larger(so_far, fabs(x));
    }
};

// The elements of a pack are put together as W, and packs as double.
template <int N, class Measure>
__device__ __forceinline__ double measured(const T* x, int count, double so_far,
                                           Measure measure) {
    each_batch<N>(x, count, [&](int, const Pack<T, N>& pack) {
        W sum = W(0);
#pragma unroll
        for (int i = 0; i < N; i++) sum = measure(sum, (W)widen(pack.at[i]));
        so_far = typename Measure::Op()(so_far, (double)sum);
    });
    return so_far;
}

template <class Measure>
__device__ __forceinline__ void measure_chunks(const Arrays& arrays, const long long* chunks,
                                               long long count, double* parts) {
    double so_far = 0.0;  // the least of every kind
    for (long long c = blockIdx.x; c < count; c += gridDim.x) {
        const Chunk chunk = chunk_at(chunks, c);
        each_part(arrays.at[chunk.array] + chunk.begin, (int)chunk.count,
                  [&](auto pack, const T* x, int n) {
                      constexpr int N = sizeof(pack) / sizeof(T);
                      so_far = measured<N>(x, n, so_far, Measure());
                  });
    }
    so_far = reduce_row(so_far, typename Measure::Op());
    if (threadIdx.x == 0) parts[blockIdx.x] = so_far;
}

// parts[block] = what a norm is made of, of the block's chunks.
extern "C" __global__ void __launch_bounds__(CHUNK_THREADS)
    norm_parts(const Arrays arrays, const long long* __restrict__ chunks, long long count,
               double* __restrict__ parts, long long kind) {
    if (kind == SQUARES) {
        measure_chunks<Squares>(arrays, chunks, count, parts);
    } else if (kind == MAGNITUDES) {
        measure_chunks<Magnitudes>(arrays, chunks, count, parts);
    } else {
        measure_chunks<Largest>(arrays, chunks, count, parts);
    }
}

// norm[0] = the norm, by one block.
extern "C" __global__ void __launch_bounds__(MOST_THREADS)
    norm_total(const double* __restrict__ parts, long long count, W* __restrict__ norm,
               long long kind) {
    const bool sums = kind != LARGEST;
    double so_far = 0.0;
    for (long long i = threadIdx.x; i < count; i += blockDim.x) {
        so_far = sums ? so_far + parts[i] : larger(so_far, parts[i]);
    }
    so_far = sums ? reduce_row(so_far, Sum<double>()) : reduce_row(so_far, Larger<double>());
    if (threadIdx.x == 0) norm[0] = (W)(kind == SQUARES ? sqrt(so_far) : so_far);
}

// -- scales ---------------------------------------------------------------------------------

// x *= factor, and whether all of x were finite before.
template <int N>
__device__ __forceinline__ bool scaled(T* x, int count, W factor) {
    bool finite = true;
    each_batch<N>(x, count, [&](int at, const Pack<T, N>& pack) {
        Pack<T, N> out;
#pragma unroll
        for (int i = 0; i < N; i++) {
            const W value = widen(pack.at[i]);
            finite = finite && is_finite(value);
            out.at[i] = narrow<T>(value * factor);
        }
        store<N>(x + at, out);
    });
    return finite;
}

__device__ __forceinline__ bool scale_chunks(const Arrays& arrays, const long long* chunks,
                                             long long count, W factor) {
    bool finite = true;
    for (long long c = blockIdx.x; c < count; c += gridDim.x) {
        const Chunk chunk = chunk_at(chunks, c);
        each_part(arrays.at[chunk.array] + chunk.begin, (int)chunk.count,
                  [&](auto pack, T* x, int n) {
                      constexpr int N = sizeof(pack) / sizeof(T);
                      finite = scaled<N>(x, n, factor) && finite;
                  });
    }
    return finite;
}

// x *= min(1, max_norm / (norm + 1e-6)). Nothing is written where that is 1.
extern "C" __global__ void __launch_bounds__(CHUNK_THREADS)
    clip_by_norm(const Arrays arrays, const long long* __restrict__ chunks, long long count,
                 const W* __restrict__ norm, double max_norm) {
    const W factor = (W)max_norm / (norm[0] + (W)1e-6);
    if (factor >= W(1)) return;
    scale_chunks(arrays, chunks, count, factor);
}

// x *= factor; *finite becomes false if one of x was inf or nan before.
extern "C" __global__ void __launch_bounds__(CHUNK_THREADS)
    unscale(const Arrays arrays, const long long* __restrict__ chunks, long long count,
            double factor, bool* finite) {
    if (!scale_chunks(arrays, chunks, count, (W)factor)) *finite = false;
}
