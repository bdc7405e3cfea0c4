// What the rows of a cross-entropy come to: the check of the labels, the divisor of the
// mean, the sum of the losses. Sums are made in double, in an order that depends on the
// number of rows alone. Arrays here are of W; TARGET is the labels' type: int or i64.

using i64 = long long;

constexpr i64 NONE = 0x7fffffffffffffffll;

// Of some rows: the sum of the losses, the sum of the weights of the labels that are not
// ignored, and the first row whose label is no class.
struct Tally {
    double losses, weights;
    i64 bad;

    __device__ __forceinline__ Tally shuffled(int distance) const {
        return {::shuffled(losses, distance), ::shuffled(weights, distance),
                ::shuffled(bad, distance)};
    }
};

struct Together {
    __device__ __forceinline__ Tally operator()(Tally a, Tally b) const {
        return {a.losses + b.losses, a.weights + b.weights,
                a.bad < b.bad ? a.bad : b.bad};
    }
    __device__ __forceinline__ Tally identity() const { return {0.0, 0.0, NONE}; }
};

// What is done with a tally of all rows. Null pointers are left out.
//
// factor: (2,), 1 / divisor (0 where that is 0) and the divisor, the sum of the weights.
// total: the sum of the losses over `divisor`, or over divisor_at[0] where that is given;
//   nan where it is 0.
// record: (3,), the number of the check, the row and the label of the first bad one;
//   the number is 0 while nothing was found.
struct Conclusion {
    W* factor;
    W* total;
    const W* divisor_at;
    double divisor;
    i64* record;
    i64 check;

    __device__ __forceinline__ void of(const Tally& all, const TARGET* labels) const {
        if (factor) {
            factor[0] = all.weights == 0.0 ? W(0) : (W)(1.0 / all.weights);
            factor[1] = (W)all.weights;
        }
        if (total) {
            const double by = divisor_at ? (double)*divisor_at : divisor;
            *total = by == 0.0 ? not_a_number<W>() : (W)(all.losses / by);
        }
        if (record && all.bad != NONE && record[0] == 0) {
            record[1] = all.bad;
            record[2] = (i64)labels[all.bad];
            record[0] = check;
        }
    }
};

#define CONCLUSION                                                                       \
    W *factor, W *total, const W *divisor_at, double divisor, i64 *record, i64 check
#define CONCLUDED {factor, total, divisor_at, divisor, record, check}

// Rows of a thread whose numbers are all on the way before the first is used.
constexpr int AT_ONCE = 8;

// Blocks tally `part` rows each, into parts (gridDim.x,); a single block concludes.
extern "C" __global__ void __launch_bounds__(MOST_THREADS)
    tally_rows(const W* __restrict__ losses, const TARGET* __restrict__ labels,
               const W* __restrict__ weights, i64 n, i64 classes, i64 ignoring,
               i64 ignored, i64 part, double* parts, CONCLUSION) {
    Tally mine = Together().identity();
    const i64 begin = blockIdx.x * part, end = begin + part < n ? begin + part : n;
    for (i64 first = begin + threadIdx.x; first < end; first += AT_ONCE * blockDim.x) {
        W loss[AT_ONCE], weight[AT_ONCE];
        i64 label[AT_ONCE];
#pragma unroll
        for (int j = 0; j < AT_ONCE; j++) {
            const i64 row = first + j * (i64)blockDim.x;
            loss[j] = losses && row < end ? losses[row] : W(0);
            label[j] = labels && row < end ? (i64)labels[row] : 0;
        }
#pragma unroll
        for (int j = 0; j < AT_ONCE; j++) {
            const bool is_class = 0 <= label[j] && label[j] < classes;
            weight[j] = weights && is_class ? weights[label[j]] : W(1);
        }
#pragma unroll
        for (int j = 0; j < AT_ONCE; j++) {
            const i64 row = first + j * (i64)blockDim.x;
            if (row >= end) break;
            mine.losses += (double)loss[j];
            if (!labels) continue;
            if (ignoring && label[j] == ignored) continue;
            if (label[j] < 0 || label[j] >= classes) {
                mine.bad = row < mine.bad ? row : mine.bad;
            } else {
                mine.weights += (double)weight[j];
            }
        }
    }
    mine = reduce_row(mine, Together());
    if (threadIdx.x) return;
    if (gridDim.x == 1) {
        const Conclusion conclusion = CONCLUDED;
        conclusion.of(mine, labels);
    } else {
        reinterpret_cast<Tally*>(parts)[blockIdx.x] = mine;
    }
}

// One block: concludes from the parts of `count` blocks.
extern "C" __global__ void __launch_bounds__(MOST_THREADS)
    tally_parts(const double* __restrict__ parts, const TARGET* __restrict__ labels, i64 count,
                CONCLUSION) {
    Tally mine = Together().identity();
    for (i64 i = threadIdx.x; i < count; i += blockDim.x) {
        mine = Together()(mine, reinterpret_cast<const Tally*>(parts)[i]);
    }
    mine = reduce_row(mine, Together());
    if (threadIdx.x) return;
    const Conclusion conclusion = CONCLUDED;
    conclusion.of(mine, labels);
}
