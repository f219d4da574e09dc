// Maps as matrices: a row is a pixel, or neighbouring ones where memory is dense; a column is a channel of one of them.
// A thread takes LANES neighbouring columns of many rows, and keeps what it knows of them in registers.
//
// Defined by what compiles this: NUMBER (float or double), LANES, FLAT: 1 where all rows are equally far apart, and INDEX,
// the unsigned type that counts rows where they are not.
#pragma once
#include "vector.cuh"

typedef unsigned long long u64;
typedef NUMBER Number;
typedef INDEX Index;
typedef Vector<Number, LANES> Numbers;

constexpr int THREADS = 256;  // of a block, at most
constexpr int RESIDENT = 3;   // blocks that run at once: with the registers of four some kernels spill

struct Matrix {
    i64 rows;                   // whole ones
    int rest, width, channels;  // numbers after them; columns; the channels of a pixel
    int height, breadth;        // of the images whose pixels the rows are, unless FLAT
};

struct Map {
    Number* at;
    i64 image, row, pixel;  // numbers from one to the next

    __device__ __forceinline__ Number* begin(const Matrix& of, i64 number) const {
        if (FLAT) return at + number * pixel;
        const Index line = Index(number) / of.breadth, n = line / of.height;
        return at + n * image + (line - n * of.height) * row + (Index(number) - line * of.breadth) * pixel;
    }
};

#define MATRIX i64 rows, int rest, int width, int channels, int height, int breadth
#define MATRIX_GIVEN {rows, rest, width, channels, height, breadth}
#define MAP(x) Number *x, i64 x##_image, i64 x##_row, i64 x##_pixel
#define MAP_GIVEN(x) {x, x##_image, x##_row, x##_pixel}

// The first of a thread's columns, and the channel of one.
__device__ __forceinline__ int column() {
    return (blockIdx.y * blockDim.x + threadIdx.x) * LANES;
}

__device__ __forceinline__ int channel(const Matrix& matrix, int lane) {
    return (column() + lane) % matrix.channels;
}

// Some rows, `step` apart: all is read before anything is written, so that many reads are under way at once.
template <int ROWS, int MAPS, bool WRITES, class Term>
__device__ __forceinline__ void some_rows(
    const Matrix& matrix, const Map* from, const Map& to, Term (&term)[LANES], i64 row, i64 step
) {
    Numbers read[ROWS][MAPS ? MAPS : 1];
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
#pragma unroll
        for (int k = 0; k < MAPS; ++k) {
            read[r][k] = load<Number, LANES>(from[k].begin(matrix, row + r * step) + column());
        }
    }
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
        Numbers result;
#pragma unroll
        for (int v = 0; v < LANES; ++v) {
            Number x[MAPS ? MAPS : 1];
#pragma unroll
            for (int k = 0; k < MAPS; ++k) x[k] = read[r][k].v[v];
            result.v[v] = term[v](x, row + r * step);
        }
        if (WRITES) store<Number, LANES>(to.begin(matrix, row + r * step) + column(), result);
    }
}

// y[row][column] = term(x[row][column], ..., row) for the rows of one of `parts` parts of the matrix, in their order.
template <int MAPS, bool WRITES, class Term>
__device__ __forceinline__ void over_rows(
    const Matrix& matrix, const Map* from, const Map& to, Term (&term)[LANES], int part, int parts
) {
    constexpr int AHEAD = MAPS > 1 ? 2 : 4;
    if (column() >= matrix.width) return;
    const i64 step = (i64)parts * blockDim.y;
    i64 row = (i64)part * blockDim.y + threadIdx.y;
    for (; row + (AHEAD - 1) * step < matrix.rows; row += AHEAD * step) {
        some_rows<AHEAD, MAPS, WRITES>(matrix, from, to, term, row, step);
    }
    for (; row < matrix.rows; row += step) some_rows<1, MAPS, WRITES>(matrix, from, to, term, row, step);
    if (part != parts - 1 || threadIdx.y) return;
#pragma unroll
    for (int v = 0; v < LANES; ++v) {
        if (column() + v >= matrix.rest) break;
        Number x[MAPS ? MAPS : 1];
#pragma unroll
        for (int k = 0; k < MAPS; ++k) x[k] = from[k].begin(matrix, matrix.rows)[column() + v];
        const Number result = term[v](x, matrix.rows);
        if (WRITES) to.begin(matrix, matrix.rows)[column() + v] = result;
    }
}
