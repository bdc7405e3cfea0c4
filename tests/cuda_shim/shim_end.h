// After a source: EXPORT(kernel, launch bounds) makes it callable from Python.

#pragma once

namespace shim {

template <class E>
struct Name;
#define SHIM_NAME(E, text)                     \
    template <>                                \
    struct Name<E> {                           \
        static constexpr const char* is = text; \
    };
SHIM_NAME(f16, "float16")
SHIM_NAME(bf16, "bfloat16")
SHIM_NAME(float, "float32")
SHIM_NAME(double, "float64")
SHIM_NAME(bool, "bool")
SHIM_NAME(signed char, "int8")
SHIM_NAME(short, "int16")
SHIM_NAME(int, "int32")
SHIM_NAME(long long, "int64")
SHIM_NAME(unsigned char, "uint8")
SHIM_NAME(unsigned short, "uint16")
SHIM_NAME(unsigned, "uint32")
SHIM_NAME(unsigned long long, "uint64")
SHIM_NAME(void, "void")
#undef SHIM_NAME

// "float64", or "*float32" for a pointer, and "const*float32" for one to constants.
template <class P>
struct Parameter {
    static void write(char*& to) { to += sprintf(to, "%s ", Name<P>::is); }
};
template <class E>
struct Parameter<E*> {
    static void write(char*& to) { to += sprintf(to, "*%s ", Name<E>::is); }
};
template <class E>
struct Parameter<const E*> {
    static void write(char*& to) { to += sprintf(to, "const*%s ", Name<E>::is); }
};

template <class P>
struct Plain {
    using type = P;
};
template <class E>
struct Plain<E* __restrict__> {
    using type = E*;
};

template <class... P>
void describe(void (*)(P...), char* to) {
    *to = 0;
    (Parameter<P>::write(to), ...);
}

template <class F, F f>
struct Caller;
template <class... P, void (*f)(P...)>
struct Caller<void (*)(P...), f> {
    template <size_t... i>
    static void call(void** args, std::index_sequence<i...>) {
        f(*static_cast<P*>(args[i])...);
    }
    static void all(void** args) { call(args, std::index_sequence_for<P...>()); }
};

}  // namespace shim

extern "C" __attribute__((visibility("default"))) int shim_static_shared() {
    return (int)shim::find_static_shared();
}

#define EXPORT(kernel, bounds)                                                            \
    extern "C" __attribute__((visibility("default"))) int shim_launch_##kernel(           \
        void** args, const shim::Config* config, char* error, int size) {                 \
        return shim::run(#kernel, shim::Caller<decltype(&kernel), &kernel>::all, args,    \
                         config, error, size);                                            \
    }                                                                                     \
    extern "C" __attribute__((visibility("default"))) void shim_describe_##kernel(        \
        char* to) {                                                                       \
        shim::describe(&kernel, to);                                                      \
    }                                                                                     \
    extern "C" __attribute__((visibility("default"))) int shim_bounds_##kernel() {        \
        return bounds;                                                                    \
    }
