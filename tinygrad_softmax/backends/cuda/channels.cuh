// Sums for each channel of arrays (N, C, L), in two stages: backends/norms.py, class
// ChannelKernels, is the definition. The first stage writes partial sums of `parts` parts
// of N and L, in an order that depends on the shape alone; the second, moments_totals or
// sums_totals, adds them up.
//
// An accumulator has add(x, g, n) for the first n of some numbers (g says nothing unless
// it is of TWO arrays), and centre(mean) before them. What it found() is put `together`
// by a row's lanes, and stored, each of its fields in `total` numbers of `partials`.

struct Sums {
    static constexpr bool TWO = true;
    Compensated plain, product;
    W mean = W(0);

    __device__ __forceinline__ void centre(W at) { mean = at; }

    template <int N>
    __device__ __forceinline__ void add(const W (&x)[N], const W (&g)[N], int n) {
        Pair part = {W(0), W(0)};
#pragma unroll
        for (int j = 0; j < N; j++) {
            if (j >= n) continue;
            part.a += g[j];
            part.b += g[j] * (x[j] - mean);
        }
        plain.add_any(part.a);
        product.add_any(part.b);
    }
    __device__ __forceinline__ Pair found() const {
        return {plain.value(), product.value()};
    }
    static __device__ __forceinline__ Pair together(Pair mine) {
        return reduce_row(mine, BothSums());
    }
    static __device__ __forceinline__ void store(Pair sums, W* partials, long long index,
                                                 long long total) {
        partials[index] = sums.a;
        partials[total + index] = sums.b;
    }
};

struct ChannelMoments {
    static constexpr bool TWO = false;
    MomentsSoFar<true> so_far;

    __device__ __forceinline__ void centre(W) {}

    template <int N>
    __device__ __forceinline__ void add(const W (&x)[N], const W (&)[N], int n) {
        so_far.add(x, n);
    }
    __device__ __forceinline__ Moments found() const { return so_far.moments(); }
    static __device__ __forceinline__ Moments together(Moments mine) {
        return reduce_row(mine, Joined<true>());
    }
    static __device__ __forceinline__ void store(Moments m, W* partials, long long index,
                                                 long long total) {
        partials[index] = m.count;
        partials[total + index] = m.sum;
        partials[2 * total + index] = m.lost;
        partials[3 * total + index] = m.squares;
    }
};
