// Between 16-bit floats and float32, for n elements. The accesses of float32 have 16 bytes
// and those of the others 8, so that a warp's are neighbours in both arrays; single elements
// are accessed where an array's address forbids it.

constexpr int CAST_THREADS = 128;  // geometry.FLAT_THREADS
constexpr int OF_CAST = 4;  // packs that a thread reads before it writes
constexpr int CAST_PACK = 4;  // elements of a pack

// CAST_PACK elements in one access.
template <class E>
struct alignas(CAST_PACK * sizeof(E)) Some {
    E at[CAST_PACK];
};

template <class From, class To, class F>
__device__ __forceinline__ void cast(const From* x, To* out, long long n, F f) {
    const bool aligned = reinterpret_cast<unsigned long long>(x) % sizeof(Some<From>) == 0 &&
                         reinterpret_cast<unsigned long long>(out) % sizeof(Some<To>) == 0;
    const long long whole = aligned ? n / CAST_PACK : 0;  // packs
    const long long of_block = (long long)blockDim.x * OF_CAST;
    const Some<From>* const in = reinterpret_cast<const Some<From>*>(x);
    Some<To>* const to = reinterpret_cast<Some<To>*>(out);
    if (whole) {
        CHECK_ALIGNED(x, sizeof(Some<From>));
        CHECK_ALIGNED(out, sizeof(Some<To>));
    }
    for (long long start = blockIdx.x * of_block; start < whole;
         start += gridDim.x * of_block) {
        Some<From> packs[OF_CAST];
#pragma unroll
        for (int k = 0; k < OF_CAST; k++) {
            const long long at = start + k * blockDim.x + threadIdx.x;
            if (at < whole) packs[k] = in[at];
        }
#pragma unroll
        for (int k = 0; k < OF_CAST; k++) {
            const long long at = start + k * blockDim.x + threadIdx.x;
            if (at >= whole) continue;
            Some<To> some;
#pragma unroll
            for (int i = 0; i < CAST_PACK; i++) some.at[i] = f(packs[k].at[i]);
            to[at] = some;
        }
    }
    const long long number = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    const long long threads = (long long)gridDim.x * blockDim.x;
#pragma unroll 1
    for (long long at = whole * CAST_PACK + number; at < n; at += threads) out[at] = f(x[at]);
}

extern "C" __global__ void __launch_bounds__(CAST_THREADS)
    widened(const T* __restrict__ x, float* __restrict__ out, long long n) {
    cast(x, out, n, [](T v) { return widen(v); });
}

extern "C" __global__ void __launch_bounds__(CAST_THREADS)
    narrowed(const float* __restrict__ x, T* __restrict__ out, long long n) {
    cast(x, out, n, [](float v) { return narrow<T>(v); });
}
