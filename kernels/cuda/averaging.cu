// Average pooling and its gradient; sums and quotients are double. See averaging.py.
#include "window.cuh"

// What the sum of a window is divided by: `given` unless it is 0, else how many of its pixels count, of those before
// (bottom, right) and, if not `outside`, not before (0, 0) either.
struct Divisor {
    double given;
    int outside, bottom, right;

    // For the window that starts at (p, q).
    __device__ __forceinline__ double operator()(int p, int q) const {
        if (given != 0) return given;
        const int high = min(p + KH, bottom) - (outside ? p : max(p, 0));
        const int broad = min(q + KW, right) - (outside ? q : max(q, 0));
        return double(high) * broad;
    }
};

// INSIDE: no window leaves the map.
extern "C" __global__ void __launch_bounds__(THREADS, 1) avg_pool(
    Index items, Number* __restrict__ y, const Number* __restrict__ x, i64 xn, i64 xh, i64 xw, int height, int width,
    int rows, int columns, int vectors, int top, int left, double given, int outside, int bottom, int right
) {
    const Index item = thread();
    if (item >= items) return;
    const Divisor divisor = {given, outside, bottom, right};
    const Place at = place(item, rows, columns, vectors);
    const int p = at.i * SH - top, q = at.j * SW - left;
    const Number* image = x + at.n * xn + at.c;
    double sum[LANES] = {};
#pragma unroll TAPS_H
    for (int u = 0; u < KH; ++u) {
        const Number* row = image + (INSIDE ? p + u : clamped(p + u, height)) * xh;
#pragma unroll TAPS_W
        for (int v = 0; v < KW; ++v) {
            const bool here = INSIDE || (exists(p + u, height) && exists(q + v, width));
            const Numbers value = load<Number, LANES>(row + (INSIDE ? q + v : clamped(q + v, width)) * xw);
#pragma unroll
            for (int k = 0; k < LANES; ++k) sum[k] += here ? value.v[k] : Number(0);
        }
    }
    const double by = divisor(p, q);
    Numbers mean;
#pragma unroll
    for (int k = 0; k < LANES; ++k) mean.v[k] = sum[k] / by;
    store<Number, LANES>(y + (i64)item * LANES, mean);
}

// The gradient: each pixel sums the quotients of the windows that it is in, in their order.
extern "C" __global__ void __launch_bounds__(THREADS, 1) avg_pool_input(
    Index items, Number* __restrict__ dx, const Number* __restrict__ grad, i64 gn, i64 gh, i64 gw, int height,
    int width, int rows, int columns, int vectors, int top, int left, double given, int outside, int bottom, int right
) {
    const Index item = thread();
    if (item >= items) return;
    const Divisor divisor = {given, outside, bottom, right};
    const Place at = place(item, height, width, vectors);
    const int p = at.i + top, q = at.j + left;
    const Number* image = grad + at.n * gn + at.c;
    double sum[LANES] = {};
#pragma unroll AROUND_H
    for (int back = WINDOWS_H - 1; back >= 0; --back) {
        const int i = p / SH - back;
        const Number* row = image + clamped(i, rows) * gh;
#pragma unroll(WINDOWS_H == AROUND_H ? AROUND_W : 1)  // with more divisions in a row registers run out
        for (int before = WINDOWS_W - 1; before >= 0; --before) {
            const int j = q / SW - before;
            const bool here = exists(i, rows) && exists(j, columns) && reaching<KH, 1>(p, i * SH) >= 0 &&
                              reaching<KW, 1>(q, j * SW) >= 0;
            const Numbers value = load<Number, LANES>(row + clamped(j, columns) * gw);
            const double by = here ? divisor(i * SH - top, j * SW - left) : 1.0;
#pragma unroll
            for (int k = 0; k < LANES; ++k) sum[k] += here ? value.v[k] / by : 0.0;
        }
    }
    Numbers total;
#pragma unroll
    for (int k = 0; k < LANES; ++k) total.v[k] = sum[k];
    store<Number, LANES>(dx + (i64)item * LANES, total);
}

// The same where windows share no pixel: each fills its block of SH x SW pixels.
extern "C" __global__ void __launch_bounds__(THREADS, 1) avg_pool_input_apart(
    Index items, Number* __restrict__ dx, const Number* __restrict__ grad, i64 gn, i64 gh, i64 gw, int height,
    int width, int rows, int columns, int vectors, int top, int left, double given, int outside, int bottom, int right,
    int block_rows, int block_columns
) {
    const Index item = thread();
    if (item >= items) return;
    const Divisor divisor = {given, outside, bottom, right};
    const Place at = place(item, block_rows, block_columns, vectors);
    const int p = at.i * SH - top, q = at.j * SW - left;
    Numbers share = zeros();
    if (at.i < rows && at.j < columns) {
        const Numbers value = load<Number, LANES>(grad + at.n * gn + at.i * gh + at.j * gw + at.c);
        const double by = divisor(p, q);
#pragma unroll
        for (int k = 0; k < LANES; ++k) share.v[k] = value.v[k] / by;
    }
#pragma unroll STEP_H
    for (int u = 0; u < SH; ++u) {
#pragma unroll STEP_W
        for (int v = 0; v < SW; ++v) {
            if (exists(p + u, height) && exists(q + v, width)) {
                store<Number, LANES>(
                    dx + dense(at.n, p + u, q + v, at.c, height, width, vectors), u < KH && v < KW ? share : zeros()
                );
            }
        }
    }
}
