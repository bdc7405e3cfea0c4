// What activations are made of, in W: a value and its slope of one exponential.

// The logistic function at x, and at -|x|, where it is small: of one exponential.
struct Logistic {
    W at, small, large;

    __device__ __forceinline__ explicit Logistic(W x) {
        const W e = exp(-fabs(x));
        large = W(1) / (W(1) + e);
        small = e * large;
        at = x > W(0) ? large : small;
    }
};

__device__ __forceinline__ W silu_slope(W x) {
    const Logistic s(x);
    return s.at * (W(1) + x * (x > W(0) ? s.small : s.large));
}

// Beyond, both cdfs are 0 or 1 to the last digit; x^3 may overflow. nan stays nan.
constexpr double FLAT = 40.0;

__device__ __forceinline__ W within_flat(W x) {
    return x > W(FLAT) ? W(FLAT) : x < W(-FLAT) ? W(-FLAT) : x;
}

constexpr double DENSITY = 0.3989422804014327;  // 1 / sqrt(2 pi)

// exp(-x^2 / 2). The digits that x * x loses would count as many times as x^2 is large.
template <class N>
__device__ __forceinline__ N bell(N x) {
    const N square = x * x, lost = fma(x, x, -square);
    const N e = exp(N(-0.5) * square);
    return fma(N(-0.5) * lost, e, e);
}

// The normal distribution function at x, and x times its density, which with it is the
// slope of gelu.
struct Normal {
    W cdf, lever;

    __device__ __forceinline__ explicit Normal(W x) {
        const W y = within_flat(x), e = bell(y);
        cdf = at(y, e);
        lever = y * (e * W(DENSITY));
    }

    static __device__ __forceinline__ double at(double y, double) { return normcdf(y); }

    // e M(|y|), with Mills' ratio M as in backends/numpy_gelu.py, is the function at -|y|.
    static __device__ __forceinline__ float at(float y, float e) {
        const float a = fabs(y);
        float p = 0.004122528203069215f;
        p = fma(p, a, 0.04070006147737858f);
        p = fma(p, a, 0.18347186143016864f);
        p = fma(p, a, 0.43867425738206206f);
        p = fma(p, a, 0.5000000021756479f);
        float q = 0.01033353410301861f;
        q = fma(q, a, 0.10202606508008999f);
        q = fma(q, a, 0.4700843052336978f);
        q = fma(q, a, 1.2035824337408796f);
        q = fma(q, a, 1.6752334168384364f);
        q = fma(q, a, 1.0f);
        const float tail = e * (p / q);
        return y > 0.0f ? 1.0f - tail : tail;
    }
};

constexpr double TANH_SCALE = 1.5957691216057308, TANH_CUBIC = 0.044715;

// The logistic function of z = 2 sqrt(2/pi) (x + 0.044715 x^3), and x times its slope.
struct Tanh {
    W cdf, lever;

    __device__ __forceinline__ explicit Tanh(W x) {
        const W y = within_flat(x), square = y * y;
        const Logistic s(W(TANH_SCALE) * (y + W(TANH_CUBIC) * square * y));
        const W dz = W(TANH_SCALE) * (W(1) + W(3 * TANH_CUBIC) * square);
        cdf = s.at;
        lever = y * (s.small * s.large) * dz;
    }
};

__device__ __forceinline__ W relu_of(W x) { return larger(x, W(0)); }
