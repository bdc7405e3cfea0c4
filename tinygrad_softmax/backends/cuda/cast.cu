// Between 16-bit floats and float32, for n elements. The accesses of float32 have 16 bytes
// where WIDE, and those of the others 8: so a warp's are neighbours in both arrays.

constexpr int CAST_THREADS = 128;
constexpr int OF_CAST = 4;  // packs that a thread reads before it writes
constexpr int COUNT = WIDE ? 4 : 1;  // elements of a pack

// COUNT elements in one access: 16 or 8 bytes, or one element.
template <class E>
struct alignas(COUNT * sizeof(E)) Some {
    E at[COUNT];
};

template <class From, class To, class F>
__device__ __forceinline__ void cast(const From* x, To* out, long long n, F f) {
    const long long whole = n / COUNT, of_block = (long long)blockDim.x * OF_CAST;
    const Some<From>* const in = reinterpret_cast<const Some<From>*>(x);
    Some<To>* const to = reinterpret_cast<Some<To>*>(out);
    CHECK_ALIGNED(x, sizeof(Some<From>));
    CHECK_ALIGNED(out, sizeof(Some<To>));
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
            for (int i = 0; i < COUNT; i++) some.at[i] = f(packs[k].at[i]);
            to[at] = some;
        }
    }
    const long long tail = whole * COUNT + threadIdx.x;
    if (blockIdx.x == 0 && tail < n) out[tail] = f(x[tail]);
}

extern "C" __global__ void __launch_bounds__(CAST_THREADS)
    widened(const T* __restrict__ x, float* __restrict__ out, long long n) {
    cast(x, out, n, [](T v) { return widen(v); });
}

extern "C" __global__ void __launch_bounds__(CAST_THREADS)
    narrowed(const float* __restrict__ x, T* __restrict__ out, long long n) {
    cast(x, out, n, [](float v) { return narrow<T>(v); });
}
