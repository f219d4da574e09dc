// Channels-last maps: a thread takes LANES neighbouring channels of one pixel, or of the few pixels of a block.
//
// Defined by what compiles this: NUMBER (float or double), LANES, and INDEX, the unsigned type that counts them.
#pragma once
#include "vector.cuh"

typedef unsigned long long u64;
typedef NUMBER Number;
typedef INDEX Index;
typedef Vector<Number, LANES> Numbers;

// Of a block. Kernels ask for one block on a multiprocessor, no more: left to itself ptxas spills some numbers, rather
// than use the registers of another.
constexpr int THREADS = 256;

__device__ __forceinline__ Index thread() {
    return (Index)blockIdx.x * THREADS + threadIdx.x;
}

// An image, row and column, and the first of LANES channels.
struct Place {
    Index n;
    int i, j;
    Index c;
};

// The place of a thread; vectors: of LANES channels in a pixel.
__device__ __forceinline__ Place place(Index item, int rows, int columns, int vectors) {
    const Index pixel = item / vectors, row = pixel / columns, image = row / rows;
    return {image, int(row - image * rows), int(pixel - row * columns), (item - pixel * vectors) * LANES};
}

// Where it lies in a dense map.
__device__ __forceinline__ i64 dense(Index n, int i, int j, Index c, int rows, int columns, int vectors) {
    return (((i64)n * rows + i) * columns + j) * vectors * LANES + c;
}

__device__ __forceinline__ bool exists(int i, int length) {
    return unsigned(i) < unsigned(length);
}

// The nearest that exists: what is loaded from there, whether it is wanted or not, keeps loads free of branches.
__device__ __forceinline__ int clamped(int i, int length) {
    return min(max(i, 0), length - 1);
}

__device__ __forceinline__ Numbers zeros() {
    Numbers x;
#pragma unroll
    for (int k = 0; k < LANES; ++k) x.v[k] = 0;
    return x;
}
