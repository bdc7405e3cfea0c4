// One step of an optimizer for many parameters: backends/updates.py is the definition.
//
// Parameters and state are flat arrays of one layout, every gradient is an array of its own
// and no part of them. A chunk is a stretch of one gradient, and of the flat arrays where
// its parameter lies. Each number is read once, and written once: 28 bytes an element for
// Adam in float32. 16-bit floats are computed in float32 and rounded once.

constexpr int SINGLES = 4;  // elements of a thread on the way where none are packed
constexpr int MOST_NUMBERS = 12;

// What a launch is given by value.
struct Step {
    double numbers[MOST_NUMBERS];  // the rule, in the order of its fields
    Arrays gradients;
};

// The numbers of a rule: from the launch, or from memory, where they can be changed
// between the replays of a captured graph.
struct Numbers {
    const Step& step;
    const double* in_memory;

    __device__ __forceinline__ double operator[](int i) const {
        return in_memory ? in_memory[i] : step.numbers[i];
    }
};

// -- rules ----------------------------------------------------------------------------------

// What all rules do first: numbers 0 to 2.
struct Regularized {
    bool maximize;
    W weight_decay, shrink;

    __device__ __forceinline__ Regularized(const Numbers& n)
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

struct Sgd {
    static constexpr int STATES = 0;
    Regularized regularized;
    W lr;

    __device__ __forceinline__ Sgd(const Numbers& n) : regularized(n), lr((W)n[3]) {}

    __device__ __forceinline__ void operator()(W& p, W g, W*) const {
        g = regularized(p, g);
        p -= lr * g;
    }
};

struct SgdMomentum {
    static constexpr int STATES = 1;
    Regularized regularized;
    W lr, momentum, fresh;
    bool nesterov, is_first;

    __device__ __forceinline__ SgdMomentum(const Numbers& n)
        : regularized(n), lr((W)n[3]), momentum((W)n[4]), fresh((W)(1.0 - n[5])),
          nesterov(n[6] != 0), is_first(n[7] != 0) {}

    __device__ __forceinline__ void operator()(W& p, W g, W* s) const {
        g = regularized(p, g);
        s[0] = is_first ? g : momentum * s[0] + fresh * g;
        p -= lr * (nesterov ? g + momentum * s[0] : s[0]);
    }
};

template <bool AMSGRAD>
struct Adam {
    static constexpr int STATES = AMSGRAD ? 3 : 2;
    Regularized regularized;
    Average mean, mean_square;
    W eps, size;

    __device__ __forceinline__ Adam(const Numbers& n)
        : regularized(n), mean(n[3]), mean_square(n[4]), eps((W)n[5]), size((W)n[6]) {}

    __device__ __forceinline__ void operator()(W& p, W g, W* s) const {
        g = regularized(p, g);
        mean(s[0], g);
        mean_square(s[1], g * g);
        W v = s[1];
        if constexpr (AMSGRAD) v = s[2] = larger(s[2], v);
        p -= size * (s[0] / (sqrt(v) + eps));
    }
};

struct NAdam {
    static constexpr int STATES = 2;
    Regularized regularized;
    Average mean, mean_square;
    W eps, of_grad, of_mean, correction;

    __device__ __forceinline__ NAdam(const Numbers& n)
        : regularized(n), mean(n[3]), mean_square(n[4]), eps((W)n[5]), of_grad((W)n[6]),
          of_mean((W)n[7]), correction((W)n[8]) {}

    __device__ __forceinline__ void operator()(W& p, W g, W* s) const {
        g = regularized(p, g);
        mean(s[0], g);
        mean_square(s[1], g * g);
        p -= (of_grad * g + of_mean * s[0]) / (sqrt(s[1] / correction) + eps);
    }
};

struct RAdam {
    static constexpr int STATES = 2;
    Regularized regularized;
    Average mean, mean_square;
    W eps, size;
    bool rectified;

    __device__ __forceinline__ RAdam(const Numbers& n)
        : regularized(n), mean(n[3]), mean_square(n[4]), eps((W)n[5]), size((W)n[6]),
          rectified(n[7] != 0) {}

    __device__ __forceinline__ void operator()(W& p, W g, W* s) const {
        g = regularized(p, g);
        mean(s[0], g);
        mean_square(s[1], g * g);
        p -= size * (rectified ? s[0] / (sqrt(s[1]) + eps) : s[0]);
    }
};

template <bool CENTERED, bool MOMENTUM>
struct RMSprop {
    static constexpr int STATES = 1 + CENTERED + MOMENTUM;
    Regularized regularized;
    W lr;
    Average average;
    W eps, momentum;

    __device__ __forceinline__ RMSprop(const Numbers& n)
        : regularized(n), lr((W)n[3]), average(n[4]), eps((W)n[5]), momentum((W)n[6]) {}

    __device__ __forceinline__ void operator()(W& p, W g, W* s) const {
        g = regularized(p, g);
        average(s[0], g * g);
        W square = s[0];
        if constexpr (CENTERED) {
            average(s[1], g);
            square -= s[1] * s[1];
        }
        W change = g / (sqrt(square) + eps);
        if constexpr (MOMENTUM) {
            W& velocity = s[STATES - 1];
            change = velocity = momentum * velocity + change;
        }
        p -= lr * change;
    }
};

struct Adagrad {
    static constexpr int STATES = 1;
    Regularized regularized;
    W eps, size;

    __device__ __forceinline__ Adagrad(const Numbers& n)
        : regularized(n), eps((W)n[3]), size((W)n[4]) {}

    __device__ __forceinline__ void operator()(W& p, W g, W* s) const {
        g = regularized(p, g);
        s[0] += g * g;
        p -= size * (g / (sqrt(s[0]) + eps));
    }
};

struct Adadelta {
    static constexpr int STATES = 2;
    Regularized regularized;
    W lr;
    Average average;
    W eps;

    __device__ __forceinline__ Adadelta(const Numbers& n)
        : regularized(n), lr((W)n[3]), average(n[4]), eps((W)n[5]) {}

    __device__ __forceinline__ void operator()(W& p, W g, W* s) const {
        g = regularized(p, g);
        average(s[0], g * g);
        g = g * sqrt(s[1] + eps) / sqrt(s[0] + eps);
        average(s[1], g * g);
        p -= lr * g;
    }
};

// -- one stretch ----------------------------------------------------------------------------

// `count` elements by the threads of a block, N at once and BATCH times that on the way.
template <int N, int BATCH, int STATES, class Rule>
__device__ __forceinline__ void update_stretch(const T* gradient, T* values,
                                               T* const (&state)[STATES + 1], int count,
                                               const Rule& rule) {
    const int step = (int)blockDim.x * N;
    for (int first = (int)threadIdx.x * N; first < count; first += step * BATCH) {
        Pack<T, N> g[BATCH], p[BATCH], s[STATES + 1][BATCH];
#pragma unroll
        for (int b = 0; b < BATCH; b++) {
            const int at = first + b * step;
            if (at >= count) continue;
            g[b] = load<N>(gradient + at);
            p[b] = load<N>(values + at);
#pragma unroll
            for (int k = 0; k < STATES; k++) s[k][b] = load<N>(state[k] + at);
        }
#pragma unroll
        for (int b = 0; b < BATCH; b++) {
            const int at = first + b * step;
            if (at >= count) continue;
#pragma unroll
            for (int i = 0; i < N; i++) {
                W value = widen(p[b].at[i]), of_state[STATES + 1];
#pragma unroll
                for (int k = 0; k < STATES; k++) of_state[k] = widen(s[k][b].at[i]);
                rule(value, widen(g[b].at[i]), of_state);
                p[b].at[i] = narrow<T>(value);
#pragma unroll
                for (int k = 0; k < STATES; k++) s[k][b].at[i] = narrow<T>(of_state[k]);
            }
            store<N>(values + at, p[b]);
#pragma unroll
            for (int k = 0; k < STATES; k++) store<N>(state[k] + at, s[k][b]);
        }
    }
}

// The part of a chunk's elements that can be accessed 16 bytes at a time, then the rest.
template <class Rule>
__device__ __forceinline__ void update_chunks(const Step& step, const long long* chunks,
                                              long long count, T* values, T* state0,
                                              T* state1, T* state2,
                                              const double* in_memory) {
    constexpr int STATES = Rule::STATES;
    const Rule rule(Numbers{step, in_memory});
    T* const flat[] = {state0, state1, state2};
    for (long long c = blockIdx.x; c < count; c += gridDim.x) {
        const Chunk chunk = chunk_at(chunks, c);
        const T* gradient = step.gradients.at[chunk.array] + chunk.begin;
        T* const to = values + chunk.at;
        T* state[STATES + 1];
        unsigned long long addresses = address(gradient) | address(to);
#pragma unroll
        for (int k = 0; k < STATES; k++) {
            state[k] = flat[k] + chunk.at;
            addresses |= address(state[k]);
        }
        int packed = 0;
        if (addresses % 16 == 0) {
            packed = (int)chunk.count / VECTOR * VECTOR;
            update_stretch<VECTOR, 1, STATES>(gradient, to, state, packed, rule);
        }
        if (packed < chunk.count) {
#pragma unroll
            for (int k = 0; k < STATES; k++) state[k] += packed;
            update_stretch<1, SINGLES, STATES>(gradient + packed, to + packed, state,
                                               (int)chunk.count - packed, rule);
        }
    }
}

#define UPDATE_PARAMETERS                                                                \
    const Step step, const long long *__restrict__ chunks, long long count, T *values,   \
        T *state0, T *state1, T *state2, const double *in_memory
#define UPDATE(...)                                                                      \
    update_chunks<__VA_ARGS__>(step, chunks, count, values, state0, state1, state2, in_memory)

extern "C" __global__ void __launch_bounds__(CHUNK_THREADS)
    sgd(UPDATE_PARAMETERS) {
    UPDATE(Sgd);
}
extern "C" __global__ void __launch_bounds__(CHUNK_THREADS)
    sgd_momentum(UPDATE_PARAMETERS) {
    UPDATE(SgdMomentum);
}
extern "C" __global__ void __launch_bounds__(CHUNK_THREADS)
    adam(UPDATE_PARAMETERS) {
    UPDATE(Adam<false>);
}
extern "C" __global__ void __launch_bounds__(CHUNK_THREADS)
    adam_amsgrad(UPDATE_PARAMETERS) {
    UPDATE(Adam<true>);
}
extern "C" __global__ void __launch_bounds__(CHUNK_THREADS)
    nadam(UPDATE_PARAMETERS) {
    UPDATE(NAdam);
}
extern "C" __global__ void __launch_bounds__(CHUNK_THREADS)
    radam(UPDATE_PARAMETERS) {
    UPDATE(RAdam);
}
extern "C" __global__ void __launch_bounds__(CHUNK_THREADS)
    rmsprop(UPDATE_PARAMETERS) {
    UPDATE(RMSprop<false, false>);
}
extern "C" __global__ void __launch_bounds__(CHUNK_THREADS)
    rmsprop_centered(UPDATE_PARAMETERS) {
    UPDATE(RMSprop<true, false>);
}
extern "C" __global__ void __launch_bounds__(CHUNK_THREADS)
    rmsprop_momentum(UPDATE_PARAMETERS) {
    UPDATE(RMSprop<false, true>);
}
extern "C" __global__ void __launch_bounds__(CHUNK_THREADS)
    rmsprop_centered_momentum(UPDATE_PARAMETERS) {
    UPDATE(RMSprop<true, true>);
}
extern "C" __global__ void __launch_bounds__(CHUNK_THREADS)
    adagrad(UPDATE_PARAMETERS) {
    UPDATE(Adagrad);
}
extern "C" __global__ void __launch_bounds__(CHUNK_THREADS)
    adadelta(UPDATE_PARAMETERS) {
    UPDATE(Adadelta);
}
