// Windows that slide over the last axes of an array: columns for convolution, and pooling.
//
// backends/windows.py says what a window is. Up to three axes, here always three: those
// that are missing have length 1. A plane is what one sample and channel has; its
// elements are counted in 32 bits.
//
// Blocks are (lanes, planes): a lane has a place in the plane, the grid's second axis is
// more of them. Sums go through the elements of a window in order: no atomic additions,
// the same bits on every run.

struct Axis {
    int length, positions, kernel, stride, padding, dilation;

    // Where the window at position p begins.
    __device__ __forceinline__ int start(int p) const { return p * stride - padding; }

    // The position of the window whose element k is at l, or -1.
    __device__ __forceinline__ int position(int l, int k) const {
        int p = l + padding - k * dilation;
        if (p < 0) return -1;
        if (stride > 1) {
            if (p % stride) return -1;
            p /= stride;
        }
        return p < positions ? p : -1;
    }

    // The elements of a window that may be at l, first to last: of those before the
    // first, and after the last, the window would be none of the positions.
    __device__ __forceinline__ int first(int l) const {
        const int over = l + padding - (positions - 1) * stride;
        return over > 0 ? up(over) : 0;
    }
    __device__ __forceinline__ int last(int l) const {
        const int before = l + padding;
        return min(kernel - 1, dilation > 1 ? before / dilation : before);
    }

    // The first element of the window at p that does not come before the array.
    __device__ __forceinline__ int first_inside(int p) const {
        const int before = -start(p);
        return before > 0 ? up(before) : 0;
    }

    // So many places in elements of the window, rounded up.
    __device__ __forceinline__ int up(int places) const {
        return dilation > 1 ? (places + dilation - 1) / dilation : places;
    }
};

struct Window {
    Axis a, b, c;

    __device__ __forceinline__ int size() const { return a.kernel * b.kernel * c.kernel; }
    __device__ __forceinline__ int positions() const {
        return a.positions * b.positions * c.positions;
    }
    __device__ __forceinline__ int length() const {
        return a.length * b.length * c.length;
    }

    // f(k, where element k of the window at `place` is, or -1), in order.
    template <class F>
    __device__ __forceinline__ void each_element(int place, F f) const {
        const int x = c.start(place % c.positions), rest = place / c.positions;
        const int y = b.start(rest % b.positions), z = a.start(rest / b.positions);
        int k = 0;
        for (int i = 0; i < a.kernel; i++) {
            const int at_z = z + i * a.dilation;
            const bool in_z = (unsigned)at_z < (unsigned)a.length;
            for (int j = 0; j < b.kernel; j++) {
                const int at_y = y + j * b.dilation;
                const bool in_y = in_z && (unsigned)at_y < (unsigned)b.length;
                const int row = (at_z * b.length + at_y) * c.length;
                for (int m = 0; m < c.kernel; m++, k++) {
                    const int at_x = x + m * c.dilation;
                    const bool in = in_y && (unsigned)at_x < (unsigned)c.length;
                    f(k, in ? row + at_x : -1);
                }
            }
        }
    }

    // f(k, the place of the window whose element k is at `l`), where there is one, in
    // order.
    template <class F>
    __device__ __forceinline__ void each_window(int l, F f) const {
        const int x = l % c.length, rest = l / c.length;
        const int y = rest % b.length, z = rest / b.length;
        const int last_i = a.last(z), last_j = b.last(y), last_m = c.last(x);
        for (int i = a.first(z); i <= last_i; i++) {
            const int p = a.position(z, i);
            if (p < 0) continue;
            for (int j = b.first(y); j <= last_j; j++) {
                const int q = b.position(y, j);
                if (q < 0) continue;
                for (int m = c.first(x); m <= last_m; m++) {
                    const int r = c.position(x, m);
                    if (r < 0) continue;
                    f((i * b.kernel + j) * c.kernel + m,
                      (p * b.positions + q) * c.positions + r);
                }
            }
        }
    }

    // Where element k of the window at `place` is; -1 if there is none or it is outside.
    __device__ __forceinline__ int element(int place, int k) const {
        if ((unsigned)k >= (unsigned)size()) return -1;
        const int m = k % c.kernel, i = k / c.kernel / b.kernel;
        const int j = k / c.kernel % b.kernel, rest = place / c.positions;
        const int x = c.start(place % c.positions) + m * c.dilation;
        const int y = b.start(rest % b.positions) + j * b.dilation;
        const int z = a.start(rest / b.positions) + i * a.dilation;
        const bool in = (unsigned)x < (unsigned)c.length &&
                        (unsigned)y < (unsigned)b.length &&
                        (unsigned)z < (unsigned)a.length;
        return in ? (z * b.length + y) * c.length + x : -1;
    }
};

#define AXIS(n)                                                                       \
    long long length##n, long long positions##n, long long kernel##n,                 \
        long long stride##n, long long padding##n, long long dilation##n
#define AXIS_HERE(n)                                                                  \
    {(int)length##n, (int)positions##n, (int)kernel##n,                               \
     (int)stride##n, (int)padding##n,   (int)dilation##n}
#define WINDOW AXIS(0), AXIS(1), AXIS(2)
#define WINDOW_HERE \
    const Window window = {AXIS_HERE(0), AXIS_HERE(1), AXIS_HERE(2)}

// f(plane, place) for all of this thread.
template <class F>
__device__ __forceinline__ void each_place(long long planes, int places, F f) {
    const long long step = (long long)gridDim.x * blockDim.y;
    const int across = gridDim.y * blockDim.x;
    for (long long plane = (long long)blockIdx.x * blockDim.y + threadIdx.y;
         plane < planes; plane += step) {
        for (int place = blockIdx.y * blockDim.x + threadIdx.x; place < places;
             place += across) {
            f(plane, place);
        }
    }
}

// The numbers of the elements that were chosen: of bytes, or of ints, or none.
struct Numbers {
    const unsigned char* bytes;
    const int* ints;

    __device__ __forceinline__ bool there() const { return bytes || ints; }
    __device__ __forceinline__ int at(long long i) const {
        return bytes ? (int)bytes[i] : ints[i];
    }
};

// Where the columns of a plane begin. im2col and col2im have fewer than 2^31 planes: a
// division of 64 bits is a call, which spills registers.
__device__ __forceinline__ long long columns_of(long long plane, long long channels,
                                                long long by_sample,
                                                long long by_channel) {
    const int sample = (int)plane / (int)channels;
    return sample * by_sample + ((int)plane - sample * (int)channels) * by_channel;
}

// columns[sample, channel, k, place], with those strides (the last is 1).
extern "C" __global__ void __launch_bounds__(256, 4)
    im2col(const T* __restrict__ x, T* __restrict__ columns, long long samples,
           long long channels, long long by_sample, long long by_channel,
           long long by_element, WINDOW) {
    WINDOW_HERE;
    each_place(samples * channels, window.positions(), [&](long long plane, int place) {
        const T* from = x + plane * window.length();
        T* to = columns + columns_of(plane, channels, by_sample, by_channel) + place;
        window.each_element(place, [&](int k, int at) {
            to[k * by_element] = at < 0 ? narrow<T>(W(0)) : from[at];
        });
    });
}

extern "C" __global__ void __launch_bounds__(256, 4)
    col2im(const W* __restrict__ columns, T* __restrict__ x, long long samples,
           long long channels, long long by_sample, long long by_channel,
           long long by_element, WINDOW) {
    WINDOW_HERE;
    each_place(samples * channels, window.length(), [&](long long plane, int l) {
        const W* from = columns + columns_of(plane, channels, by_sample, by_channel);
        W sum = W(0);
        window.each_window(l, [&](int k, int place) { sum += from[k * by_element + place]; });
        x[plane * window.length() + l] = narrow<T>(sum);
    });
}

// The largest under each window, and its number: of equals the first, of nans the last.
// A place outside counts as -inf.
extern "C" __global__ void __launch_bounds__(256, 4)
    window_max(const T* __restrict__ x, T* __restrict__ out,
               unsigned char* __restrict__ bytes, int* __restrict__ ints,
               long long planes, WINDOW) {
    WINDOW_HERE;
    each_place(planes, window.positions(), [&](long long plane, int place) {
        const T* from = x + plane * window.length();
        const int rest = place / window.c.positions;
        int number = window.a.first_inside(rest / window.b.positions);
        number = number * window.b.kernel +
                 window.b.first_inside(rest % window.b.positions);
        number = number * window.c.kernel +
                 window.c.first_inside(place % window.c.positions);
        W best = -infinity<W>();
        window.each_element(place, [&](int k, int at) {
            const W here = at < 0 ? -infinity<W>() : (W)widen(from[at]);
            if (k && (here > best || is_nan(here))) number = k;
            best = larger(best, here);
        });
        const long long to = plane * window.positions() + place;
        out[to] = narrow<T>(best);
        if (bytes) bytes[to] = (unsigned char)number;
        if (ints) ints[to] = number;
    });
}

// The sum under each window, or just the element of the given number.
extern "C" __global__ void __launch_bounds__(256, 4)
    window_sum(const T* __restrict__ x, const unsigned char* __restrict__ bytes,
               const int* __restrict__ ints, T* __restrict__ out, long long planes,
               WINDOW) {
    WINDOW_HERE;
    const Numbers numbers = {bytes, ints};
    each_place(planes, window.positions(), [&](long long plane, int place) {
        const T* from = x + plane * window.length();
        const long long to = plane * window.positions() + place;
        W sum = W(0);
        if (numbers.there()) {
            const int at = window.element(place, numbers.at(to));
            if (at >= 0) sum += widen(from[at]);
        } else {
            window.each_element(place, [&](int, int at) {
                if (at >= 0) sum += widen(from[at]);
            });
        }
        out[to] = narrow<T>(sum);
    });
}

// Its transpose: each element of y added to its window, or to the element of the number.
extern "C" __global__ void __launch_bounds__(256, 4)
    window_spread(const T* __restrict__ y, const unsigned char* __restrict__ bytes,
                  const int* __restrict__ ints, T* __restrict__ out, long long planes,
                  WINDOW) {
    WINDOW_HERE;
    const Numbers numbers = {bytes, ints};
    each_place(planes, window.length(), [&](long long plane, int l) {
        const long long first = plane * window.positions();
        W sum = W(0);
        window.each_window(l, [&](int k, int place) {
            if (!numbers.there() || numbers.at(first + place) == k) {
                sum += widen(y[first + place]);
            }
        });
        out[plane * window.length() + l] = narrow<T>(sum);
    });
}
