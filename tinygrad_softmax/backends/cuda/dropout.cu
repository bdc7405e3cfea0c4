// Dropout: out = x * scale where it is kept, and 0 * x where it is dropped.
//
// Whether number i is kept depends on i, the seed and the draw alone: it is dropped where
// word i of the draw is below a limit. The words are those of Philox4x32-10 (Salmon et al.,
// "Parallel random numbers: as easy as 1, 2, 3", SC 2011): block i / 4 of the counter
// (i / 4, draw) under the key seed has words i to i + 3. So no mask is kept: the gradient is
// the same kernel, of the gradient. The probability is exact to 2^-32.

#include "flat.cuh"

struct Words {
    unsigned at[4];
};

// Block number `block` of draw number `draw`.
__device__ __forceinline__ Words philox(unsigned long long block, unsigned long long draw,
                                        unsigned long long seed) {
    Words c = {(unsigned)block, (unsigned)(block >> 32), (unsigned)draw,
               (unsigned)(draw >> 32)};
    unsigned key0 = (unsigned)seed, key1 = (unsigned)(seed >> 32);
#pragma unroll
    for (int round = 0; round < 10; round++) {
        const unsigned high0 = __umulhi(0xd2511f53u, c.at[0]), low0 = 0xd2511f53u * c.at[0];
        const unsigned high1 = __umulhi(0xcd9e8d57u, c.at[2]), low1 = 0xcd9e8d57u * c.at[2];
        c = {high1 ^ c.at[1] ^ key0, low1, high0 ^ c.at[3] ^ key1, low0};
        key0 += 0x9e3779b9u;
        key1 += 0xbb67ae85u;
    }
    return c;
}

// Which draw: `seed` and `draw`, or what `state` says where a graph of launches is
// repeated: (seed, number of draws before the graph), `draw` more of which came in it.
struct Draw {
    unsigned long long seed, number;

    __device__ __forceinline__ Draw(long long of_seed, long long of_draw,
                                    const long long* state) {
        seed = (unsigned long long)(state ? state[0] : of_seed);
        number = (unsigned long long)(state ? state[1] + of_draw : of_draw);
    }

    __device__ __forceinline__ unsigned word(long long i) const {
        const Words words = philox((unsigned long long)i >> 2, number, seed);
        const unsigned low = i & 1 ? words.at[1] : words.at[0];
        const unsigned high = i & 1 ? words.at[3] : words.at[2];
        return i & 2 ? high : low;
    }

    // Those of COUNT numbers, the first of which is a multiple of COUNT.
    template <int COUNT>
    __device__ __forceinline__ void words_from(long long first,
                                               unsigned (&to)[COUNT]) const {
        if constexpr (COUNT % 4 == 0) {
#pragma unroll
            for (int i = 0; i < COUNT; i += 4) {
                const Words words = philox((unsigned long long)(first + i) >> 2, number, seed);
#pragma unroll
                for (int j = 0; j < 4; j++) to[i + j] = words.at[j];
            }
        } else if constexpr (COUNT == 2) {
            const Words words = philox((unsigned long long)first >> 2, number, seed);
            to[0] = first & 2 ? words.at[2] : words.at[0];
            to[1] = first & 2 ? words.at[3] : words.at[1];
        } else {
            to[0] = word(first);
        }
    }
};

extern "C" __global__ void __launch_bounds__(FLAT_THREADS)
    dropout(const T* __restrict__ x, T* __restrict__ out, long long n, long long limit,
            double scale, long long seed, long long draw,
            const long long* __restrict__ state) {
    const Draw of(seed, draw, state);
    const T* const in[1] = {x};
    map_flat(in, out, n, [&](auto& at, long long first) {
        constexpr int COUNT = sizeof(at[0]) / sizeof(W);
        unsigned words[COUNT];
        of.words_from(first, words);
#pragma unroll
        for (int i = 0; i < COUNT; i++) {
            at[0][i] *= (long long)words[i] < limit ? W(0) : (W)scale;
        }
    });
}

// The same where `each` neighbours, a channel, are kept or dropped together.
extern "C" __global__ void __launch_bounds__(FLAT_THREADS)
    dropout_channels(const T* __restrict__ x, T* __restrict__ out, long long n,
                     long long limit, double scale, long long seed, long long draw,
                     const long long* __restrict__ state, long long each) {
    const Draw of(seed, draw, state);
    const T* const in[1] = {x};
    map_flat(in, out, n, [&](auto& at, long long first) {
        constexpr int COUNT = sizeof(at[0]) / sizeof(W);
        long long channel = first / each, next = (channel + 1) * each;
        W factor = (long long)of.word(channel) < limit ? W(0) : (W)scale;
#pragma unroll
        for (int i = 0; i < COUNT; i++) {
            if (first + i == next) {
                channel++;
                next += each;
                factor = (long long)of.word(channel) < limit ? W(0) : (W)scale;
            }
            at[0][i] *= factor;
        }
    });
}

// Which of n numbers are kept.
extern "C" __global__ void __launch_bounds__(FLAT_THREADS)
    kept(bool* __restrict__ out, long long n, long long limit, long long seed,
         long long draw, const long long* __restrict__ state) {
    const Draw of(seed, draw, state);
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long block = (long long)blockIdx.x * blockDim.x + threadIdx.x; 4 * block < n;
         block += step) {
        const Words words = philox((unsigned long long)block, of.number, of.seed);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            if (4 * block + i < n) out[4 * block + i] = (long long)words.at[i] >= limit;
        }
    }
}
