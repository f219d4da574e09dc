// Products of matrices on plain units: tiles in shared memory, ROWS x COLUMNS sums in the registers of a thread.
//
// -D: NUMBER (float or double), ROWS COLUMNS (sums of a thread: multiples of what 16 bytes hold).
#pragma once
#include "vector.cuh"

typedef NUMBER Number;

constexpr int THREADS = 256, SIDE = 16;  // of a block, and along each of its sides
constexpr int DEPTH = 8;                 // terms of a step
constexpr int LANES = 16 / sizeof(Number);
constexpr int BM = SIDE * ROWS, BN = SIDE * COLUMNS;

// Which numbers of DEPTH x SIZE a thread brings: of one term and several lines,
template <int SIZE>
struct Along {
    static constexpr int EACH = SIZE * DEPTH / THREADS, AFTER_ONE = 0, AFTER_ALL = DEPTH;
    __device__ static int line(int i) { return threadIdx.x / DEPTH + i * (THREADS / DEPTH); }
    __device__ static int term(int i) { return threadIdx.x % DEPTH; }
};

// or of one line and several terms.
template <int SIZE>
struct Across {
    static constexpr int EACH = SIZE * DEPTH / THREADS, AFTER_ONE = THREADS / SIZE, AFTER_ALL = 0;
    __device__ static int line(int i) { return threadIdx.x % SIZE; }
    __device__ static int term(int i) { return threadIdx.x / SIZE + i * AFTER_ONE; }
};

// The place in a tile of the e-th number of thread t along a side: threads' vectors lie side by side.
__device__ __forceinline__ int place(int e, int t) {
    return e / LANES * (SIDE * LANES) + t * LANES + e % LANES;
}

template <int COUNT>
__device__ __forceinline__ void fragment(Number (&numbers)[COUNT], const Number* tile, int t) {
#pragma unroll
    for (int e = 0; e < COUNT; e += LANES) {
        const Vector<Number, LANES> part = load<Number, LANES>(tile + place(e, t));
#pragma unroll
        for (int l = 0; l < LANES; ++l) numbers[e + l] = part.v[l];
    }
}

// sums += a b, over so many steps. Operands have a Part, as above, and load(values), which goes on by DEPTH terms.
template <class A, class B>
__device__ __forceinline__ void multiply(Number (&sums)[ROWS][COLUMNS], A& a, B& b, int steps) {
    __shared__ __align__(16) Number tiles_a[2][DEPTH][BM + LANES];  // so much more puts a warp's numbers into all banks
    __shared__ __align__(16) Number tiles_b[2][DEPTH][BN + LANES];
    Number next_a[A::Part::EACH], next_b[B::Part::EACH];
    a.load(next_a);
    b.load(next_b);
    for (int step = 0; step < steps; ++step) {
        auto& tile_a = tiles_a[step % 2];
        auto& tile_b = tiles_b[step % 2];
#pragma unroll
        for (int i = 0; i < A::Part::EACH; ++i) tile_a[A::Part::term(i)][A::Part::line(i)] = next_a[i];
#pragma unroll
        for (int i = 0; i < B::Part::EACH; ++i) tile_b[B::Part::term(i)][B::Part::line(i)] = next_b[i];
        __syncthreads();  // one a step: nobody writes the other tiles again before all have read them
        if (step + 1 < steps) {
            a.load(next_a);
            b.load(next_b);
        }
#pragma unroll
        for (int d = 0; d < DEPTH; ++d) {
            Number left[ROWS], right[COLUMNS];
            fragment(left, tile_a[d], threadIdx.x / SIDE);
            fragment(right, tile_b[d], threadIdx.x % SIDE);
#pragma unroll
            for (int r = 0; r < ROWS; ++r) {
#pragma unroll
                for (int c = 0; c < COLUMNS; ++c) sums[r][c] += left[r] * right[c];
            }
        }
    }
}
