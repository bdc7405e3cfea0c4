// What the kernels of normalisations share: sums of many numbers, and weights of columns.

// A sum that remembers what was rounded off (W. Kahan, "Further remarks on reducing
// truncation errors", 1965): its error does not grow with the number of terms. With
// infinite terms it is not finite either, but may be nan.
struct Compensated {
    W sum = W(0), lost = W(0);

    __device__ __forceinline__ void add(W value) {
        const W less = value - lost, more = sum + less;
        lost = (more - sum) - less;
        sum = more;
    }
    // The same for few additions: an infinite term leaves an infinite sum.
    __device__ __forceinline__ void add_any(W value) {
        add(value);
        if (!is_finite(sum)) lost = W(0);
    }
    __device__ __forceinline__ W value() const { return sum - lost; }
};

// Two numbers, or compensated sums, that are reduced together.
struct Pair {
    W a, b;

    __device__ __forceinline__ Pair shuffled(int distance) const {
        return {::shuffled(a, distance), ::shuffled(b, distance)};
    }
};
struct BothSums {
    __device__ __forceinline__ Pair operator()(Pair x, Pair y) const {
        return {x.a + y.a, x.b + y.b};
    }
    __device__ __forceinline__ Pair identity() const { return {W(0), W(0)}; }
};

constexpr int BATCH = VECTOR > 1 ? 4 : 8;  // packs of a long row that are read together

// A row of any length by batches: f(first column, columns from pack to pack).
template <class F>
__device__ __forceinline__ void each_batch(long long columns, Lanes mine, F f) {
    const long long step = (long long)mine.count * VECTOR;
    for (long long c = (long long)mine.lane * VECTOR; c < columns; c += BATCH * step) {
        f(c, step);
    }
}

// VECTOR numbers in W.
struct Values {
    W at[VECTOR];
};

template <class E>
__device__ __forceinline__ Values values(const E* from) {
    constexpr int N = VECTOR == 1 ? 1 : 16 / (int)sizeof(E);
    Values out;
#pragma unroll
    for (int j = 0; j < VECTOR; j += N) {
        const Pack<E, N> pack = load<N>(from + j);
#pragma unroll
        for (int i = 0; i < N; i++) out.at[j + i] = widen(pack.at[i]);
    }
    return out;
}

// Weights are T, or W where that is wider. Calls f with a null pointer of their type, so
// that the choice is made once.
template <class F>
__device__ __forceinline__ void with_weights(bool wide, F f) {
    if constexpr (sizeof(T) == sizeof(W)) {
        f((const W*)nullptr);
    } else if (wide) {
        f((const W*)nullptr);
    } else {
        f((const T*)nullptr);
    }
}

// The weights of a pack's columns; `absent` if there are none.
template <class E>
__device__ __forceinline__ Values weights(const E*, const void* from, long long column,
                                          W absent) {
    if (from) return values(static_cast<const E*>(from) + column);
    Values out;
#pragma unroll
    for (int i = 0; i < VECTOR; i++) out.at[i] = absent;
    return out;
}
