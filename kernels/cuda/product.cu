// Products of matrices where cuBLAS cannot be called. See product.py.
//
// Defined by what compiles this: NUMBER (float or double).
typedef long long i64;
typedef NUMBER Number;

constexpr int TILE = 64, DEPTH = 16, THREADS = 256, EACH = 4;  // as product.py has them
constexpr int ACROSS = TILE / EACH;

// Copies a tile of one matrix: `tile`[k][i] is the number in line `first + i` and place `start + k`, 0 beyond the ends.
__device__ __forceinline__ void copy(Number (*tile)[TILE + 1], const Number* x, int first, int lines, i64 line,
                                     int start, int stop, i64 place) {
    const bool along = place <= line;  // neighbouring threads read neighbours in memory
#pragma unroll
    for (int t = threadIdx.x; t < TILE * DEPTH; t += THREADS) {
        const int i = along ? t / DEPTH : t % TILE, k = along ? t % DEPTH : t / TILE;
        const bool there = first + i < lines && start + k < stop;
        tile[k][i] = there ? x[(first + i) * line + (start + k) * place] : Number(0);
    }
}

// y[s, p, i, j] = sum over k of a[s, i, k] b[s, k, j], k in [p depth, (p + 1) depth): of every part of every product of
// a stack a tile to a block, y being dense.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
    product(Number* __restrict__ y, const Number* __restrict__ a, const Number* __restrict__ b, int rows, int columns,
            int inner, int parts, int depth, i64 a_matrix, i64 a_row, i64 a_column, i64 b_matrix, i64 b_row,
            i64 b_column) {
    __shared__ Number left[DEPTH][TILE + 1], right[DEPTH][TILE + 1];
    const int down = (rows + TILE - 1) / TILE, over = (columns + TILE - 1) / TILE;
    const int top = blockIdx.x % down * TILE, rest = blockIdx.x / down;
    const int first = rest % over * TILE, which = rest / over;
    const int part = which % parts, s = which / parts;
    const int u = threadIdx.x / ACROSS, v = threadIdx.x % ACROSS;
    const int start = part * depth, stop = min(start + depth, inner);
    Number sums[EACH][EACH] = {};
    for (int at = start; at < stop; at += DEPTH) {
        copy(left, a + s * a_matrix, top, rows, a_row, at, stop, a_column);
        copy(right, b + s * b_matrix, first, columns, b_column, at, stop, b_row);
        __syncthreads();
#pragma unroll
        for (int k = 0; k < DEPTH; ++k)
#pragma unroll
            for (int i = 0; i < EACH; ++i)
#pragma unroll
                for (int j = 0; j < EACH; ++j) sums[i][j] += left[k][u + i * ACROSS] * right[k][v + j * ACROSS];
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < EACH; ++i)
#pragma unroll
        for (int j = 0; j < EACH; ++j) {
            const int row = top + u + i * ACROSS, column = first + v + j * ACROSS;
            if (row < rows && column < columns) y[((i64)which * rows + row) * columns + column] = sums[i][j];
        }
}
