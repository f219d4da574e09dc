// Interpolation: y = R x C', R and C matrices of few numbers in a row. See resampling.py.
#include "maps.cuh"

constexpr int NONE = 0x7fffffff;

// sum += weight * x.
__device__ __forceinline__ void add(Numbers& sum, Number weight, const Numbers& x) {
#pragma unroll
    for (int k = 0; k < LANES; ++k) sum.v[k] += weight * x.v[k];
}

#if TAPS
// Output i is the sum of weights[i TAPS + t] x[taps[i TAPS + t]], on both axes. A thread takes STRIP rows of the result
// that follow each other, and sums a row of x along its columns no more often than it must.
extern "C" __global__ void __launch_bounds__(THREADS, 1) resample(
    Index items, Number* __restrict__ y, const Number* __restrict__ x, i64 xn, i64 xh, i64 xw, int strips, int rows,
    int columns, int vectors, const int* __restrict__ row_taps, const Number* __restrict__ row_weights,
    const int* __restrict__ column_taps, const Number* __restrict__ column_weights
) {
    const Index item = thread();
    if (item >= items) return;
    const Place at = place(item, strips, columns, vectors);
    const Number* image = x + at.n * xn + at.c;
    i64 across[TAPS];
    Number weights[TAPS];
#pragma unroll
    for (int t = 0; t < TAPS; ++t) {
        across[t] = column_taps[at.j * TAPS + t] * xw;
        weights[t] = TAPS > 1 ? column_weights[at.j * TAPS + t] : Number(1);
    }
    int held[TAPS];  // rows of x, and their sums along the columns
    Numbers sums[TAPS];
#pragma unroll
    for (int t = 0; t < TAPS; ++t) held[t] = -1;
#pragma unroll
    for (int s = 0; s < STRIP; ++s) {
        const int i = at.i * STRIP + s;
        if (i >= rows) break;
        Numbers result = zeros();
#pragma unroll
        for (int t = 0; t < TAPS; ++t) {
            const int row = row_taps[i * TAPS + t];
            if (row != held[t]) {
                if (t + 1 < TAPS && row == held[(t + 1) % TAPS]) {
                    sums[t] = sums[(t + 1) % TAPS];
                } else {
#if TAPS == 1
                    sums[t] = load<Number, LANES>(image + row * xh + across[0]);
#else
                    Numbers parts[TAPS];
#pragma unroll
                    for (int v = 0; v < TAPS; ++v) parts[v] = load<Number, LANES>(image + row * xh + across[v]);
                    sums[t] = zeros();
#pragma unroll
                    for (int v = 0; v < TAPS; ++v) add(sums[t], weights[v], parts[v]);
#endif
                }
                held[t] = row;
            }
#if TAPS == 1
            result = sums[t];
#else
            add(result, row_weights[i * TAPS + t], sums[t]);
#endif
        }
        store<Number, LANES>(y + dense(at.n, i, at.j, at.c, rows, columns, vectors), result);
    }
}
#endif

// The gradient: input i is the sum of weights[t] grad[taps[t]] over first[i] <= t < first[i + 1], on both axes. A
// thread takes STRIP rows, and sums a row of grad along its columns once for all of them, MOST taps at a time.
extern "C" __global__ void __launch_bounds__(THREADS, 1) resample_input(
    Index items, Number* __restrict__ dx, const Number* __restrict__ grad, i64 gn, i64 gh, i64 gw, int strips,
    int rows, int columns, int vectors, const int* __restrict__ row_first, const int* __restrict__ row_taps,
    const Number* __restrict__ row_weights, const int* __restrict__ column_first, const int* __restrict__ column_taps,
    const Number* __restrict__ column_weights
) {
    const Index item = thread();
    if (item >= items) return;
    const Place at = place(item, strips, columns, vectors);
    const Number* image = grad + at.n * gn + at.c;
    const int begin = column_first[at.j], count = column_first[at.j + 1] - begin;
    int next[STRIP], end[STRIP];  // taps of each row of the strip that are still to come, in the order of grad's rows
    Numbers sums[STRIP];
#pragma unroll
    for (int s = 0; s < STRIP; ++s) {
        const int i = at.i * STRIP + s;
        next[s] = i < rows ? row_first[i] : 0;
        end[s] = i < rows ? row_first[i + 1] : 0;
        sums[s] = zeros();
    }
    while (count) {
        int row = NONE;
#pragma unroll
        for (int s = 0; s < STRIP; ++s) {
            if (next[s] < end[s]) row = min(row, row_taps[next[s]]);
        }
        if (row == NONE) break;
        const Number* line = image + row * gh;
        Numbers sum = zeros();
#pragma unroll 1
        for (int t = 0; t < count; t += MOST) {
            Numbers parts[MOST];
            Number weights[MOST];
#pragma unroll
            for (int v = 0; v < MOST; ++v) {  // the last again, where there are fewer
                const int tap = begin + min(t + v, count - 1);
                parts[v] = load<Number, LANES>(line + column_taps[tap] * gw);
                weights[v] = column_weights[tap];
            }
#pragma unroll
            for (int v = 0; v < MOST; ++v) {
                if (t + v < count) add(sum, weights[v], parts[v]);
            }
        }
#pragma unroll
        for (int s = 0; s < STRIP; ++s) {
#pragma unroll 1
            for (; next[s] < end[s] && row_taps[next[s]] == row; ++next[s]) add(sums[s], row_weights[next[s]], sum);
        }
    }
#pragma unroll
    for (int s = 0; s < STRIP; ++s) {
        const int i = at.i * STRIP + s;
        if (i < rows) store<Number, LANES>(dx + dense(at.n, i, at.j, at.c, rows, columns, vectors), sums[s]);
    }
}
