// Layer norm and RMS norm over rows (n, C): backends/norms.py is the definition.
//
// A row that the registers of a block hold is read once, and its variance is the mean of
// (x - mean)^2. A longer one is read in batches, whose moments are joined as Chan, Golub
// & LeVeque do ("Updating formulae and a pairwise algorithm for computing sample
// variances", 1979); it stays in shared memory where `staged` says so, or is read again.

#if !HELD
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
    return apart * apart * (count_a / (count_a + count_b) * count_b);
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

// The moments of a row, which is kept in `staged` if that is not null.
template <bool CENTRED>
__device__ __forceinline__ Moments moments(const T* row, T* staged, long long columns,
                                           Lanes mine) {
    Compensated sum, squares;
    W count = W(0);
    each_batch(columns, mine, [&](long long first, long long step) {
        W at[BATCH * VECTOR];
        int packs = 0;
#pragma unroll
        for (int b = 0; b < BATCH; b++) {
            const long long column = first + b * step;
            if (column >= columns) continue;
            const Pack<T, VECTOR> in = load<VECTOR>(row + column);
            if (staged) store<VECTOR>(staged + column, in);
#pragma unroll
            for (int i = 0; i < VECTOR; i++) at[b * VECTOR + i] = widen(in.at[i]);
            packs++;
        }
        const W more = (W)(packs * VECTOR);
        W part = W(0), rest = W(0), spread = W(0);
#pragma unroll
        for (int j = 0; j < BATCH * VECTOR; j++) {
            if (CENTRED && j < packs * VECTOR) part += at[j];
        }
        const W mean = part / more;
#pragma unroll
        for (int j = 0; j < BATCH * VECTOR; j++) {
            if (j >= packs * VECTOR) continue;
            const W apart = at[j] - mean;
            rest += apart;
            spread += apart * apart;
        }
        if (CENTRED) {
            const Moments before = {count, sum.sum, sum.lost, W(0)};
            const Mean of_batch = {mean, rest / more};
            if (count != W(0)) spread += between(count, before.mean(), more, of_batch);
            sum.add_any(mean * more);
            sum.add_any(rest);
        }
        squares.add_any(spread);
        count += more;
    });
    const Moments of_lane = {count, sum.sum, sum.lost, squares.value()};
    return reduce_row(of_lane, Joined<CENTRED>());
}
#endif

// out = (x - mean) * scale * weight + bias, with the mean and scale of each row.
template <bool CENTRED>
__device__ __forceinline__ void normalised(const T* x, const void* weight, const void* bias,
                                           bool wide_weight, T* out, W* means, W* scales,
                                           long long n, long long columns, W eps,
                                           bool is_staged) {
    const Lanes mine = my_lanes();
#if !HELD
    DYNAMIC_SHARED(T, shared_row);
    T* const staged = is_staged ? shared_row : nullptr;
#endif
    each_row(n, [&](long long number, bool exists) {
        const T* in = x + number * columns;
        T* to = out + number * columns;
#if HELD
        Row row;
        row.read(in, (int)columns, mine);
        W mean = W(0), squares = W(0);
        if (CENTRED) {
            each_kept((int)columns, mine, [&](int k, int) {
#pragma unroll
                for (int i = 0; i < VECTOR; i++) mean += row.at[k + i];
            });
            mean = reduce_row(mean, Sum<W>()) / (W)columns;
        }
        each_kept((int)columns, mine, [&](int k, int) {
#pragma unroll
            for (int i = 0; i < VECTOR; i++) {
                squares += (row.at[k + i] - mean) * (row.at[k + i] - mean);
            }
        });
        squares = reduce_row(squares, Sum<W>());
#else
        const Moments found = moments<CENTRED>(in, staged, columns, mine);
        const W mean = CENTRED ? found.mean().high : W(0), squares = found.squares;
#endif
        const W scale = W(1) / sqrt(squares / (W)columns + eps);
        if (!exists) return;
        if (mine.lane == 0) {
            if (CENTRED) means[number] = mean;
            scales[number] = scale;
        }
        with_weights(wide_weight, [&](const auto* type) {
            const auto result = [&](const W* at, long long column) {
                const auto times = weights(type, weight, column, W(1));
                const auto plus = weights(type, bias, column, W(0));
                Pack<T, VECTOR> pack;
#pragma unroll
                for (int i = 0; i < VECTOR; i++) {
                    pack.at[i] = narrow<T>((at[i] - mean) * scale * times.at[i] + plus.at[i]);
                }
                store<VECTOR>(to + column, pack);
            };
#if HELD
            each_kept((int)columns, mine,
                      [&](int k, int column) { result(row.at + k, column); });
#else
            each_pack(columns, mine, [&](long long column) {
                const T* from = staged ? staged : in;
                const Pack<T, VECTOR> pack = load<VECTOR>(from + column);
                W at[VECTOR];
#pragma unroll
                for (int i = 0; i < VECTOR; i++) at[i] = widen(pack.at[i]);
                result(at, column);
            });
#endif
        });
    });
}

extern "C" __global__ void __launch_bounds__(MOST_THREADS, 1)
    layer_norm(const T* __restrict__ x, const void* __restrict__ weight,
               const void* __restrict__ bias, long long wide_weight, T* __restrict__ out,
               W* __restrict__ mean, W* __restrict__ scale, long long n, long long columns,
               double eps, long long staged) {
    normalised<true>(x, weight, bias, wide_weight, out, mean, scale, n, columns, (W)eps,
                     staged);
}

extern "C" __global__ void __launch_bounds__(MOST_THREADS, 1)
    rms_norm(const T* __restrict__ x, const void* __restrict__ weight,
             const void* __restrict__ bias, long long wide_weight, T* __restrict__ out,
             W* __restrict__ mean, W* __restrict__ scale, long long n, long long columns,
             double eps, long long staged) {
    normalised<false>(x, weight, bias, wide_weight, out, mean, scale, n, columns, (W)eps,
                      staged);
}
