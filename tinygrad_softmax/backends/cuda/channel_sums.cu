// Partial sums of channels (channels.cuh): by places, where a channel of a sample is long
// enough for the lanes of a row of a block, or by columns of the matrix (N, C L).

#include "norms.cuh"
#include "moments.cuh"
#include "channels.cuh"

// Parts of a channel: blockIdx.y says which samples, and which places of them.
struct Parts {
    long long samples, places;  // of one part
    long long cuts;             // how many parts the places have
};

template <class A>
__device__ __forceinline__ void by_places(const T* x, const T* g, const W* mean,
                                          W* partials, long long n, long long channels,
                                          long long places, Parts parts, int span) {
    const Lanes mine = my_lanes();
    const long long number = (long long)blockIdx.x * blockDim.y + threadIdx.y;
    const bool exists = number < channels;
    const long long channel = exists ? number : channels - 1;
    const long long start = blockIdx.y / parts.cuts * parts.samples;
    const long long end = min(start + parts.samples, n);
    const long long left = blockIdx.y % parts.cuts * parts.places;
    const long long right = min(left + parts.places, places);
    // `span` lanes stand beside each other, the others are at the next samples.
    const long long first = left + mine.lane % span * VECTOR;
    long long place = first, sample = first < right ? start + mine.lane / span : end;
    A so_far;
    if (mean) so_far.centre(mean[channel]);
    while (sample < end) {
        W of_x[BATCH * VECTOR], of_g[BATCH * VECTOR];
        int packs = 0;
#pragma unroll
        for (int b = 0; b < BATCH; b++) {
            if (sample >= end) continue;
            const long long at = (sample * channels + channel) * places + place;
            const Pack<T, VECTOR> pack_x = load<VECTOR>(x + at);
            Pack<T, VECTOR> pack_g = pack_x;
            if (A::TWO) pack_g = load<VECTOR>(g + at);
#pragma unroll
            for (int i = 0; i < VECTOR; i++) {
                of_x[b * VECTOR + i] = widen(pack_x.at[i]);
                of_g[b * VECTOR + i] = widen(pack_g.at[i]);
            }
            packs++;
            place += (long long)span * VECTOR;
            if (place >= right) {
                place = first;
                sample += mine.count / span;
            }
        }
        so_far.add(of_x, of_g, packs * VECTOR);
    }
    const auto found = A::together(so_far.found());
    if (!exists || mine.lane) return;
    A::store(found, partials, blockIdx.y * channels + channel, gridDim.y * channels);
}

// Threads side by side have columns side by side; each row of a block is a part.
template <class A>
__device__ __forceinline__ void by_columns(const T* x, const T* g, const W* mean,
                                           W* partials, long long n, long long channels,
                                           long long places, long long samples) {
    constexpr int ROWS = A::TWO ? 4 : 8;  // read together
    const long long width = channels * places;
    const long long column =
        ((long long)blockIdx.x * blockDim.x + threadIdx.x) * VECTOR;
    if (column >= width) return;
    const long long start = blockIdx.y * samples, end = min(start + samples, n);
    const long long part = (long long)blockIdx.y * blockDim.y + threadIdx.y;
    A so_far[VECTOR];
#pragma unroll
    for (int i = 0; i < VECTOR; i++) {
        if (mean) so_far[i].centre(mean[(column + i) / places]);
    }
    for (long long row = start + threadIdx.y; row < end; row += ROWS * blockDim.y) {
        Pack<T, VECTOR> pack_x[ROWS], pack_g[ROWS];
        int rows = 0;
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            const long long at = row + r * (long long)blockDim.y;
            if (at >= end) continue;
            pack_x[r] = load<VECTOR>(x + at * width + column);
            pack_g[r] = A::TWO ? load<VECTOR>(g + at * width + column) : pack_x[r];
            rows++;
        }
#pragma unroll
        for (int i = 0; i < VECTOR; i++) {
            W of_x[ROWS], of_g[ROWS];
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
                if (r >= rows) continue;
                of_x[r] = widen(pack_x[r].at[i]);
                of_g[r] = widen(pack_g[r].at[i]);
            }
            so_far[i].add(of_x, of_g, rows);
        }
    }
#pragma unroll
    for (int i = 0; i < VECTOR; i++) {
        A::store(so_far[i].found(), partials, part * width + column + i,
                 (long long)gridDim.y * blockDim.y * width);
    }
}

extern "C" __global__ void __launch_bounds__(256, 1)
    moments_by_places(const T* __restrict__ x, W* __restrict__ partials, long long n,
                      long long channels, long long places, long long samples_of_part,
                      long long places_of_part, long long cuts, long long span) {
    by_places<ChannelMoments>(x, nullptr, nullptr, partials, n, channels, places,
                              {samples_of_part, places_of_part, cuts}, (int)span);
}

extern "C" __global__ void __launch_bounds__(256, 1)
    sums_by_places(const T* __restrict__ x, const T* __restrict__ g,
                   const W* __restrict__ mean, W* __restrict__ partials, long long n,
                   long long channels, long long places, long long samples_of_part,
                   long long places_of_part, long long cuts, long long span) {
    by_places<Sums>(x, g, mean, partials, n, channels, places,
                    {samples_of_part, places_of_part, cuts}, (int)span);
}

extern "C" __global__ void __launch_bounds__(256, 1)
    moments_by_columns(const T* __restrict__ x, W* __restrict__ partials, long long n,
                       long long channels, long long places, long long samples_of_part) {
    by_columns<ChannelMoments>(x, nullptr, nullptr, partials, n, channels, places,
                               samples_of_part);
}

extern "C" __global__ void __launch_bounds__(256, 1)
    sums_by_columns(const T* __restrict__ x, const T* __restrict__ g,
                    const W* __restrict__ mean, W* __restrict__ partials, long long n,
                    long long channels, long long places, long long samples_of_part) {
    by_columns<Sums>(x, g, mean, partials, n, channels, places, samples_of_part);
}

// Calls f(index) for the partial sums of a channel, those of this lane.
template <class F>
__device__ __forceinline__ void each_part(long long parts, long long channels,
                                          long long channel, long long places, Lanes mine,
                                          F f) {
    for (long long i = mine.lane; i < parts * places; i += mine.count) {
        f((i / places * channels + channel) * places + i % places);
    }
}

extern "C" __global__ void __launch_bounds__(256, 1)
    moments_totals(const W* __restrict__ partials, W* __restrict__ mean,
                   W* __restrict__ var, long long parts, long long channels,
                   long long places) {
    const Lanes mine = my_lanes();
    const long long total = parts * channels * places;
    const Joined<true> join;
    each_row(channels, [&](long long channel, bool exists) {
        Moments so_far = join.identity();
        Compensated squares;
        each_part(parts, channels, channel, places, mine, [&](long long at) {
            so_far.squares = W(0);
            so_far = join(so_far, {partials[at], partials[total + at],
                                   partials[2 * total + at], partials[3 * total + at]});
            squares.add_any(so_far.squares);
        });
        so_far.squares = squares.value();
        so_far = reduce_row(so_far, join);
        if (!exists || mine.lane) return;
        mean[channel] = so_far.mean().high;
        var[channel] = so_far.squares / so_far.count;
    });
}

// Either result may be null.
extern "C" __global__ void __launch_bounds__(256, 1)
    sums_totals(const W* __restrict__ partials, W* __restrict__ plain,
                W* __restrict__ product, long long parts, long long channels,
                long long places) {
    const Lanes mine = my_lanes();
    const long long total = parts * channels * places;
    each_row(channels, [&](long long channel, bool exists) {
        Compensated a, b;
        each_part(parts, channels, channel, places, mine, [&](long long at) {
            a.add_any(partials[at]);
            b.add_any(partials[total + at]);
        });
        const Pair sums = reduce_row(Pair{a.value(), b.value()}, BothSums());
        if (!exists || mine.lane) return;
        if (plain) plain[channel] = sums.a;
        if (product) product[channel] = sums.b;
    });
}
