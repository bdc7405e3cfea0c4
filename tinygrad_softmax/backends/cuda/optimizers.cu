// One step of an optimizer for many parameters: backends/updates.py is the definition.
//
// Parameters and state are flat arrays of one layout; every gradient is an array of its own
// and no part of them. Each number is read once, and written once: 28 bytes an element for
// Adam in float32. 16-bit floats are computed in float32 and rounded once.

#include "arrays.cuh"

constexpr int MOST_NUMBERS = 12;

// What a launch is given by value: a rule's numbers in the order of its fields, so that
// new ones need no other kernel, and the gradients.
struct Step {
    double numbers[MOST_NUMBERS];
    Arrays gradients;
};
static_assert(sizeof(Step) <= MOST_BYTES, "a launch takes 4 KB");

// -- rules ----------------------------------------------------------------------------------
//
// A rule takes a parameter, its gradient and its state, of which STATES arrays may be there.
// The macro RULE names the one that is compiled.

// What all rules do first: numbers 0 to 2.
struct Regularized {
    bool maximize;
    W weight_decay, shrink;

    __device__ __forceinline__ Regularized(const double* n)
        : maximize(n[0] != 0), weight_decay((W)n[1]), shrink((W)n[2]) {}

    __device__ __forceinline__ W operator()(W& p, W g) const {
        if (maximize) g = -g;
        p *= shrink;
        return weight_decay != W(0) ? g + p * weight_decay : g;
    }
};

// mean = decay * mean + (1 - decay) * value
struct Average {
    W decay, rest;

    __device__ __forceinline__ Average(double decay)
        : decay((W)decay), rest((W)(1.0 - decay)) {}

    __device__ __forceinline__ void operator()(W& mean, W value) const {
        mean = decay * mean + rest * value;
    }
};

struct SGDRule {
    static constexpr int STATES = 1;
    Regularized regularized;
    W lr, momentum, fresh;
    bool nesterov, is_first;

    __device__ __forceinline__ SGDRule(const double* n)
        : regularized(n), lr((W)n[3]), momentum((W)n[4]), fresh((W)(1.0 - n[5])),
          nesterov(n[6] != 0), is_first(n[7] != 0) {}

    __device__ __forceinline__ void operator()(W& p, W g, W* s) const {
        g = regularized(p, g);
        if (momentum != W(0)) {
            s[0] = is_first ? g : momentum * s[0] + fresh * g;
            g = nesterov ? g + momentum * s[0] : s[0];
        }
        p -= lr * g;
    }
};

struct AdamRule {
    static constexpr int STATES = 3;
    Regularized regularized;
    Average mean, mean_square;
    W eps, size;
    bool amsgrad;

    __device__ __forceinline__ AdamRule(const double* n)
        : regularized(n), mean(n[3]), mean_square(n[4]), eps((W)n[5]), size((W)n[6]),
          amsgrad(n[7] != 0) {}

    __device__ __forceinline__ void operator()(W& p, W g, W* s) const {
        g = regularized(p, g);
        mean(s[0], g);
        mean_square(s[1], g * g);
        W v = s[1];
        if (amsgrad) v = s[2] = larger(s[2], v);
        p -= size * (s[0] / (sqrt(v) + eps));
    }
};

struct NAdamRule {
    static constexpr int STATES = 2;
    Regularized regularized;
    Average mean, mean_square;
    W eps, of_grad, of_mean, correction;

    __device__ __forceinline__ NAdamRule(const double* n)
        : regularized(n), mean(n[3]), mean_square(n[4]), eps((W)n[5]), of_grad((W)n[6]),
          of_mean((W)n[7]), correction((W)n[8]) {}

    __device__ __forceinline__ void operator()(W& p, W g, W* s) const {
        g = regularized(p, g);
        mean(s[0], g);
        mean_square(s[1], g * g);
        p -= (of_grad * g + of_mean * s[0]) / (sqrt(s[1] / correction) + eps);
    }
};

struct RAdamRule {
    static constexpr int STATES = 2;
    Regularized regularized;
    Average mean, mean_square;
    W eps, size;
    bool rectified;

    __device__ __forceinline__ RAdamRule(const double* n)
        : regularized(n), mean(n[3]), mean_square(n[4]), eps((W)n[5]), size((W)n[6]),
          rectified(n[7] != 0) {}

    __device__ __forceinline__ void operator()(W& p, W g, W* s) const {
        g = regularized(p, g);
        mean(s[0], g);
        mean_square(s[1], g * g);
        p -= size * (rectified ? s[0] / (sqrt(s[1]) + eps) : s[0]);
    }
};

struct RMSpropRule {
    static constexpr int STATES = 3;
    Regularized regularized;
    W lr;
    Average average;
    W eps, momentum;
    bool centered;

    __device__ __forceinline__ RMSpropRule(const double* n)
        : regularized(n), lr((W)n[3]), average(n[4]), eps((W)n[5]), momentum((W)n[6]),
          centered(n[7] != 0) {}

    __device__ __forceinline__ void operator()(W& p, W g, W* s) const {
        g = regularized(p, g);
        average(s[0], g * g);
        W square = s[0];
        if (centered) {
            average(s[1], g);
            square -= s[1] * s[1];
        }
        W change = g / (sqrt(square) + eps);
        if (momentum != W(0)) change = s[2] = momentum * s[2] + change;
        p -= lr * change;
    }
};

struct AdagradRule {
    static constexpr int STATES = 1;
    Regularized regularized;
    W eps, size;

    __device__ __forceinline__ AdagradRule(const double* n)
        : regularized(n), eps((W)n[3]), size((W)n[4]) {}

    __device__ __forceinline__ void operator()(W& p, W g, W* s) const {
        g = regularized(p, g);
        s[0] += g * g;
        p -= size * (g / (sqrt(s[0]) + eps));
    }
};

struct AdadeltaRule {
    static constexpr int STATES = 2;
    Regularized regularized;
    W lr;
    Average average;
    W eps;

    __device__ __forceinline__ AdadeltaRule(const double* n)
        : regularized(n), lr((W)n[3]), average(n[4]), eps((W)n[5]) {}

    __device__ __forceinline__ void operator()(W& p, W g, W* s) const {
        g = regularized(p, g);
        average(s[0], g * g);
        g = g * sqrt(s[1] + eps) / sqrt(s[0] + eps);
        average(s[1], g * g);
        p -= lr * g;
    }
};

// -- a step ---------------------------------------------------------------------------------

// The elements from `begin` to `end` of a chunk, N at once, by the threads of a block.
template <int N, class Rule>
__device__ __forceinline__ void update_part(const T* gradient, T* values,
                                            T* const (&state)[Rule::STATES], int begin,
                                            int end, const Rule& rule) {
    constexpr int STATES = Rule::STATES;
#pragma unroll 1
    for (int at = begin + (int)threadIdx.x * N; at < end; at += CHUNK_THREADS * N) {
        const Pack<T, N> g = load<N>(gradient + at);
        Pack<T, N> p = load<N>(values + at), s[STATES] = {};
#pragma unroll
        for (int k = 0; k < STATES; k++) {
            if (state[k]) s[k] = load<N>(state[k] + at);
        }
#pragma unroll
        for (int i = 0; i < N; i++) {
            W value = widen(p.at[i]), of_state[STATES];
#pragma unroll
            for (int k = 0; k < STATES; k++) of_state[k] = widen(s[k].at[i]);
            rule(value, widen(g.at[i]), of_state);
            p.at[i] = narrow<T>(value);
#pragma unroll
            for (int k = 0; k < STATES; k++) s[k].at[i] = narrow<T>(of_state[k]);
        }
        store<N>(values + at, p);
#pragma unroll
        for (int k = 0; k < STATES; k++) {
            if (state[k]) store<N>(state[k] + at, s[k]);
        }
    }
}

// `flat`: the state's arrays, null where there is none.
template <class Rule>
__device__ __forceinline__ void update_chunks(const Step& step, long long count, T* values,
                                              T* const (&flat)[3]) {
    const Rule rule(step.numbers);
    for (long long c = blockIdx.x; c < count; c += gridDim.x) {
        const Chunk chunk = chunk_at(step.gradients, c);
        T* const to = values + chunk.place;
        T* state[Rule::STATES];
        unsigned long long addresses = address(chunk.at) | address(to);
#pragma unroll
        for (int k = 0; k < Rule::STATES; k++) {
            state[k] = flat[k] ? flat[k] + chunk.place : nullptr;
            addresses |= address(state[k]);
        }
        const int whole = packed(chunk.count, addresses);
        update_part<VECTOR>(chunk.at, to, state, 0, whole, rule);
        update_part<1>(chunk.at, to, state, whole, chunk.count, rule);
    }
}

extern "C" __global__ void __launch_bounds__(256)
    update(const Step step, long long count, T* values, T* state0, T* state1, T* state2) {
    update_chunks<RULE>(step, count, values, {state0, state1, state2});
}
