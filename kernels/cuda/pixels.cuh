// A pixel's CLASSES numbers, held by GROUP threads: the one numbered m has the classes m, m + GROUP, ...
//
// Defined by what compiles this: NUMBER, INDEX, CLASSES, GROUP, PIXELS of a block, and PLANES. PLANES 1: maps (N, C, P)
// whose planes are dense; neighbouring threads have neighbouring pixels, and GROUP is 1 or a column of the block. PLANES
// 0: channels-last maps, FLAT as in matrix.cuh, and 2 where nothing lies between the pixels; GROUP is 1, and the pixels
// of a block come and go through shared memory as one stretch, or 32, a warp whose threads have neighbouring classes.
#pragma once
#define LANES 1
#include "matrix.cuh"

constexpr int ROUNDS = (CLASSES + GROUP - 1) / GROUP;  // numbers that a thread holds
constexpr int PITCH = CLASSES | 1;                     // odd: so pixels begin in banks of their own
constexpr int TEAM = PIXELS * GROUP;                   // threads of a block
// Blocks at once, so many that nothing spills; without a number the compiler takes all registers.
constexpr int AT_ONCE = sizeof(Number) == 4 ? (GROUP == 1 && ROUNDS > 24 ? 384 : 512) / TEAM : 1;
constexpr int AHEAD = CLASSES < 16 ? CLASSES : 16;  // numbers that a thread has under way to the stage
constexpr bool STAGED = !PLANES && GROUP == 1;

__device__ __forceinline__ int member() {
    return GROUP == 1 ? 0 : PLANES ? threadIdx.y : threadIdx.x;
}

// Which of the pixels of its block a thread works on.
__device__ __forceinline__ int own_pixel() {
    return GROUP == 1 || PLANES ? threadIdx.x : threadIdx.y;
}

__device__ __forceinline__ Number lowest() {
    return -__int_as_float(0x7F800000);
}

__device__ __forceinline__ Number* stage() {
    __shared__ Number room[STAGED ? PIXELS * PITCH : 1];
    return room;
}

// PIXELS neighbouring pixels, fewer at the end: of a plane, or of all.
struct Tile {
    i64 first;
    int count;

    __device__ __forceinline__ bool has() const {
        return own_pixel() < count;
    }

    __device__ __forceinline__ i64 pixel() const {
        return first + own_pixel();
    }
};

__device__ __forceinline__ Tile tile(i64 pixels, i64 number) {
    const i64 left = pixels - number * PIXELS;
    return {number * PIXELS, left < PIXELS ? int(left) : PIXELS};
}

// Where the number of a class of the thread's pixel lies, unless it is staged.
__device__ __forceinline__ Number* number_of(const Map& map, const Matrix& matrix, const Tile& tile, int k) {
    return PLANES ? map.at + k * map.row + tile.pixel() : map.begin(matrix, tile.pixel()) + k;
}

// Where the number i of a tile lies in the map, and in the stage.
__device__ __forceinline__ Number* stretch(const Map& map, const Matrix& matrix, const Tile& tile, int i) {
    if (FLAT == 2) return map.at + tile.first * CLASSES + i;
    return map.begin(matrix, tile.first + i / CLASSES) + i % CLASSES;
}

__device__ __forceinline__ int staged(int i) {
    return i + i / CLASSES * (PITCH - CLASSES);
}

// The numbers of the thread's pixel; `missing` for those that do not exist.
__device__ __forceinline__ void fetch(
    Number (&z)[ROUNDS], const Map& map, const Matrix& matrix, const Tile& tile, Number missing
) {
    if constexpr (STAGED) {
        const int end = tile.count * CLASSES;
        __syncthreads();
#pragma unroll 1
        for (int first = threadIdx.x; first < end; first += AHEAD * PIXELS) {
            Number passing[AHEAD];
#pragma unroll
            for (int r = 0; r < AHEAD; ++r) {
                const int i = first + r * PIXELS;
                if (i < end) passing[r] = *stretch(map, matrix, tile, i);
            }
#pragma unroll
            for (int r = 0; r < AHEAD; ++r) {
                const int i = first + r * PIXELS;
                if (i < end) stage()[staged(i)] = passing[r];
            }
        }
        __syncthreads();
#pragma unroll
        for (int r = 0; r < ROUNDS; ++r) z[r] = tile.has() ? stage()[threadIdx.x * PITCH + r] : missing;
    } else {
#pragma unroll
        for (int r = 0; r < ROUNDS; ++r) {
            const int k = r * GROUP + member();
            z[r] = tile.has() && k < CLASSES ? *number_of(map, matrix, tile, k) : missing;
        }
    }
}

// The other way round.
__device__ __forceinline__ void deliver(
    const Number (&z)[ROUNDS], const Map& map, const Matrix& matrix, const Tile& tile
) {
    if constexpr (STAGED) {
        __syncthreads();
#pragma unroll
        for (int r = 0; r < ROUNDS; ++r) stage()[threadIdx.x * PITCH + r] = z[r];
        __syncthreads();
        const int end = tile.count * CLASSES;
#pragma unroll 4
        for (int i = threadIdx.x; i < end; i += PIXELS) *stretch(map, matrix, tile, i) = stage()[staged(i)];
    } else {
#pragma unroll
        for (int r = 0; r < ROUNDS; ++r) {
            const int k = r * GROUP + member();
            if (tile.has() && k < CLASSES) *number_of(map, matrix, tile, k) = z[r];
        }
    }
}

struct Plus {
    template <class N>
    static __device__ __forceinline__ N of(N a, N b) {
        return a + b;
    }
};

struct Most {
    template <class N>
    static __device__ __forceinline__ N of(N a, N b) {
        return a > b ? a : b;
    }
};

// What the threads of a group have, joined in an order that never changes; each of them gets it.
template <class Join, class N>
__device__ __forceinline__ N joined(N value) {
    if (GROUP == 1) return value;
    if (!PLANES) {
#pragma unroll
        for (int apart = GROUP / 2; apart; apart /= 2) {
            value = Join::of(value, __shfl_xor_sync(0xFFFFFFFF, value, apart));
        }
        return value;
    }
    __shared__ N room[GROUP][PIXELS];
    __syncthreads();
    room[member()][own_pixel()] = value;
    __syncthreads();
    value = room[0][own_pixel()];
#pragma unroll
    for (int m = 1; m < GROUP; ++m) value = Join::of(value, room[m][own_pixel()]);
    return value;
}

// z = exp(z - largest); their sum, and the largest. Where none is finite the sum is NaN.
__device__ __forceinline__ double exponentials(Number (&z)[ROUNDS], Number& largest) {
    largest = z[0];
#pragma unroll
    for (int r = 1; r < ROUNDS; ++r) largest = Most::of(z[r], largest);
    largest = joined<Most>(largest);
    double total = 0;
#pragma unroll
    for (int r = 0; r < ROUNDS; ++r) {
        z[r] = exp(z[r] - largest);
        total += z[r];
    }
    return joined<Plus>(total);
}

// A tile of labels, and what a label says: a class, or NONE for a pixel that does not count.
constexpr int NONE = -1;

template <class Label>
__device__ __forceinline__ int class_of(Label value, i64 ignored) {
    const i64 label = value;
    return label == ignored || label < 0 || label >= CLASSES ? NONE : int(label);
}

__device__ __forceinline__ int team_member() {
    return threadIdx.y * blockDim.x + threadIdx.x;
}

// sums[k] = what all threads of a block have, added up as a tree.
template <int SUMS>
__device__ __forceinline__ void team_sums(const double (&own)[SUMS], double* sums) {
    __shared__ double room[SUMS][TEAM];
#pragma unroll
    for (int k = 0; k < SUMS; ++k) room[k][team_member()] = own[k];
    for (int half = TEAM / 2; half; half /= 2) {
        __syncthreads();
        if (team_member() >= half) continue;
#pragma unroll
        for (int k = 0; k < SUMS; ++k) room[k][team_member()] += room[k][team_member() + half];
    }
    if (team_member()) return;
#pragma unroll
    for (int k = 0; k < SUMS; ++k) sums[k] = room[k][0];
}
