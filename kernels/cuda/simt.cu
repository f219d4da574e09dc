// Correlation: a convolution, or the phases of a transposed one, as a product of pixels and filters on plain units.
//
// y[pixel, f] = act(bias[f] + sum over taps u, v and channels c of x[pixel's, u, v, c] w[f, u, v, c]), in each group.
// -D: those of simt.cuh, TURNED (1: the transposed one), ACROSS (1: neighbouring threads read neighbouring filters of
// w; 0: channels), BIAS, RELU.
#include "axis.cuh"
#include "order.cuh"
#include "simt.cuh"

struct Map {
    const Number* data;
    i64 image, row, pixel;
    int height, width;
};

struct Pixels {
    using Part = Along<BM>;
    const Number* from[Part::EACH];
    int row[Part::EACH], column[Part::EACH];
    const Map x;
    const Axis r, q;
    const int channels;
    Tap tap;

    __device__ __forceinline__ Pixels(const Map& x, const Axis& r, const Axis& q, int first, int pixels, int channels)
        : x(x), r(r), q(q), channels(channels), tap(Part::term(0), max(q.taps, 1), channels) {
#pragma unroll
        for (int i = 0; i < Part::EACH; ++i) {
            const int number = first + Part::line(i), line = number / q.count;
            column[i] = q.origin + number % q.count * q.stride;
            row[i] = number < pixels ? r.origin + line % r.count * r.stride : -(1 << 30);  // which is on no map
            from[i] = x.data + line / r.count * x.image + row[i] * x.row + column[i] * x.pixel;
        }
    }

    __device__ __forceinline__ void load(Number (&values)[Part::EACH]) {
        const int down = tap.u * r.back, right = tap.v * q.back;
        const i64 to = down * x.row + right * x.pixel + tap.c;
#pragma unroll
        for (int i = 0; i < Part::EACH; ++i) {
            const bool there = unsigned(row[i] + down) < unsigned(x.height) && unsigned(column[i] + right) < unsigned(x.width);
            values[i] = there && tap.u < r.taps ? from[i][to] : 0;
        }
        tap.advance(Part::AFTER_ALL, q.taps, channels, false);
    }
};

struct Filters {
#if ACROSS
    using Part = Across<BN>;
#else
    using Part = Along<BN>;
#endif
    const Number* w;
    const i64 filter, channel, down, right;
    const int rows, columns, channels, left;
    Tap tap;

    // first, count: of the group's filters. filter, channel, row, column: strides.
    __device__ __forceinline__ Filters(
        const Number* w, i64 filter, i64 channel, i64 row, i64 column, const Axis& r, const Axis& q, int first, int count,
        int channels
    )
        : w(w + r.tap * row + q.tap * column + (first + Part::line(0)) * filter), filter(filter), channel(channel),
          down(r.skip * row), right(q.skip * column), rows(r.taps), columns(q.taps), channels(channels),
          left(count - first), tap(Part::term(0), max(q.taps, 1), channels) {}

    __device__ __forceinline__ void load(Number (&values)[Part::EACH]) {
#pragma unroll
        for (int i = 0; i < Part::EACH; ++i) {
            const i64 at = tap.u * down + tap.v * right + tap.c * channel + (Part::line(i) - Part::line(0)) * filter;
            values[i] = tap.u < rows && Part::line(i) < left ? w[at] : 0;
            if (Part::AFTER_ONE) tap.advance(Part::AFTER_ONE, columns, channels, false);
        }
        if (Part::AFTER_ALL) tap.advance(Part::AFTER_ALL, columns, channels, false);
    }
};

// channels, filters: of a group. tiles: of pixels, at most, for each phase. w_filter, w_channel: strides along the
// filters and the channels of this correlation; w_group: from one group to the next.
extern "C" __global__ void __launch_bounds__(THREADS, 2) correlate_plainly(
    Number* __restrict__ y, const Number* __restrict__ x, const Number* __restrict__ w, const Number* __restrict__ bias,
    i64 y_image, i64 y_row, i64 y_pixel, i64 x_image, i64 x_row, i64 x_pixel, i64 w_group, i64 w_filter, i64 w_channel,
    i64 w_row, i64 w_column, int images, int height, int width, int rows, int columns, int channels, int filters,
    int groups, int kernel_rows, int kernel_columns, int stride_rows, int stride_columns, int dilation_rows,
    int dilation_columns, int top, int left, int tiles
) {
    u32 block = blockIdx.x;
    auto next = [&](u32 count) { const u32 i = block % count; block /= count; return int(i); };
    const int first_filter = next((filters + BN - 1) / BN) * BN, first_pixel = next(tiles) * BM, group = next(groups);
    const int phase_column = next(TURNED ? stride_columns : 1), phase_row = block;
    const Axis r = axis_of(TURNED, phase_row, rows, kernel_rows, stride_rows, dilation_rows, top);
    const Axis q = axis_of(TURNED, phase_column, columns, kernel_columns, stride_columns, dilation_columns, left);
    const int pixels = images * r.count * q.count, terms = r.taps * q.taps * channels;
    if (first_pixel >= pixels) return;

    Number sums[ROWS][COLUMNS] = {};
    if (terms > 0) {
        Pixels a({x + group * channels, x_image, x_row, x_pixel, height, width}, r, q, first_pixel, pixels, channels);
        Filters b(w + group * w_group, w_filter, w_channel, w_row, w_column, r, q, first_filter, filters, channels);
        multiply(sums, a, b, (terms + DEPTH - 1) / DEPTH);
    }

    y += group * filters;
#pragma unroll
    for (int e = 0; e < ROWS; ++e) {
        const int number = first_pixel + place(e, threadIdx.x / SIDE);
        if (number >= pixels) continue;
        const int line = number / q.count, i = r.first + line % r.count * r.step, j = q.first + number % q.count * q.step;
        Number* to = y + line / r.count * y_image + i * y_row + j * y_pixel;
#pragma unroll
        for (int k = 0; k < COLUMNS; ++k) {
            const int filter = first_filter + place(k, threadIdx.x % SIDE);
            if (filter >= filters) continue;
            Number value = sums[e][k];
            if (BIAS) value += bias[group * filters + filter];
            if (RELU) value = value < 0 ? 0 : value;  // NaN stays
            to[filter] = value;
        }
    }
}
