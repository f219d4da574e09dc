// Max-pooling, and its gradient from the winners' places in their windows. See pooling.py.
#include "window.cuh"

typedef CODE Code;  // of a winner: u8 or int for its tap, i64 for its place in the plane
typedef Vector<Code, LANES> Codes;

// y, and with CODES 1 the winning taps, 2 their places. INSIDE: no window leaves the map.
extern "C" __global__ void __launch_bounds__(THREADS, 1) max_pool(
    Index items, Number* __restrict__ y, Code* __restrict__ codes, const Number* __restrict__ x, i64 xn, i64 xh, i64 xw,
    int height, int width, int rows, int columns, int vectors, int top, int left
) {
    const Index item = thread();
    if (item >= items) return;
    const Place at = place(item, rows, columns, vectors);
    const int p = at.i * SH - top, q = at.j * SW - left;
    const int first = INSIDE ? 0 : first_tap(p, DH) * KW + first_tap(q, DW);
    const Number* image = x + at.n * xn + at.c;
    Numbers best;
    int won[LANES];
#pragma unroll
    for (int k = 0; k < LANES; ++k) best.v[k] = -__int_as_float(0x7f800000), won[k] = first;  // infinity
#pragma unroll TAPS_H
    for (int u = 0; u < KH; ++u) {
        const int i = p + u * DH;
        const Number* row = image + (INSIDE ? i : clamped(i, height)) * xh;
#pragma unroll TAPS_W
        for (int v = 0; v < KW; ++v) {
            const int j = q + v * DW;
            const bool here = INSIDE || (exists(i, height) && exists(j, width));
            const Numbers value = load<Number, LANES>(row + (INSIDE ? j : clamped(j, width)) * xw);
#pragma unroll
            for (int k = 0; k < LANES; ++k) {  // the first of equals stays, NaN comes before all, of several the first
                const bool wins = here && !(value.v[k] <= best.v[k]) && best.v[k] == best.v[k];
                best.v[k] = wins ? value.v[k] : best.v[k];
                won[k] = wins ? u * KW + v : won[k];
            }
        }
    }
    store<Number, LANES>(y + (i64)item * LANES, best);
#if CODES
    Codes code;
#pragma unroll
    for (int k = 0; k < LANES; ++k) {
        const int tap = won[k];
        code.v[k] = CODES == 1 ? Code(tap) : Code(i64(p + tap / KW * DH) * width + q + tap % KW * DW);
    }
    store<Code, LANES>(codes + (i64)item * LANES, code);
#endif
}

// The winners' places in the plane, from their taps.
extern "C" __global__ void __launch_bounds__(THREADS, 1) max_pool_indices(
    Index items, i64* __restrict__ y, const Code* __restrict__ codes, i64 cn, i64 ch, i64 cw, int width, int rows,
    int columns, int vectors, int top, int left
) {
    const Index item = thread();
    if (item >= items) return;
    const Place at = place(item, rows, columns, vectors);
    const Codes code = load<Code, LANES>(codes + at.n * cn + at.i * ch + at.j * cw + at.c);
    const i64 p = at.i * SH - top, q = at.j * SW - left;
    Vector<i64, LANES> index;
#pragma unroll
    for (int k = 0; k < LANES; ++k) {
        const int tap = code.v[k];
        index.v[k] = (p + tap / KW * DH) * width + q + tap % KW * DW;
    }
    store<i64, LANES>(y + (i64)item * LANES, index);
}

// The gradient: each pixel looks at the windows that reach it, in their order.
extern "C" __global__ void __launch_bounds__(THREADS, 1) max_pool_input(
    Index items, Number* __restrict__ dx, const Code* __restrict__ codes, i64 cn, i64 ch, i64 cw,
    const Number* __restrict__ grad, i64 gn, i64 gh, i64 gw, int height, int width, int rows, int columns, int vectors,
    int top, int left
) {
    const Index item = thread();
    if (item >= items) return;
    const Place at = place(item, height, width, vectors);
    const int p = at.i + top, q = at.j + left;
    const Code* code_image = codes + at.n * cn + at.c;
    const Number* grad_image = grad + at.n * gn + at.c;
    Numbers sum = zeros();
#pragma unroll AROUND_H
    for (int back = WINDOWS_H - 1; back >= 0; --back) {
        const int i = p / SH - back, u = reaching<KH, DH>(p, i * SH);
        const i64 near_i = clamped(i, rows);
#pragma unroll AROUND_W
        for (int before = WINDOWS_W - 1; before >= 0; --before) {
            const int j = q / SW - before, v = reaching<KW, DW>(q, j * SW);
            const i64 near_j = clamped(j, columns);
            const bool here = exists(i, rows) && exists(j, columns) && u >= 0 && v >= 0;
            const Codes code = load<Code, LANES>(code_image + near_i * ch + near_j * cw);
            const Numbers value = load<Number, LANES>(grad_image + near_i * gh + near_j * gw);
#pragma unroll
            for (int k = 0; k < LANES; ++k) sum.v[k] += here && code.v[k] == u * KW + v ? value.v[k] : Number(0);
        }
    }
    store<Number, LANES>(dx + (i64)item * LANES, sum);
}

// The same where windows share no pixel: each gives its block of SH x SW pixels to the one that won, and 0 to the rest.
extern "C" __global__ void __launch_bounds__(THREADS, 1) max_pool_input_apart(
    Index items, Number* __restrict__ dx, const Code* __restrict__ codes, i64 cn, i64 ch, i64 cw,
    const Number* __restrict__ grad, i64 gn, i64 gh, i64 gw, int height, int width, int rows, int columns, int vectors,
    int top, int left, int block_rows, int block_columns
) {
    const Index item = thread();
    if (item >= items) return;
    const Place at = place(item, block_rows, block_columns, vectors);
    Numbers value = zeros();
    Codes code;
#pragma unroll
    for (int k = 0; k < LANES; ++k) code.v[k] = 0;
    if (at.i < rows && at.j < columns) {
        code = load<Code, LANES>(codes + at.n * cn + at.i * ch + at.j * cw + at.c);
        value = load<Number, LANES>(grad + at.n * gn + at.i * gh + at.j * gw + at.c);
    }
#pragma unroll STEP_H
    for (int u = 0; u < SH; ++u) {
        const int i = at.i * SH - top + u;
#pragma unroll STEP_W
        for (int v = 0; v < SW; ++v) {
            const int j = at.j * SW - left + v;
            Numbers part;
#pragma unroll
            for (int k = 0; k < LANES; ++k) {
                part.v[k] = u < KH && v < KW && code.v[k] == u * KW + v ? value.v[k] : Number(0);
            }
            if (exists(i, height) && exists(j, width)) {
                store<Number, LANES>(dx + dense(at.n, i, j, at.c, height, width, vectors), part);
            }
        }
    }
}
