// out[o, index[j]] += values[o, j], for rows: out (outer, rows, inner), values (outer, n,
// inner). Each value is read once.
//
// scatter_atomic adds in no fixed order. scatter_chunks and scatter_borders add in the
// order of j, row by row of out: the indices have been sorted, `keys` are in order and
// order[s] is where keys[s] stood. They are cut into chunks. A run of equal keys that lies
// in one chunk is added to its row at once; of one that crosses into the next, each chunk
// leaves its sum in `borders`, and scatter_borders adds those up. Which sums are made
// depends on n and the keys alone, and each row is rounded once.
//
// Blocks are (lanes, items): a lane has a pack of columns, an item is a value's row, or a
// chunk. The grid's second axis is more columns.

constexpr int AHEAD = 4;  // loads that are on the way together

// Calls f(column) for every pack of columns of this thread.
template <class F>
__device__ __forceinline__ void each_column(long long inner, F f) {
    const long long step = (long long)gridDim.y * blockDim.x * VECTOR;
    const long long lane = (long long)blockIdx.y * blockDim.x + threadIdx.x;
    for (long long column = lane * VECTOR; column < inner; column += step) f(column);
}

// Calls f(o, i) for every item of this thread: i below `count`, o below `outer`.
template <class F>
__device__ __forceinline__ void each_item(long long outer, long long count, F f) {
    const long long step = (long long)gridDim.x * blockDim.y;
    for (long long item = (long long)blockIdx.x * blockDim.y + threadIdx.y;
         item < outer * count; item += step) {
        if (outer == 1) {
            f(0ll, item);
        } else {
            f(item / count, item % count);
        }
    }
}

// An index that is out of range comes back in, as in CuPy.
__device__ __forceinline__ long long wrapped(long long i, long long rows) {
    if ((unsigned long long)i >= (unsigned long long)rows) {
        i %= rows;
        if (i < 0) i += rows;
    }
    return i;
}

// Adds a pack atomically, each number by itself. Four floats are one instruction from
// sm_90 on: with one for each, a warp's addresses are 16 bytes apart, and the memory is
// asked four times as often.
template <int N>
__device__ __forceinline__ void add_atomically(W* to, const Pack<T, N>& values) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900 && \
    __CUDACC_VER_MAJOR__ * 100 + __CUDACC_VER_MINOR__ >= 1201
    if constexpr (N % 4 == 0 && sizeof(W) == 4) {
#pragma unroll
        for (int i = 0; i < N; i += 4) {
            asm volatile("red.global.add.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(
                             __cvta_generic_to_global(to + i)),
                         "f"(widen(values.at[i])), "f"(widen(values.at[i + 1])),
                         "f"(widen(values.at[i + 2])), "f"(widen(values.at[i + 3]))
                         : "memory");
        }
    } else
#endif
    {
#pragma unroll
        for (int i = 0; i < N; i++) atomicAdd(to + i, (W)widen(values.at[i]));
    }
}

extern "C" __global__ void __launch_bounds__(256)
    scatter_atomic(const T* __restrict__ values, const long long* __restrict__ index,
                   W* __restrict__ out, long long outer, long long n, long long rows,
                   long long inner) {
    each_item(outer, n, [&](long long o, long long j) {
        W* to = out + (o * rows + wrapped(index[j], rows)) * inner;
        const T* from = values + (o * n + j) * inner;
        each_column(inner, [&](long long column) {
            add_atomically(to + column, load<VECTOR>(from + column));
        });
    });
}

// The sums of a pack of columns.
struct Sums {
    W at[VECTOR];

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int i = 0; i < VECTOR; i++) at[i] = W(0);
    }
    __device__ __forceinline__ void save(W* to) const {
#pragma unroll
        for (int i = 0; i < VECTOR; i++) to[i] = at[i];
    }
    __device__ __forceinline__ void add_to(T* to) const {
        Pack<T, VECTOR> sum = load<VECTOR>(to);
#pragma unroll
        for (int i = 0; i < VECTOR; i++) {
            sum.at[i] = narrow<T>((W)widen(sum.at[i]) + at[i]);
        }
        store<VECTOR>(to, sum);
    }
};

// borders is (2, outer, chunks, inner): of a chunk, the sum of the run that came from the
// chunk before, and that of one that begins in it and goes on.
extern "C" __global__ void __launch_bounds__(256)
    scatter_chunks(const T* __restrict__ values, const long long* __restrict__ order,
                   const long long* __restrict__ keys, T* __restrict__ out,
                   W* __restrict__ borders, long long outer, long long n, long long rows,
                   long long inner, long long chunk) {
    const long long chunks = (n + chunk - 1) / chunk;
    each_item(outer, chunks, [&](long long o, long long c) {
        const long long begin = c * chunk, end = min(n, begin + chunk);
        W* came = borders + (o * chunks + c) * inner;
        W* leaves = came + outer * chunks * inner;
        each_column(inner, [&](long long column) {
            const T* from = values + o * n * inner + column;
            T* to = out + o * rows * inner + column;
            long long row = keys[begin];
            bool is_first = begin > 0 && keys[begin - 1] == row;
            Sums sums;
            sums.clear();
            for (long long s = begin; s < end; s += AHEAD) {
                long long key[AHEAD];
                Pack<T, VECTOR> in[AHEAD];
#pragma unroll
                for (int a = 0; a < AHEAD; a++) {
                    if (s + a < end) {
                        key[a] = keys[s + a];
                        in[a] = load<VECTOR>(from + order[s + a] * inner);
                    }
                }
#pragma unroll
                for (int a = 0; a < AHEAD; a++) {
                    if (s + a < end) {
                        if (key[a] != row) {
                            if (is_first) {
                                sums.save(came + column);
                            } else {
                                sums.add_to(to + row * inner);
                            }
                            row = key[a];
                            is_first = false;
                            sums.clear();
                        }
#pragma unroll
                        for (int i = 0; i < VECTOR; i++) sums.at[i] += widen(in[a].at[i]);
                    }
                }
            }
            if (is_first) {
                sums.save(came + column);
            } else if (end < n && keys[end] == row) {
                sums.save(leaves + column);
            } else {
                sums.add_to(to + row * inner);
            }
        });
    });
}

extern "C" __global__ void __launch_bounds__(256)
    scatter_borders(const long long* __restrict__ keys, T* __restrict__ out,
                    const W* __restrict__ borders, long long outer, long long n,
                    long long rows, long long inner, long long chunk) {
    const long long chunks = (n + chunk - 1) / chunk;
    each_item(outer, chunks, [&](long long o, long long c) {
        const long long begin = c * chunk, end = begin + chunk;
        if (end >= n) return;
        const long long row = keys[end - 1];
        if (keys[end] != row || (begin > 0 && keys[begin - 1] == row)) return;
        const W* came = borders + o * chunks * inner;
        const W* leaves = came + (outer * chunks + c) * inner;
        each_column(inner, [&](long long column) {
            Sums sums;
#pragma unroll
            for (int i = 0; i < VECTOR; i++) sums.at[i] = leaves[column + i];
            bool goes_on = true;
            for (long long d = c + 1; goes_on && d < chunks; d += AHEAD) {
                long long key[AHEAD];
                Sums more[AHEAD];
#pragma unroll
                for (int a = 0; a < AHEAD; a++) {
                    if (d + a < chunks) {
                        key[a] = keys[(d + a) * chunk];
#pragma unroll
                        for (int i = 0; i < VECTOR; i++) {
                            more[a].at[i] = came[(d + a) * inner + column + i];
                        }
                    }
                }
#pragma unroll
                for (int a = 0; a < AHEAD; a++) {
                    goes_on = goes_on && d + a < chunks && key[a] == row;
                    if (goes_on) {
#pragma unroll
                        for (int i = 0; i < VECTOR; i++) sums.at[i] += more[a].at[i];
                    }
                }
            }
            sums.add_to(out + (o * rows + row) * inner + column);
        });
    });
}
