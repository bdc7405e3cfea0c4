// Many arrays in one launch. Their addresses are given to it by value, so that nothing is
// copied to the device before it. They are cut into chunks of CHUNK elements, and a block
// does one chunk after another. backends/cuda/geometry.py makes the table.

constexpr int MOST_ARRAYS = 160;
constexpr int CHUNK = 4096;
constexpr int CHUNK_THREADS = 256;
constexpr int MOST_BYTES = 4096 - 64;  // of a launch on any device, but for other arguments

struct Arrays {
    T* at[MOST_ARRAYS];
    long long place[MOST_ARRAYS];  // where each lies in the array that holds them all
    int chunks[MOST_ARRAYS];       // of it and all before it; the largest int past the last
    int rest[MOST_ARRAYS];         // elements of its last chunk
};

struct Chunk {
    T* at;
    long long place;
    int count;
};

// Chunk number c: of the first array that with those before it has more than c chunks.
__device__ __forceinline__ Chunk chunk_at(const Arrays& arrays, long long c) {
    int low = 0, high = MOST_ARRAYS - 1;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (arrays.chunks[middle] > c) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    const long long before = low ? arrays.chunks[low - 1] : 0;
    const long long begin = (c - before) * CHUNK;
    const bool is_last = c + 1 == arrays.chunks[low];
    return {arrays.at[low] + begin, arrays.place[low] + begin,
            is_last ? arrays.rest[low] : CHUNK};
}

// How many of the first elements can be accessed 16 bytes at a time, by addresses put
// together with |.
__device__ __forceinline__ int packed(int count, unsigned long long addresses) {
    return addresses % 16 ? 0 : count / VECTOR * VECTOR;
}

__device__ __forceinline__ unsigned long long address(const void* p) {
    return reinterpret_cast<unsigned long long>(p);
}
