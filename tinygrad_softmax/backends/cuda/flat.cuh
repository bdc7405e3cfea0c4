// Kernels over n elements, whatever the shape, launched by geometry.elements. Elements are
// accessed 16 bytes at a time but for the rest behind the last whole block, and where an
// array's address forbids it.

constexpr int FLAT_THREADS = 128;

// Packs of each input that a thread reads before it computes.
template <int INPUTS>
constexpr int BATCH = INPUTS == 1 ? 2 : 1;

template <int INPUTS, class F>
__device__ __forceinline__ void map_batch(const T* const (&in)[INPUTS], T* out,
                                          long long start, F f) {
    const long long mine = start + (long long)threadIdx.x * VECTOR;
    const long long step = (long long)blockDim.x * VECTOR;
    Pack<T, VECTOR> packs[BATCH<INPUTS>][INPUTS];
#pragma unroll
    for (int k = 0; k < BATCH<INPUTS>; k++) {
#pragma unroll
        for (int i = 0; i < INPUTS; i++) packs[k][i] = load<VECTOR>(in[i] + mine + k * step);
    }
#pragma unroll
    for (int k = 0; k < BATCH<INPUTS>; k++) {
        W x[INPUTS][VECTOR];
#pragma unroll
        for (int i = 0; i < INPUTS; i++) {
#pragma unroll
            for (int j = 0; j < VECTOR; j++) x[i][j] = widen(packs[k][i].at[j]);
        }
        f(x, mine + k * step);
        Pack<T, VECTOR> result;
#pragma unroll
        for (int j = 0; j < VECTOR; j++) result.at[j] = narrow<T>(x[0][j]);
        store<VECTOR>(out + mine + k * step, result);
    }
}

// The elements from `start` to `end`, one by one.
template <int INPUTS, class F>
__device__ __forceinline__ void map_singly(const T* const (&in)[INPUTS], T* out,
                                           long long start, long long end, F f) {
#pragma unroll 1
    for (long long at = start + threadIdx.x; at < end; at += blockDim.x) {
        W x[INPUTS][1];
#pragma unroll
        for (int i = 0; i < INPUTS; i++) x[i][0] = widen(in[i][at]);
        f(x, at);
        out[at] = narrow<T>(x[0][0]);
    }
}

// f(x, first) is handed elements of every input from number `first` on, x[input][i], and
// leaves the results in x[0]: VECTOR of them, of which `first` is a multiple, or one.
template <int INPUTS, class F>
__device__ __forceinline__ void map_flat(const T* const (&in)[INPUTS], T* out, long long n,
                                         F f) {
    unsigned long long addresses = reinterpret_cast<unsigned long long>(out);
#pragma unroll
    for (int i = 0; i < INPUTS; i++) {
        addresses |= reinterpret_cast<unsigned long long>(in[i]);
    }
    const bool aligned = addresses % sizeof(Pack<T, VECTOR>) == 0;
    const long long of_block = (long long)blockDim.x * VECTOR * BATCH<INPUTS>;
    const long long step = gridDim.x * of_block;
    for (long long start = blockIdx.x * of_block; start < n; start += step) {
        const long long end = start + of_block;
        if (aligned && end <= n) {
            map_batch(in, out, start, f);
        } else {
            map_singly(in, out, start, end < n ? end : n, f);
        }
    }
}
