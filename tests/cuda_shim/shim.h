// Runs CUDA kernels on the CPU, one block after another: g++ includes this before a
// source of tinygrad_softmax/backends/cuda and shim_end.h after it.
//
// Every thread of a block is a fiber with its own stack. It runs until it meets others,
// at __syncthreads or at a warp's function, and then somebody else runs: who, and which
// block comes first, is the schedule's choice. A meeting that can't come about is an error
// that names the kernel and the line. Shared memory is full of nan before each block.
//
// It knows nothing of fast arithmetic, memory ordering, several blocks at a time, or time.

#pragma once

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <link.h>
#include <sys/mman.h>

#include <utility>

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
#define SANITIZED 0
#endif

#if defined(__x86_64__)
#include <xmmintrin.h>
#else
#include <ucontext.h>
#endif

// -- the words of CUDA ------------------------------------------------------------------

#define ON_THE_HOST 1
#define __device__
#define __global__
#define __host__
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#define __constant__ static const
#if SANITIZED
#define __shared__ static  // with AddressSanitizer's red zones around it
#else
#define __shared__ static thread_local  // a segment of its own, which can be filled
#endif
#define CHECK_ALIGNED(pointer, bytes) shim::check_aligned(pointer, bytes, __FILE__, __LINE__)
#define CHECK_GLOBAL(pointer) shim::check_global(pointer, __FILE__, __LINE__)
#define DYNAMIC_SHARED(TYPE, name) TYPE* name = reinterpret_cast<TYPE*>(shim::dynamic)

struct dim3 {
    unsigned x, y, z;
};
typedef dim3 uint3;
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};

dim3 gridDim, blockDim;
uint3 blockIdx, threadIdx;
constexpr int warpSize = 32;

// -- fibers -------------------------------------------------------------------------------

namespace shim {

constexpr int MOST_THREADS = 1024;
constexpr size_t STACK = SANITIZED ? 256 << 10 : 64 << 10;

enum Schedule { ROUND_ROBIN, REVERSED, HASHED, WARPS_UP, WARPS_DOWN };
enum State { RUNNABLE, AT_BARRIER, IN_WARP, RETURNED };
enum Meeting { XOR, DOWN, UP, INDEX, BALLOT, SYNC, MATCH };

const char* const MEETINGS[] = {"__shfl_xor_sync", "__shfl_down_sync", "__shfl_up_sync",
                                "__shfl_sync",     "a vote",           "__syncwarp",
                                "__match_any_sync"};

struct Config {
    unsigned grid[3], block[3];
    unsigned long long dynamic_bytes;
    int schedule;
    unsigned seed;
};

struct Fiber {
    void* sp;
    State state;
    const char* file;
    int line;
    Meeting meeting;
    unsigned mask;
    int argument, width;
    uint64_t value, result;
    uint3 index;
#if !defined(__x86_64__)
    ucontext_t context;
#endif
};

Fiber fibers[MOST_THREADS];
char* stacks;
Fiber main_fiber;
const void* main_stack;
size_t main_stack_size;
int current, threads, alive, at_barrier;
uint32_t runnable[MOST_THREADS / 32];
bool failed;
char* error;
int error_size;
const char* kernel_name;
// Bytes from begin: of shared memory whose size the launch says, and of the other.
struct Range {
    unsigned char* begin;
    size_t size;

    bool has(const void* pointer) const {
        return pointer >= begin && pointer < begin + size;
    }
} dynamic_shared, static_shared;
unsigned char* dynamic;
uint64_t random_state;
int schedule;
void (*body)(void**);
void** body_args;

uint64_t random() {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

#if defined(__x86_64__)
extern "C" void shim_switch(void** from, void* to);
asm(R"(
    .text
    .hidden shim_switch
    .globl shim_switch
    .type shim_switch, @function
shim_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size shim_switch, .-shim_switch
)");
#endif

void change(Fiber& from, Fiber& to, bool for_good = false) {
#if SANITIZED
    void* fake = nullptr;
    const bool home = &to == &main_fiber;
    __sanitizer_start_switch_fiber(
        for_good ? nullptr : &fake,
        home ? main_stack : stacks + (&to - fibers) * STACK,
        home ? main_stack_size : STACK);
#else
    (void)for_good;
#endif
#if defined(__x86_64__)
    shim_switch(&from.sp, to.sp);
#else
    swapcontext(&from.context, &to.context);
#endif
#if SANITIZED
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

// Let somebody else run, until this fiber is chosen again.
__attribute__((noinline)) void wait() {
    Fiber& me = fibers[current];
    change(me, main_fiber);
}

template <class... Args>
__attribute__((noinline)) void fail(const char* format, Args... args) {
    if (!failed) {
        const int n = snprintf(error, error_size, "%s, block (%u, %u, %u), thread %d: ",
                               kernel_name, blockIdx.x, blockIdx.y, blockIdx.z, current);
        snprintf(error + n, error_size - n, format, args...);
    }
    failed = true;
    wait();  // for good
    abort();
}

void set_runnable(int i) {
    fibers[i].state = RUNNABLE;
    runnable[i / 32] |= 1u << i % 32;
}

void set_waiting(State state, const char* file, int line) {
    Fiber& me = fibers[current];
    me.state = state;
    me.file = file;
    me.line = line;
    runnable[current / 32] &= ~(1u << current % 32);
}

inline void check_aligned(const void* pointer, size_t bytes, const char* file, int line) {
    if ((uintptr_t)pointer % bytes) {
        fail("%s:%d: an access of %zu bytes at an address that is no multiple of it", file,
             line, bytes);
    }
}

// The instruction for the device's memory, given an address in shared memory.
inline void check_global(const void* pointer, const char* file, int line) {
    if (dynamic_shared.has(pointer) || static_shared.has(pointer)) {
        fail("%s:%d: shared memory is accessed as the device's memory", file, line);
    }
}

// -- meetings -----------------------------------------------------------------------------

// All threads of the block; value: how many of their predicates hold.
__attribute__((noinline)) int barrier(bool predicate, const char* file, int line) {
    Fiber& me = fibers[current];
    me.value = predicate;
    set_waiting(AT_BARRIER, file, line);
    at_barrier++;
    if (at_barrier < threads) {
        wait();
        return (int)me.result;
    }
    int sum = 0;
    for (int i = 0; i < threads; i++) {
        const Fiber& other = fibers[i];
        if (other.line != line || strcmp(other.file, file)) {
            fail("%s:%d: this barrier was met while thread %d waits at another, %s:%d", file,
                 line, i, other.file, other.line);
        }
        sum += (int)other.value;
    }
    at_barrier = 0;
    for (int i = 0; i < threads; i++) {
        fibers[i].result = sum;
        set_runnable(i);
    }
    wait();
    return (int)me.result;
}

// The lane that a shuffle reads from, as PTX's shfl.sync says.
inline int source_lane(const Fiber& fiber, int lane) {
    const int width = fiber.width, first = lane & ~(width - 1), last = first + width - 1;
    int from = lane;
    switch (fiber.meeting) {
        case XOR:
            from = lane ^ fiber.argument;
            return from <= last ? from : lane;
        case DOWN:
            from = lane + fiber.argument;
            return from <= last ? from : lane;
        case UP:
            from = lane - fiber.argument;
            return from >= first ? from : lane;
        default:
            return first + (fiber.argument & (width - 1));
    }
}

inline void complete(int warp, unsigned mask) {
    Fiber* lanes = fibers + 32 * warp;
    unsigned votes = 0;
    for (int i = 0; i < 32; i++) {
        if (mask >> i & 1 && lanes[i].value) votes |= 1u << i;
    }
    for (int i = 0; i < 32; i++) {
        if (!(mask >> i & 1)) continue;
        Fiber& lane = lanes[i];
        if (lane.meeting == BALLOT) {
            lane.result = votes;
        } else if (lane.meeting == MATCH) {
            lane.result = 0;
            for (int j = 0; j < 32; j++) {
                if (mask >> j & 1 && lanes[j].value == lane.value) lane.result |= 1u << j;
            }
        } else if (lane.meeting != SYNC) {
            const int from = source_lane(lane, i);
            if (!(mask >> from & 1)) {
                fail("%s:%d: %s of lane %d reads lane %d, which the mask %08x does not name",
                     lane.file, lane.line, MEETINGS[lane.meeting], i, from, mask);
            }
            lane.result = lanes[from].value;
        }
        set_runnable(32 * warp + i);
    }
}

// The lanes that `mask` names. Every one of them must come, with the same mask, to the
// same line.
__attribute__((noinline)) uint64_t meet(Meeting meeting, unsigned mask, uint64_t value,
                                        int argument, int width, const char* file,
                                        int line) {
    const int warp = current / 32, lane = current % 32;
    Fiber &me = fibers[current], *lanes = fibers + 32 * warp;
    const char* name = MEETINGS[meeting];
    if (!(mask >> lane & 1)) {
        fail("%s:%d: lane %d calls %s with the mask %08x, which does not name it", file, line,
             lane, name, mask);
    }
    if (width < 1 || width > 32 || (width & (width - 1))) {
        fail("%s:%d: %s with a width of %d", file, line, name, width);
    }
    me.meeting = meeting;
    me.mask = mask;
    me.value = value;
    me.argument = argument;
    me.width = width;
    set_waiting(IN_WARP, file, line);
    bool all = true;
    for (int i = 0; i < 32; i++) {
        if (!(mask >> i & 1)) continue;
        const Fiber& other = lanes[i];
        if (32 * warp + i >= threads || other.state == RETURNED) {
            fail("%s:%d: the mask %08x of %s names lane %d, which %s", file, line, mask, name,
                 i, 32 * warp + i >= threads ? "the block does not have" : "has returned");
        }
        all = all && other.state == IN_WARP && other.meeting == meeting &&
              other.mask == mask && other.line == line && !strcmp(other.file, file);
    }
    if (all) complete(warp, mask);
    wait();
    return me.result;
}

template <class V>
V shuffle(Meeting meeting, unsigned mask, V v, int argument, int width, const char* file,
          int line) {
    static_assert(sizeof(V) <= 8, "a shuffle moves at most 8 bytes");
    uint64_t bits = 0;
    memcpy(&bits, &v, sizeof(V));
    bits = meet(meeting, mask, bits, argument, width, file, line);
    memcpy(&v, &bits, sizeof(V));
    return v;
}

// -- one block ----------------------------------------------------------------------------

void fiber_main() {
#if SANITIZED
    __sanitizer_finish_switch_fiber(nullptr, &main_stack, &main_stack_size);
#endif
    body(body_args);
    Fiber& me = fibers[current];
    set_waiting(RETURNED, "", 0);
    alive--;
    change(me, main_fiber, true);
    abort();
}

void prepare(int i) {
    Fiber& fiber = fibers[i];
    char* stack = stacks + i * STACK;
#if SANITIZED
    __asan_unpoison_memory_region(stack, STACK);
#endif
#if defined(__x86_64__)
    void** top = reinterpret_cast<void**>(stack + STACK) - 2;
    *top = reinterpret_cast<void*>(&fiber_main);
    memset(top - 6, 0, 6 * sizeof(void*));
    fiber.sp = top - 6;
#else
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = stack;
    fiber.context.uc_stack.ss_size = STACK;
    makecontext(&fiber.context, fiber_main, 0);
#endif
    const unsigned x = blockDim.x, y = blockDim.y;
    fiber.index = {i % x, i / x % y, i / (x * y)};
    set_runnable(i);
}

// A runnable thread of a warp after (before) `lane`, going round; -1 if there is none.
inline int next_of(int warp, int lane) {
    const uint32_t all = runnable[warp], after = lane >= 31 ? 0 : all & ~0u << (lane + 1);
    return all ? 32 * warp + __builtin_ctz(after ? after : all) : -1;
}
inline int previous_of(int warp, int lane) {
    const uint32_t all = runnable[warp], before = all & ((1u << lane) - 1);
    return all ? 32 * warp + 31 - __builtin_clz(before ? before : all) : -1;
}

// The next thread to run after `last`; -1 if none can.
int choose(int last) {
    const int warps = (threads + 31) / 32, warp = last / 32;
    if (schedule == ROUND_ROBIN || schedule == HASHED) {
        if (schedule == HASHED) last = (int)(random() % threads);
        const int first = last / 32, lane = last % 32;
        const uint32_t after = lane == 31 ? 0 : runnable[first] & ~0u << (lane + 1);
        if (after) return 32 * first + __builtin_ctz(after);
        for (int i = 1; i <= warps; i++) {
            const int found = next_of((first + i) % warps, 31);
            if (found >= 0) return found;
        }
        return -1;
    }
    if (schedule == REVERSED) {
        const uint32_t before = runnable[warp] & ((1u << last % 32) - 1);
        if (before) return 32 * warp + 31 - __builtin_clz(before);
        for (int i = 1; i <= warps; i++) {
            const int found = previous_of((warp + warps - i) % warps, 0);
            if (found >= 0) return found;
        }
        return -1;
    }
    // One warp as far as it can go.
    const bool up = schedule == WARPS_UP;
    int found = up ? next_of(warp, last % 32) : previous_of(warp, last % 32);
    for (int i = 0; found < 0 && i < warps; i++) {
        found = up ? next_of(i, 31) : previous_of(warps - 1 - i, 0);
    }
    return found;
}

const char* place_of(const Fiber& fiber) {
    return fiber.state == AT_BARRIER ? "__syncthreads" : MEETINGS[fiber.meeting];
}

void explain_deadlock() {
    int returned = 0, waiting = 0, first = -1;
    for (int i = 0; i < threads; i++) {
        returned += fibers[i].state == RETURNED;
        waiting += fibers[i].state == AT_BARRIER;
        if (first < 0 && fibers[i].state != RETURNED) first = i;
    }
    const Fiber& one = fibers[first];
    int n = snprintf(error, error_size,
                     "%s, block (%u, %u, %u): deadlock: thread %d waits at %s (%s:%d), and of "
                     "%d threads %d have returned, %d wait at a barrier and %d for their warp",
                     kernel_name, blockIdx.x, blockIdx.y, blockIdx.z, first, place_of(one),
                     one.file, one.line, threads, returned, waiting,
                     threads - returned - waiting);
    failed = true;
    if (one.state != IN_WARP) return;
    for (int i = 0; i < 32; i++) {
        const Fiber& other = fibers[first / 32 * 32 + i];
        if (!(one.mask >> i & 1)) continue;
        if (other.state == RETURNED) {
            snprintf(error + n, error_size - n,
                     "; its mask %08x names lane %d, which has returned", one.mask, i);
            return;
        }
        if (other.state == AT_BARRIER || other.line != one.line || other.mask != one.mask) {
            snprintf(error + n, error_size - n,
                     "; its mask %08x names lane %d, which waits at %s (%s:%d) with %08x",
                     one.mask, i, place_of(other), other.file, other.line, other.mask);
            return;
        }
    }
}

bool run_block() {
    alive = threads;
    at_barrier = 0;
    memset(runnable, 0, sizeof runnable);
    for (int i = 0; i < threads; i++) prepare(i);
    const bool from_the_end = schedule == REVERSED || schedule == WARPS_DOWN;
    int last = from_the_end ? 0 : threads - 1;
    if (schedule == WARPS_DOWN) last = threads - 1;
    if (schedule == WARPS_UP) last = 31;
    while (alive) {
        const int next = choose(last);
        if (next < 0) {
            explain_deadlock();
            return false;
        }
        last = current = next;
        threadIdx = fibers[next].index;
        change(main_fiber, fibers[next]);
        if (failed) return false;
    }
    return true;
}

// -- a launch -----------------------------------------------------------------------------

// The shared memory of this library's kernels is its thread-local segment, which comes
// into being when something in it is touched.
thread_local unsigned char touched;

int find_static_shared(dl_phdr_info* info, size_t, void*) {
    const ElfW(Addr) mine = reinterpret_cast<ElfW(Addr)>(&fibers);
    bool is_mine = false;
    size_t bytes = 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr)& part = info->dlpi_phdr[i];
        const ElfW(Addr) start = info->dlpi_addr + part.p_vaddr;
        if (part.p_type == PT_LOAD && mine >= start && mine < start + part.p_memsz) {
            is_mine = true;
        }
        if (part.p_type == PT_TLS) bytes = part.p_memsz;
    }
    if (is_mine && bytes && info->dlpi_tls_data) {
        static_shared = {static_cast<unsigned char*>(info->dlpi_tls_data), bytes};
    }
    return is_mine;
}

// The shared memory that the library's kernels declare themselves, all together; not
// known in the sanitized build.
size_t find_static_shared() {
    if (SANITIZED) return 0;
    *const_cast<volatile unsigned char*>(&touched) = 1;
    dl_iterate_phdr(find_static_shared, nullptr);
    return static_shared.size;
}

bool coprime(unsigned long long a, unsigned long long b) {
    return b == 0 ? a == 1 : coprime(b, a % b);
}

unsigned long long block_at(unsigned long long i, unsigned long long blocks) {
    if (schedule == REVERSED || schedule == WARPS_DOWN) return blocks - 1 - i;
    if (schedule != HASHED || blocks < 3) return i;
    unsigned long long step = blocks / 2 + 1;  // has no divisor in common with blocks
    while (!coprime(step, blocks)) step++;
    return (i * step + blocks / 3) % blocks;
}

int run(const char* name, void (*f)(void**), void** args, const Config* config, char* text,
        int size) {
    static bool running;
    if (running) abort();
    kernel_name = name;
    error = text;
    error_size = size;
    body = f;
    body_args = args;
    failed = false;
    schedule = config->schedule;
    random_state = 0x9e3779b97f4a7c15ull + config->seed;
    gridDim = {config->grid[0], config->grid[1], config->grid[2]};
    blockDim = {config->block[0], config->block[1], config->block[2]};
    threads = (int)(blockDim.x * blockDim.y * blockDim.z);
    if (!stacks) {
        stacks = static_cast<char*>(mmap(nullptr, MOST_THREADS * STACK,
                                         PROT_READ | PROT_WRITE,
                                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
        if (stacks == MAP_FAILED) abort();
    }
    dynamic = static_cast<unsigned char*>(malloc(config->dynamic_bytes));
    dynamic_shared = {dynamic, config->dynamic_bytes};
    running = true;
#if defined(__x86_64__)
    const unsigned before = _mm_getcsr();  // float32 below 1.2e-38 is 0, as in CuPy
    if (sizeof(WORKING) == 4) _mm_setcsr(before | 0x8040u);
#endif
    const unsigned long long plane = (unsigned long long)gridDim.x * gridDim.y;
    const unsigned long long blocks = plane * gridDim.z;
    for (unsigned long long i = 0; i < blocks && !failed; i++) {
        const unsigned long long at = block_at(i, blocks);
        blockIdx = {(unsigned)(at % gridDim.x), (unsigned)(at % plane / gridDim.x),
                    (unsigned)(at / plane)};
        if (dynamic) memset(dynamic, 0xff, config->dynamic_bytes);
        if (find_static_shared()) memset(static_shared.begin, 0xff, static_shared.size);
        run_block();
    }
#if defined(__x86_64__)
    _mm_setcsr(before);
#endif
    running = false;
    free(dynamic);
    dynamic = nullptr;
    dynamic_shared = {};
    return failed;
}

// In the schedule HASHED, an atomic operation lets others come first.
inline void before_atomic() {
    if (schedule == HASHED) wait();
}

template <class N, class F>
N atomically(N* p, F f) {
    before_atomic();
    const N old = *p;
    *p = f(old);
    return old;
}

}  // namespace shim

// -- functions of CUDA ----------------------------------------------------------------------

#define __syncthreads() ((void)shim::barrier(false, __FILE__, __LINE__))
#define __syncthreads_count(p) shim::barrier((p) != 0, __FILE__, __LINE__)
#define __syncthreads_or(p) (shim::barrier((p) != 0, __FILE__, __LINE__) > 0)
#define __syncthreads_and(p) (shim::barrier((p) != 0, __FILE__, __LINE__) == shim::threads)

#define SHIM_SHUFFLE(name, MEETING)                                                        \
    template <class V>                                                                     \
    inline V name(unsigned mask, V v, int argument, int width = 32,                        \
                  const char* file = __builtin_FILE(), int line = __builtin_LINE()) {      \
        return shim::shuffle(shim::MEETING, mask, v, argument, width, file, line);         \
    }
SHIM_SHUFFLE(__shfl_xor_sync, XOR)
SHIM_SHUFFLE(__shfl_down_sync, DOWN)
SHIM_SHUFFLE(__shfl_up_sync, UP)
SHIM_SHUFFLE(__shfl_sync, INDEX)
#undef SHIM_SHUFFLE

inline unsigned __ballot_sync(unsigned mask, int predicate,
                              const char* file = __builtin_FILE(),
                              int line = __builtin_LINE()) {
    return (unsigned)shim::meet(shim::BALLOT, mask, predicate != 0, 0, 32, file, line);
}
inline int __any_sync(unsigned mask, int predicate, const char* file = __builtin_FILE(),
                      int line = __builtin_LINE()) {
    return __ballot_sync(mask, predicate, file, line) != 0;
}
inline int __all_sync(unsigned mask, int predicate, const char* file = __builtin_FILE(),
                      int line = __builtin_LINE()) {
    return __ballot_sync(mask, predicate, file, line) == mask;
}
inline void __syncwarp(unsigned mask = ~0u, const char* file = __builtin_FILE(),
                       int line = __builtin_LINE()) {
    shim::meet(shim::SYNC, mask, 0, 0, 32, file, line);
}
template <class V>
inline unsigned __match_any_sync(unsigned mask, V v, const char* file = __builtin_FILE(),
                                 int line = __builtin_LINE()) {
    uint64_t bits = 0;
    memcpy(&bits, &v, sizeof(V));
    return (unsigned)shim::meet(shim::MATCH, mask, bits, 0, 32, file, line);
}
inline void __threadfence() {}
inline void __threadfence_block() {}

template <class N>
inline N atomicAdd(N* p, N v) {
    return shim::atomically(p, [&](N old) { return N(old + v); });
}
template <class N>
inline N atomicMax(N* p, N v) {
    return shim::atomically(p, [&](N old) { return old > v ? old : v; });
}
template <class N>
inline N atomicMin(N* p, N v) {
    return shim::atomically(p, [&](N old) { return old < v ? old : v; });
}
template <class N>
inline N atomicOr(N* p, N v) {
    return shim::atomically(p, [&](N old) { return N(old | v); });
}
template <class N>
inline N atomicExch(N* p, N v) {
    return shim::atomically(p, [&](N) { return v; });
}
template <class N>
inline N atomicCAS(N* p, N compare, N v) {
    return shim::atomically(p, [&](N old) { return old == compare ? v : old; });
}

template <class E>
inline E __ldg(const E* p) {
    return *p;
}
template <class E>
inline E __ldcs(const E* p) {
    return *p;
}
template <class E>
inline void __stcs(E* p, E v) {
    *p = v;
}

template <class To, class From>
inline To shim_bits(From from) {
    static_assert(sizeof(To) == sizeof(From), "");
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}
inline float __int_as_float(int x) { return shim_bits<float>(x); }
inline int __float_as_int(float x) { return shim_bits<int>(x); }
inline float __uint_as_float(unsigned x) { return shim_bits<float>(x); }
inline unsigned __float_as_uint(float x) { return shim_bits<unsigned>(x); }
inline double __longlong_as_double(long long x) { return shim_bits<double>(x); }
inline long long __double_as_longlong(double x) { return shim_bits<long long>(x); }

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
inline unsigned __umulhi(unsigned a, unsigned b) {
    return (unsigned)((unsigned long long)a * b >> 32);
}
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}
inline float rsqrt(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / ::sqrt(x); }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline float normcdf(float x) { return (float)(0.5 * erfc(-(double)x * M_SQRT1_2)); }
inline double normcdf(double x) { return 0.5 * ::erfc(-x * M_SQRT1_2); }

#define SHIM_MIN_MAX(N)                                  \
    inline N min(N a, N b) { return b < a ? b : a; }     \
    inline N max(N a, N b) { return a < b ? b : a; }
SHIM_MIN_MAX(int)
SHIM_MIN_MAX(unsigned)
SHIM_MIN_MAX(long long)
SHIM_MIN_MAX(unsigned long long)
#undef SHIM_MIN_MAX
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return ::fmin(a, b); }
inline double max(double a, double b) { return ::fmax(a, b); }
