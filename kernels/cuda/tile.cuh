// The matrix product of a block of threads: tiles in shared memory, fragments of them in registers, sums.
//
// A step takes DEPTH numbers of the reduction. Both operands are seen as rows (of the result: its rows, its columns)
// times that depth, and lie in shared memory in one of two ways, as they lie in global memory: `Along` keeps the depth
// of a row together, `Across` the rows of a depth. In both, parts of 16 bytes are exchanged so that neither copies nor
// fragments meet in a bank. Which of a warp's rows are which of the tensor core's is free: they are chosen so that
// registers come as `mma` takes them, and that a thread 4 g + t has WIDTH neighbouring columns of the result.
#pragma once

#include "copy.cuh"
#include "mma.cuh"
#include "vector.cuh"

constexpr int DEPTH = 32;

// Which of the rows number j of set e is, where those of four sets take turns.
__device__ __forceinline__ constexpr int mixed(int e, int j) { return 32 * (e / 4) + 4 * j + e % 4; }

__device__ __forceinline__ void load_matrices(float& a, float& b, float& c, float& d, unsigned from) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=f"(a), "=f"(b), "=f"(c), "=f"(d)
                 : "r"(from)
                 : "memory");
}

// ROWS of DEPTH numbers.
template <int ROWS>
struct Along {
    static constexpr int BYTES = ROWS * DEPTH * 4, WIDTH = 4;

    static __device__ __forceinline__ unsigned place(int row, int depth) {
        return row * (DEPTH * 4) + ((((depth >> 2) ^ (row >> 2)) & 7) << 4) + ((depth & 3) << 2);
    }

    static __device__ __forceinline__ int row(int e, int lane) { return mixed(e, lane >> 2); }

    // Where a lane's part of the rows from `first` on begins, of the operand with rows, and of that with columns.
    static __device__ __forceinline__ unsigned start_a(int first, int lane) {
        return place(first + mixed(lane >> 3 & 1, lane & 7), 4 * (lane >> 4));
    }
    static __device__ __forceinline__ unsigned start_b(int first, int lane) {
        return place(first + mixed(lane >> 4, lane & 7), 4 * (lane >> 3 & 1));
    }

    // Of part p of the results that a thread has in a row: the first column, and of value i the set and the place in it.
    static __device__ __forceinline__ int column(int p, int lane) { return mixed(p / 2 * 4, 2 * (lane & 3) + p % 2); }
    static __device__ __forceinline__ constexpr int set(int p, int i) { return p / 2 * 4 + i; }
    static __device__ __forceinline__ constexpr int in_set(int p, int i) { return p % 2; }

    // The sets of rows 2 i and 2 i + 1, and the 8 numbers from 8 k on.
    static __device__ __forceinline__ void load_a(float (&a)[4], unsigned start, int i, int k) {
        load_matrices(a[0], a[1], a[2], a[3], (start ^ (k << 5)) + mixed(2 * i, 0) * (DEPTH * 4));
    }

    // The sets of columns 2 j and 2 j + 1.
    static __device__ __forceinline__ void load_b(float (&b)[2][2], unsigned start, int j, int k) {
        load_matrices(b[0][0], b[0][1], b[1][0], b[1][1], (start ^ (k << 5)) + mixed(2 * j, 0) * (DEPTH * 4));
    }
};

// DEPTH times ROWS numbers.
template <int ROWS>
struct Across {
    static constexpr int BYTES = ROWS * DEPTH * 4, WIDTH = 2;

    static __device__ __forceinline__ unsigned place(int row, int depth) {
        return depth * (ROWS * 4) + (((row >> 2) ^ ((depth & 3) << 1)) << 4) + ((row & 3) << 2);
    }

    static __device__ __forceinline__ int row(int e, int lane) { return 16 * (e / 2) + 2 * (lane >> 2) + e % 2; }

    static __device__ __forceinline__ unsigned start_a(int first, int lane) {
        return place(first + row(0, lane), lane & 3);
    }
    static __device__ __forceinline__ unsigned start_b(int first, int lane) {
        return place(first + (lane >> 2), lane & 3);
    }

    static __device__ __forceinline__ int column(int p, int lane) { return 8 * p + 2 * (lane & 3); }
    static __device__ __forceinline__ constexpr int set(int p, int i) { return p; }
    static __device__ __forceinline__ constexpr int in_set(int p, int i) { return i; }

    static __device__ __forceinline__ void load_a(float (&a)[4], unsigned start, int i, int k) {
        const unsigned from = (start ^ (i % 2 << 6)) + i / 2 * 128 + 8 * k * (ROWS * 4);
        asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(a[0]), "=f"(a[1]) : "r"(from) : "memory");
        asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];"
                     : "=f"(a[2]), "=f"(a[3])
                     : "r"(from + 4 * (ROWS * 4))
                     : "memory");
    }

    static __device__ __forceinline__ void load_b(float (&b)[2][2], unsigned start, int j, int k) {
#pragma unroll
        for (int e = 0; e < 2; ++e)
#pragma unroll
            for (int h = 0; h < 2; ++h)
                asm volatile("ld.shared.f32 %0, [%1];"
                             : "=f"(b[e][h])
                             : "r"((start ^ ((4 * j + 2 * e & 7) << 4)) + j / 2 * 128 + (8 * k + 4 * h) * (ROWS * 4))
                             : "memory");
    }
};

// The sums of a warp: M x N, as fragments of 16 x 8.
template <int M, int N>
struct Sums {
    static_assert(M % 32 == 0 && N % 32 == 0, "a warp works on 32 rows and columns at least");
    float values[M / 16][N / 8][4];

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int i = 0; i < M / 16; ++i)
#pragma unroll
            for (int j = 0; j < N / 8; ++j)
#pragma unroll
                for (int q = 0; q < 4; ++q) values[i][j][q] = 0;
    }

    // Add the product of a step's tiles; a, b: where this lane begins in them.
    template <int Products, class A, class B>
    __device__ __forceinline__ void add(unsigned a_start, unsigned b_start) {
#pragma unroll(Products == 3 ? 1 : DEPTH / 8)  // with more of three products registers run out
        for (int k = 0; k < DEPTH / 8; ++k) {
            Operand<Products> a[M / 16][4];
#pragma unroll
            for (int i = 0; i < M / 16; ++i) {
                float x[4];
                A::load_a(x, a_start, i, k);
                round(x[0], x[2], a[i][0], a[i][2]);
                round(x[1], x[3], a[i][1], a[i][3]);
            }
#pragma unroll
            for (int j = 0; j < N / 16; ++j) {
                float y[2][2];
                B::load_b(y, b_start, j, k);
#pragma unroll
                for (int e = 0; e < 2; ++e) {
                    Operand<Products> b[2];
                    round(y[e][0], y[e][1], b[0], b[1]);
#pragma unroll
                    for (int i = 0; i < M / 16; ++i) multiply<Products>(values[i][2 * j + e], a[i], b);
                }
            }
        }
    }

    // Part p, of N / 4 / B::WIDTH, of what this thread has in set e of rows.
    template <class B>
    __device__ __forceinline__ void part(int e, int p, float (&out)[B::WIDTH]) const {
#pragma unroll
        for (int i = 0; i < B::WIDTH; ++i) out[i] = values[e / 2][B::set(p, i)][e % 2 * 2 + B::in_set(p, i)];
    }
};

// Write those of some neighbours whose place, from `first` on, is below `end`; all or none, at once, where `vectors`.
template <int N>
__device__ __forceinline__ void store_part(float* to, const float (&values)[N], int first, int end, bool vectors) {
    if (vectors) {
        if (first < end) store<float, N>(to + first, reinterpret_cast<const Vector<float, N>&>(values));
        return;
    }
#pragma unroll
    for (int i = 0; i < N; ++i)
        if (first + i < end) to[first + i] = values[i];
}
