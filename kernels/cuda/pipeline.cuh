// The loop of a block: copies run STAGES - 1 steps ahead of the products.
//
// -D: BM x BN sums in warps of WM x WN; STAGES; PRODUCTS for each number, 1 or 3 (mma.cuh).
#pragma once

#include "tile.cuh"

constexpr int WARPS_ACROSS = BN / WN;
constexpr int THREADS = BM / WM * WARPS_ACROSS * 32;
constexpr int STAGE_BYTES = (BM + BN) * DEPTH * 4;

__device__ __forceinline__ int warp_row() { return threadIdx.x / 32 / WARPS_ACROSS * WM; }
__device__ __forceinline__ int warp_column() { return threadIdx.x / 32 % WARPS_ACROSS * WN; }

// Which part of a tile a thread copies: of the rows `row`, `row` + APART, ... the N numbers from `depth` on.
template <int ROWS, int N>
struct AlongPart {
    static constexpr int LANES = DEPTH / N, APART = THREADS / LANES, EACH = ROWS / APART;
    static_assert(EACH * APART == ROWS && EACH > 0, "the threads must divide the rows");

    static __device__ __forceinline__ int row() { return threadIdx.x / LANES; }
    static __device__ __forceinline__ int depth() { return threadIdx.x % LANES * N; }

    // Where the i-th goes, `start` being the place of the first: sums without carries, so exclusive or.
    static __device__ __forceinline__ unsigned place(unsigned start, int i) {
        return (start ^ ((i * APART >> 2 & 7) << 4)) + i * APART * (DEPTH * 4);
    }
};

// Of the depths `depth`, `depth` + APART, ... N rows.
template <int ROWS, int N>
struct AcrossPart {
    static constexpr int LANES = ROWS / N, APART = THREADS / LANES, EACH = DEPTH / APART;
    static_assert(EACH * APART == DEPTH && EACH > 0, "the threads must divide the depth");

    static __device__ __forceinline__ int depth() { return threadIdx.x / LANES; }
    static __device__ __forceinline__ int row() { return threadIdx.x % LANES * N; }

    static __device__ __forceinline__ unsigned place(unsigned start, int i) {
        return (start ^ ((i * APART & 3) << 5)) + i * APART * (ROWS * 4);
    }
};

// sums += a b over `steps` steps; a.load(to) copies its next tile there.
template <class A, class B>
__device__ __forceinline__ void reduce(Sums<WM, WN>& sums, A& a, B& b, int steps, float* memory) {
    const unsigned base = shared_address(memory);
    const int lane = threadIdx.x % 32;
    const unsigned a_start = A::Layout::start_a(warp_row(), lane);
    const unsigned b_start = A::Layout::BYTES + B::Layout::start_b(warp_column(), lane);
    auto copy_to = [&](int stage) {
        a.load(base + stage);
        b.load(base + stage + A::Layout::BYTES);
    };
    for (int s = 0; s < STAGES - 1; ++s) {
        if (s < steps) copy_to(s * STAGE_BYTES);
        end_group();
    }
    int now = 0, next = (STAGES - 1) * STAGE_BYTES;
    for (int s = 0; s < steps; ++s) {
        wait_for_groups<STAGES - 2>();
        __syncthreads();  // all copies of this stage are here, and all threads are done with the last
        if (s + STAGES - 1 < steps) copy_to(next);
        end_group();
        const unsigned tile = base + now;
        sums.template add<PRODUCTS, typename A::Layout, typename B::Layout>(tile + a_start, tile + b_start);
        next = now;
        now = now + STAGE_BYTES == STAGES * STAGE_BYTES ? 0 : now + STAGE_BYTES;
    }
}
