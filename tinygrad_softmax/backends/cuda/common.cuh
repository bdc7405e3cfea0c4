// What every kernel shares. NVRTC and g++ both take it: C++17, no header is included.
//
// A source is compiled once for each dtype, with these macros:
//   STORAGE  what arrays hold: f16, bf16, float or double. Kernels call it T.
//   WORKING  what is computed in: float, and double for double. Kernels call it W.
//   WIDE     1 where arrays may be read and written 16 bytes at a time, else 0.
//   HELD     bytes of W that a thread keeps in registers; 0: the row is read twice.
// CuPy compiles with -ftz=true: float32 numbers below 1.2e-38 count as 0.

struct f16 {
    unsigned short bits;
};
struct bf16 {
    unsigned short bits;
};

#ifndef WIDE
#define WIDE 0
#endif
#ifndef HELD
#define HELD 0
#endif

using T = STORAGE;
using W = WORKING;

constexpr unsigned ALL_LANES = 0xffffffffu;
constexpr int MOST_THREADS = 512;  // of a block over rows, so that one may have 128 registers
constexpr int VECTOR = WIDE ? 16 / (int)sizeof(T) : 1;  // elements of one access
constexpr int KEPT = HELD / (int)sizeof(W);             // elements kept by a thread

#ifndef ON_THE_HOST  // the shim of the tests has its own
#define CHECK_ALIGNED(pointer, bytes)
#define CHECK_GLOBAL(pointer)
// Shared memory whose size the launch says. At most one in a kernel.
#define DYNAMIC_SHARED(TYPE, name)                              \
    extern __shared__ __align__(16) unsigned char shared_bytes[]; \
    TYPE* name = reinterpret_cast<TYPE*>(shared_bytes)
#endif

// -- numbers ----------------------------------------------------------------------------

template <class N>
__device__ __forceinline__ N infinity();
template <>
__device__ __forceinline__ float infinity<float>() {
    return __int_as_float(0x7f800000);
}
template <>
__device__ __forceinline__ double infinity<double>() {
    return __longlong_as_double(0x7ff0000000000000ll);
}
template <class N>
__device__ __forceinline__ N not_a_number();
template <>
__device__ __forceinline__ float not_a_number<float>() {
    return __int_as_float(0x7fc00000);
}
template <>
__device__ __forceinline__ double not_a_number<double>() {
    return __longlong_as_double(0x7ff8000000000000ll);
}

template <class N>
__device__ __forceinline__ bool is_nan(N x) {
    return x != x;
}
template <class N>
__device__ __forceinline__ bool is_finite(N x) {
    return x - x == N(0);
}

// The larger of two numbers; nan if either is (fmaxf would drop it).
template <class N>
__device__ __forceinline__ N larger(N a, N b) {
    return a > b || is_nan(a) ? a : b;
}

// -- 16-bit storage -----------------------------------------------------------------------

__device__ __forceinline__ double widen(double x) { return x; }
__device__ __forceinline__ float widen(float x) { return x; }

__device__ __forceinline__ float widen(bf16 x) {
    return __int_as_float((int)((unsigned)x.bits << 16));
}

__device__ __forceinline__ float widen(f16 x) {
#ifdef __CUDA_ARCH__
    float out;
    asm("cvt.f32.f16 %0, %1;" : "=f"(out) : "h"(x.bits));
    return out;
#else
    const unsigned sign = (x.bits & 0x8000u) << 16, rest = x.bits & 0x7fffu;
    if (rest >= 0x7c00u) return __int_as_float((int)(sign | 0x7f800000u | rest << 13));
    if (rest < 0x0400u) {  // subnormal: a count of 2^-24
        const float small = (float)rest * 5.9604644775390625e-8f;
        return sign ? -small : small;
    }
    return __int_as_float((int)(sign | (rest + 0x1c000u) << 13));
#endif
}

// To the nearest, ties to even.
template <class S>
__device__ __forceinline__ S narrow(W x);
template <>
__device__ __forceinline__ W narrow<W>(W x) {
    return x;
}

__device__ __forceinline__ bf16 to_bf16(float x) {
    bf16 out;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(out.bits) : "f"(x));
#else
    const unsigned bits = (unsigned)__float_as_int(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        out.bits = (unsigned short)(bits >> 16 | 0x40u);
    } else {
        out.bits = (unsigned short)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
    }
#endif
    return out;
}

__device__ __forceinline__ f16 to_f16(float x) {
    f16 out;
#ifdef __CUDA_ARCH__
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(out.bits) : "f"(x));
#else
    const unsigned bits = (unsigned)__float_as_int(x);
    const unsigned sign = bits >> 16 & 0x8000u, rest = bits & 0x7fffffffu;
    unsigned half;
    if (rest > 0x7f800000u) {
        half = 0x7e00u;
    } else if (rest >= 0x477ff000u) {  // 65520 and more
        half = 0x7c00u;
    } else if (rest < 0x38800000u) {  // below 2^-14: adding 0.5 rounds to 2^-24
        half = (unsigned)__float_as_int(__int_as_float((int)rest) + 0.5f) - 0x3f000000u;
    } else {
        half = (rest + 0xfffu + (rest >> 13 & 1u) - 0x38000000u) >> 13;
    }
    out.bits = (unsigned short)(sign | half);
#endif
    return out;
}

#define NARROW_TO(S, W_TO_S)                                \
    template <>                                             \
    __device__ __forceinline__ S narrow<S>(W x) {           \
        return W_TO_S((float)x);                            \
    }
NARROW_TO(f16, to_f16)
NARROW_TO(bf16, to_bf16)
#undef NARROW_TO

// -- memory -------------------------------------------------------------------------------

// N elements that are read and written at once. N is 1, or fills 16 bytes.
template <class E, int N>
struct Pack {
    E at[N];
};

template <int N, class E>
__device__ __forceinline__ Pack<E, N> load(const E* p) {
    if constexpr (N == 1) {
        return {{*p}};
    } else {
        static_assert(N * sizeof(E) == 16, "a pack has 16 bytes");
        CHECK_ALIGNED(p, 16);
        union {
            uint4 raw;
            Pack<E, N> pack;
        } both;
        both.raw = *reinterpret_cast<const uint4*>(p);
        return both.pack;
    }
}

// Into shared memory.
template <int N, class E>
__device__ __forceinline__ void store_shared(E* p, const Pack<E, N>& pack) {
    if constexpr (N == 1) {
        *p = pack.at[0];
    } else {
        static_assert(N * sizeof(E) == 16, "a pack has 16 bytes");
        CHECK_ALIGNED(p, 16);
        union {
            uint4 raw;
            Pack<E, N> pack;
        } both;
        both.pack = pack;
        *reinterpret_cast<uint4*>(p) = both.raw;
    }
}

// Into the device's memory. The instruction is named: left to itself the compiler makes
// four of some of these.
template <int N, class E>
__device__ __forceinline__ void store(E* p, const Pack<E, N>& pack) {
#ifdef __CUDACC__
    if constexpr (N > 1) {
        static_assert(N * sizeof(E) == 16, "a pack has 16 bytes");
        union {
            uint4 raw;
            Pack<E, N> pack;
        } both;
        both.pack = pack;
        asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(
                         __cvta_generic_to_global(p)),
                     "r"(both.raw.x), "r"(both.raw.y), "r"(both.raw.z), "r"(both.raw.w)
                     : "memory");
        return;
    }
#endif
    CHECK_GLOBAL(p);
    store_shared<N>(p, pack);
}

// -- rows -----------------------------------------------------------------------------------
//
// Kernels over rows (n, C) are launched in blocks (lanes, rows): threadIdx.y says which
// row of the block, threadIdx.x which lane of that row. lanes is a power of two from 8
// to MOST_THREADS, and a block has whole warps (geometry.py). Every thread of a block takes part
// in every reduction, also those whose row is past the last: no early return.

struct Lanes {
    int lane, count;
};

__device__ __forceinline__ Lanes my_lanes() {
    return {(int)threadIdx.x, (int)blockDim.x};
}

// The columns of a row that a lane keeps: calls f(k, column), k counting from 0 to KEPT,
// for the first column of each pack of VECTOR. k is a constant once this is unrolled, so
// that an array indexed by it stays in registers.
template <class F>
__device__ __forceinline__ void each_kept(int columns, Lanes mine, F f) {
#pragma unroll
    for (int k = 0; k < KEPT; k += VECTOR) {
        const int column = k * mine.count + mine.lane * VECTOR;
        if (column < columns) f(k, column);
    }
}

// The same for a row of any length: f(column) for every pack of this lane.
template <class F>
__device__ __forceinline__ void each_pack(long long columns, Lanes mine, F f) {
    const long long step = (long long)mine.count * VECTOR;
    for (long long c = (long long)mine.lane * VECTOR; c < columns; c += step) f(c);
}

#if HELD
// A row in the registers of its lanes.
struct Row {
    W at[KEPT];

    __device__ __forceinline__ void read(const T* row, int columns, Lanes mine) {
        each_kept(columns, mine, [&](int k, int column) {
            const Pack<T, VECTOR> in = load<VECTOR>(row + column);
#pragma unroll
            for (int i = 0; i < VECTOR; i++) at[k + i] = widen(in.at[i]);
        });
    }
};
#endif

// Calls body(row number, whether it exists) for the rows of this block, all threads alike.
template <class F>
__device__ __forceinline__ void each_row(long long n, F body) {
    const long long step = (long long)gridDim.x * blockDim.y;
    for (long long first = (long long)blockIdx.x * blockDim.y; first < n; first += step) {
        const long long row = first + threadIdx.y;
        body(row < n ? row : n - 1, row < n);
    }
}

// -- reductions -----------------------------------------------------------------------------
//
// A value is a number or a struct of numbers that has `shuffled(distance)`. An operation
// has `operator()(a, b)`, which must give the same for (b, a), and `identity()`.

__device__ __forceinline__ float shuffled(float v, int distance) {
    return __shfl_xor_sync(ALL_LANES, v, distance);
}
__device__ __forceinline__ double shuffled(double v, int distance) {
    return __shfl_xor_sync(ALL_LANES, v, distance);
}
__device__ __forceinline__ int shuffled(int v, int distance) {
    return __shfl_xor_sync(ALL_LANES, v, distance);
}
__device__ __forceinline__ long long shuffled(long long v, int distance) {
    return __shfl_xor_sync(ALL_LANES, v, distance);
}
template <class V>
__device__ __forceinline__ V shuffled(const V& v, int distance) {
    return v.shuffled(distance);
}

template <class N>
struct Sum {
    __device__ __forceinline__ N operator()(N a, N b) const { return a + b; }
    __device__ __forceinline__ N identity() const { return N(0); }
};

template <class N>
struct Larger {
    __device__ __forceinline__ N operator()(N a, N b) const { return larger(a, b); }
    __device__ __forceinline__ N identity() const { return -infinity<N>(); }
};

// A number and where it stands.
template <class N>
struct Place {
    N value;
    long long index;

    __device__ __forceinline__ Place shuffled(int distance) const {
        return {::shuffled(value, distance), ::shuffled(index, distance)};
    }
};

// The place of the largest number, the first of equal ones; of the first nan, if any.
template <class N>
struct First {
    __device__ __forceinline__ Place<N> operator()(Place<N> a, Place<N> b) const {
        const bool equal = a.value == b.value || (is_nan(a.value) && is_nan(b.value));
        if (equal) return a.index < b.index ? a : b;
        return a.value > b.value || is_nan(a.value) ? a : b;
    }
    __device__ __forceinline__ Place<N> identity() const {
        return {-infinity<N>(), 0x7fffffffffffffffll};
    }
};

// The values of `count` neighbouring lanes together, in each of them; count is 1 to 32.
template <class V, class Op>
__device__ __forceinline__ V reduce_lanes(V value, int count, Op op) {
    for (int distance = count >> 1; distance; distance >>= 1) {
        value = op(value, shuffled(value, distance));
    }
    return value;
}

// The values of a row's lanes together, in each of them: (lanes, rows) are the block.
template <class V, class Op>
__device__ __forceinline__ V reduce_row(V value, Op op) {
    __shared__ V of_warps[32];
    const int lanes = blockDim.x;
    if (lanes <= 32) return reduce_lanes(value, lanes, op);
    value = reduce_lanes(value, 32, op);
    const int warps = lanes / 32;  // of a row
    const int first = threadIdx.y * warps;
    const int lane = threadIdx.x % 32;
    if (lane == 0) of_warps[first + threadIdx.x / 32] = value;
    __syncthreads();
    value = lane < warps ? of_warps[first + lane] : op.identity();
    __syncthreads();  // of_warps may be written to again
    return reduce_lanes(value, 32, op);
}
