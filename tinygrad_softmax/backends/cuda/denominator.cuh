// The denominator of a row's softmax.
//
// With m the maximum of a row, s is the sum of exp(x - m) without ONE entry that is m.
// The entries equal to m are counted, and not summed: s = sum over the others + count - 1
// is exact where s is tiny, and needs no index. backends/base.py is the definition.

// What a thread knows of a row: the maximum so far, the sum of exp(x - m) over entries
// that are not m, and how many are.
struct Denominator {
    W m, s, count;

    __device__ __forceinline__ Denominator shuffled(int distance) const {
        return {::shuffled(m, distance), ::shuffled(s, distance),
                ::shuffled(count, distance)};
    }

    // This, with respect to a maximum that is at least m.
    __device__ __forceinline__ Denominator lifted(W to) const {
        if (m == to) return *this;
        return {to, (s + count) * exp(m - to), W(0)};
    }

    // The sum of exp(x - m) without one entry that is m.
    __device__ __forceinline__ W rest() const {
        if (is_finite(m) || count <= W(1)) return s + larger(count - W(1), W(0));
        return not_a_number<W>();
    }
};
