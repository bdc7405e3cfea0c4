// Activations and their gradients over n elements, each of which is read once: out = f(x),
// and g f'(x) of the gradient g of the output. backends/activations.py and gelus.py are
// the definitions.

#include "activations.cuh"
#include "flat.cuh"

// out = f(x), for every element.
template <class F>
__device__ __forceinline__ void map_one(const T* x, T* out, long long n, F f) {
    const T* const in[1] = {x};
    map_flat(in, out, n, [&](auto& at, long long) {
        constexpr int COUNT = sizeof(at[0]) / sizeof(W);
#pragma unroll
        for (int i = 0; i < COUNT; i++) at[0][i] = f(at[0][i]);
    });
}

// out = f(g, x), for every element.
template <class F>
__device__ __forceinline__ void map_two(const T* g, const T* x, T* out, long long n, F f) {
    const T* const in[2] = {g, x};
    map_flat(in, out, n, [&](auto& at, long long) {
        constexpr int COUNT = sizeof(at[0]) / sizeof(W);
#pragma unroll
        for (int i = 0; i < COUNT; i++) at[0][i] = f(at[0][i], at[1][i]);
    });
}

extern "C" __global__ void __launch_bounds__(FLAT_THREADS)
    relu(const T* __restrict__ x, T* __restrict__ out, long long n) {
    map_one(x, out, n, [](W v) { return relu_of(v); });
}

extern "C" __global__ void __launch_bounds__(FLAT_THREADS)
    sigmoid(const T* __restrict__ x, T* __restrict__ out, long long n) {
    map_one(x, out, n, [](W v) { return Logistic(v).at; });
}

extern "C" __global__ void __launch_bounds__(FLAT_THREADS)
    softplus(const T* __restrict__ x, T* __restrict__ out, long long n) {
    map_one(x, out, n, [](W v) { return larger(v, W(0)) + log1p(exp(-fabs(v))); });
}

extern "C" __global__ void __launch_bounds__(FLAT_THREADS)
    silu(const T* __restrict__ x, T* __restrict__ out, long long n) {
    map_one(x, out, n, [](W v) { return v * Logistic(v).at; });
}

extern "C" __global__ void __launch_bounds__(FLAT_THREADS)
    gelu(const T* __restrict__ x, T* __restrict__ out, long long n) {
    map_one(x, out, n, [](W v) { return v * Normal(v).cdf; });
}

extern "C" __global__ void __launch_bounds__(FLAT_THREADS)
    gelu_tanh(const T* __restrict__ x, T* __restrict__ out, long long n) {
    map_one(x, out, n, [](W v) { return v * Tanh(v).cdf; });
}

extern "C" __global__ void __launch_bounds__(FLAT_THREADS)
    sigmoid_grad(const T* __restrict__ g, const T* __restrict__ x, T* __restrict__ out,
                 long long n) {
    map_two(g, x, out, n, [](W of_g, W v) {
        const Logistic s(v);
        return of_g * (s.small * s.large);
    });
}

extern "C" __global__ void __launch_bounds__(FLAT_THREADS)
    softplus_grad(const T* __restrict__ g, const T* __restrict__ x, T* __restrict__ out,
                  long long n) {
    map_two(g, x, out, n, [](W of_g, W v) { return of_g * Logistic(v).at; });
}

extern "C" __global__ void __launch_bounds__(FLAT_THREADS)
    silu_grad(const T* __restrict__ g, const T* __restrict__ x, T* __restrict__ out,
              long long n) {
    map_two(g, x, out, n, [](W of_g, W v) { return of_g * silu_slope(v); });
}

// Of tanh, from what it gave.
extern "C" __global__ void __launch_bounds__(FLAT_THREADS)
    tanh_grad(const T* __restrict__ g, const T* __restrict__ y, T* __restrict__ out,
              long long n) {
    map_two(g, y, out, n, [](W of_g, W v) { return of_g * (W(1) - v * v); });
}

// Of relu, from what it gave.
extern "C" __global__ void __launch_bounds__(FLAT_THREADS)
    relu_grad(const T* __restrict__ g, const T* __restrict__ y, T* __restrict__ out,
              long long n) {
    map_two(g, y, out, n, [](W of_g, W v) { return v > W(0) ? of_g : W(0); });
}

extern "C" __global__ void __launch_bounds__(FLAT_THREADS)
    gelu_grad(const T* __restrict__ g, const T* __restrict__ x, T* __restrict__ out,
              long long n) {
    map_two(g, x, out, n, [](W of_g, W v) {
        const Normal f(v);
        return of_g * (f.cdf + f.lever);
    });
}

extern "C" __global__ void __launch_bounds__(FLAT_THREADS)
    gelu_tanh_grad(const T* __restrict__ g, const T* __restrict__ x, T* __restrict__ out,
                   long long n) {
    map_two(g, x, out, n, [](W of_g, W v) {
        const Tanh f(v);
        return of_g * (f.cdf + f.lever);
    });
}
