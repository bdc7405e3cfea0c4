// The gradients of layer norm and RMS norm over rows (n, C): backends/norms.py.
//
// With normal = (x - mean) * scale and h = g * weight a row's is
//     dx = (h - mean(h) - normal * mean(h * normal)) * scale;
// that of RMS norm, which is not CENTRED, has no mean(h).

template <bool CENTRED>
struct Normal {
    W mean, scale;

    __device__ __forceinline__ Normal(const W* means, const W* scales, long long row)
        : mean(CENTRED ? means[row] : W(0)), scale(scales[row]) {}
    __device__ __forceinline__ W operator()(W x) const { return (x - mean) * scale; }
    // dx, where along has the means of h and h * normal.
    __device__ __forceinline__ W slope(W h, W normal, Pair along) const {
        const W less = CENTRED ? h - along.a : h;
        return (less - normal * along.b) * scale;
    }
};

// The means over a row, from each lane's sums.
__device__ __forceinline__ Pair means_of(Pair sums, long long columns) {
    sums = reduce_row(sums, BothSums());
    return {sums.a / (W)columns, sums.b / (W)columns};
}
