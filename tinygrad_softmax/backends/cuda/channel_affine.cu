// What is done to every element of an array (N, C, L) with some numbers of its channel:
// backends/norms.py, class ChannelKernels. Each input is read, and the result written, once.

constexpr int PACKS = 4;  // of a thread, read together

// Where an element stands.
struct Position {
    long long channel, place;

    __device__ __forceinline__ Position(long long element, long long size,
                                        long long channels, long long places) {
        if (size <= 0xffffffffll) {  // (64-bit divisions take long)
            const unsigned row = (unsigned)element / (unsigned)places;
            channel = row % (unsigned)channels;
            place = (unsigned)element - row * (unsigned)places;
        } else {
            const long long row = element / places;
            channel = row % channels;
            place = element - row * places;
        }
    }
    // On to the next element; whether that has another channel.
    __device__ __forceinline__ bool next(long long channels, long long places) {
        if (++place < places) return false;
        place = 0;
        if (++channel == channels) channel = 0;
        return true;
    }
};

// out = f(x, g) element by element, after f.go_to(the element's channel). g may be null.
template <bool TWO, class F>
__device__ __forceinline__ void map_channels(const T* x, const T* g, T* out,
                                             long long size, long long channels,
                                             long long places, F f) {
    const long long step = (long long)blockDim.x * VECTOR;
    const long long grid_step = step * PACKS * gridDim.x;
    long long first = ((long long)blockIdx.x * PACKS * blockDim.x + threadIdx.x) * VECTOR;
    for (; first < size; first += grid_step) {
        Pack<T, VECTOR> pack_x[PACKS], pack_g[PACKS];
#pragma unroll
        for (int p = 0; p < PACKS; p++) {
            const long long at = first + p * step;
            if (at + VECTOR > size) continue;
            pack_x[p] = load<VECTOR>(x + at);
            pack_g[p] = TWO ? load<VECTOR>(g + at) : pack_x[p];
        }
#pragma unroll
        for (int p = 0; p < PACKS; p++) {
            const long long at = first + p * step;
            if (at >= size) continue;
            Position position(at, size, channels, places);
            f.go_to(position.channel);
            if (at + VECTOR <= size) {
#pragma unroll
                for (int i = 0; i < VECTOR; i++) {
                    if (i && position.next(channels, places)) f.go_to(position.channel);
                    pack_x[p].at[i] = narrow<T>(
                        f((W)widen(pack_x[p].at[i]), (W)widen(pack_g[p].at[i])));
                }
                store<VECTOR>(out + at, pack_x[p]);
                continue;
            }
            for (long long i = at; i < size; i++) {  // the end of the array
                if (i > at && position.next(channels, places)) f.go_to(position.channel);
                out[i] = narrow<T>(f((W)widen(x[i]), TWO ? (W)widen(g[i]) : W(0)));
            }
        }
    }
}

struct Affine {
    const W *means, *scales, *shifts;
    W mean, scale, shift;

    __device__ __forceinline__ void go_to(long long channel) {
        mean = means ? means[channel] : W(0);
        scale = scales ? scales[channel] : W(1);
        shift = shifts ? shifts[channel] : W(0);
    }
    __device__ __forceinline__ W operator()(W x, W) const {
        return (x - mean) * scale + shift;
    }
};

// (x - mean) * scale + shift; any of the three may be null.
extern "C" __global__ void __launch_bounds__(256, 1)
    channel_affine(const T* __restrict__ x, const W* __restrict__ mean,
                   const W* __restrict__ scale, const W* __restrict__ shift,
                   T* __restrict__ out, long long size, long long channels,
                   long long places) {
    map_channels<false>(x, nullptr, out, size, channels, places,
                        Affine{mean, scale, shift, W(0), W(1), W(0)});
}

struct Blend {
    const W *means, *offsets, *slopes, *scales;
    W mean, offset, slope, scale;

    __device__ __forceinline__ void go_to(long long channel) {
        mean = means[channel];
        offset = offsets[channel];
        slope = slopes[channel];
        scale = scales[channel];
    }
    __device__ __forceinline__ W operator()(W x, W g) const {
        return g * scale - ((x - mean) * slope + offset);
    }
};

// g * scale - (x - mean) * slope - offset.
extern "C" __global__ void __launch_bounds__(256, 1)
    channel_blend(const T* __restrict__ g, const T* __restrict__ x,
                  const W* __restrict__ mean, const W* __restrict__ offset,
                  const W* __restrict__ slope, const W* __restrict__ scale,
                  T* __restrict__ out, long long size, long long channels,
                  long long places) {
    map_channels<true>(x, g, out, size, channels, places,
                       Blend{mean, offset, slope, scale, W(0), W(0), W(0), W(0)});
}
