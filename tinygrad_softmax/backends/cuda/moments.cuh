// Means and variances of many numbers in one reading: the moments of batches, joined as
// Chan, Golub & LeVeque do ("Updating formulae and a pairwise algorithm for computing
// sample variances", 1979).

// A mean with the digits that W has no place for: squared distances of means need them
// where the means are far from 0.
struct Mean {
    W high, low;
};

// count numbers: their sum, which is sum - lost, and the sum of their squared distances
// from their mean. Where they are not CENTRED it is that from 0, and there is no sum.
struct Moments {
    W count, sum, lost, squares;

    __device__ __forceinline__ Moments shuffled(int distance) const {
        return {::shuffled(count, distance), ::shuffled(sum, distance),
                ::shuffled(lost, distance), ::shuffled(squares, distance)};
    }
    __device__ __forceinline__ Mean mean() const {
        const W high = sum / count;
        return {high, (fma(-high, count, sum) - lost) / count};
    }
};

// What the distance of two means adds to the squares.
__device__ __forceinline__ W between(W count_a, Mean a, W count_b, Mean b) {
    const W apart = (a.high - b.high) + (a.low - b.low);
    return apart * apart * (count_a * count_b / (count_a + count_b));
}

template <bool CENTRED>
struct Joined {
    __device__ __forceinline__ Moments operator()(Moments a, Moments b) const {
        if (a.count == W(0)) return b;
        if (b.count == W(0)) return a;
        W squares = a.squares + b.squares;
        if (CENTRED) squares += between(a.count, a.mean(), b.count, b.mean());
        const W sum = a.sum + b.sum, of_b = sum - a.sum;  // and what is rounded off
        const W off = (a.sum - (sum - of_b)) + (b.sum - of_b);
        return {a.count + b.count, sum, a.lost + b.lost - off, squares};
    }
    __device__ __forceinline__ Moments identity() const {
        return {W(0), W(0), W(0), W(0)};
    }
};

// The moments of what a thread has met so far.
template <bool CENTRED>
struct MomentsSoFar {
    Compensated sum, squares;
    W count = W(0);

    // The first n of these numbers; n is not 0.
    template <int N>
    __device__ __forceinline__ void add(const W (&at)[N], int n) {
        W part = W(0), rest = W(0), spread = W(0);
#pragma unroll
        for (int j = 0; j < N; j++) {
            if (CENTRED && j < n) part += at[j];
        }
        const W more = (W)n, mean = part / more;
#pragma unroll
        for (int j = 0; j < N; j++) {
            if (j >= n) continue;
            const W apart = at[j] - mean;
            rest += apart;
            spread += apart * apart;
        }
        if (CENTRED) {
            const Mean before = moments().mean(), of_batch = {mean, rest / more};
            spread = larger(spread - rest * of_batch.low, W(0));  // from the true mean
            if (count != W(0)) spread += between(count, before, more, of_batch);
            const W product = mean * more;
            sum.add_any(product);
            if (is_finite(mean)) sum.add_any(rest + fma(mean, more, -product));
        }
        squares.add_any(spread);
        count += more;
    }
    __device__ __forceinline__ Moments moments() const {
        return {count, sum.sum, sum.lost, squares.value()};
    }
};
