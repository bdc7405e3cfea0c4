// Kernels over n elements, whatever the shape. They are launched by geometry.flat, with
// VECTOR * BATCH elements for each thread; n need not be a multiple of VECTOR.

constexpr int FLAT_THREADS = 128;
constexpr int BATCH = 2;  // packs of each input that a thread reads before it computes

// The elements from `first` on that there are; zeros past the end.
template <class E>
__device__ __forceinline__ Pack<E, VECTOR> load_some(const E* p, long long first,
                                                     long long n) {
    Pack<E, VECTOR> pack = {};
#pragma unroll
    for (int i = 0; i < VECTOR; i++) {
        if (first + i < n) pack.at[i] = p[first + i];
    }
    return pack;
}

template <class E>
__device__ __forceinline__ void store_some(E* p, const Pack<E, VECTOR>& pack,
                                           long long first, long long n) {
#pragma unroll
    for (int i = 0; i < VECTOR; i++) {
        if (first + i < n) p[first + i] = pack.at[i];
    }
}

template <bool WHOLE, int INPUTS, class F>
__device__ __forceinline__ void map_batch(const T* const (&in)[INPUTS], T* out,
                                          long long start, long long n, F f) {
    const long long mine = start + (long long)threadIdx.x * VECTOR;
    const long long step = (long long)blockDim.x * VECTOR;
    Pack<T, VECTOR> packs[BATCH][INPUTS];
#pragma unroll
    for (int k = 0; k < BATCH; k++) {
        const long long first = mine + k * step;
#pragma unroll
        for (int i = 0; i < INPUTS; i++) {
            packs[k][i] = WHOLE ? load<VECTOR>(in[i] + first) : load_some(in[i], first, n);
        }
    }
#pragma unroll
    for (int k = 0; k < BATCH; k++) {
        const long long first = mine + k * step;
        W x[INPUTS][VECTOR];
#pragma unroll
        for (int i = 0; i < INPUTS; i++) {
#pragma unroll
            for (int j = 0; j < VECTOR; j++) x[i][j] = widen(packs[k][i].at[j]);
        }
        f(x, first);
        Pack<T, VECTOR> result;
#pragma unroll
        for (int j = 0; j < VECTOR; j++) result.at[j] = narrow<T>(x[0][j]);
        if (WHOLE) {
            store<VECTOR>(out + first, result);
        } else {
            store_some(out, result, first, n);
        }
    }
}

// f(x, first) is handed the elements of every input from number `first` on, x[input][i],
// and leaves the results in x[0].
template <int INPUTS, class F>
__device__ __forceinline__ void map_flat(const T* const (&in)[INPUTS], T* out, long long n,
                                         F f) {
    const long long of_block = (long long)blockDim.x * VECTOR * BATCH;
    const long long step = gridDim.x * of_block;
    for (long long start = blockIdx.x * of_block; start < n; start += step) {
        if (start + of_block <= n) {
            map_batch<true>(in, out, start, n, f);
        } else {
            map_batch<false>(in, out, start, n, f);
        }
    }
}
