// Correlation: a convolution, or the phases of a transposed one, as a product of pixels and filters.
//
// y[pixel, f] = act(bias[f] + sum over taps u, v and channels c of x[pixel's, u, v, c] w[f, u, v, c]).
// -D: those of pipeline.cuh, VECTOR (1 or 4 numbers copied at once), TURNED (0: w has channels side by side; 1: filters),
// PHASED (1: the transposed map), WHOLE (1: DEPTH divides the channels), OFFSET (int or i64: what counts numbers in
// memory), BLOCKS (of a multiprocessor).
#include "axis.cuh"
#include "order.cuh"
#include "pipeline.cuh"
#include "vector.cuh"

struct Map {
    const float* data;
    OFFSET first, image, row, pixel;  // where it begins, strides
    int height, width;
};

struct Filters {
    const float* data;
    OFFSET first, filter, channel, row, column;
};

// Where the channels are whole steps, all threads share the tap of a step, and each begins so many channels further on.
__device__ __forceinline__ constexpr int beyond(int depth) { return WHOLE ? depth : 0; }

// The pixels that the rows of a block see, one tap and some channels at a time.
struct Pixels {
    using Layout = Along<BM>;
    using Part = AlongPart<BM, VECTOR>;
    const float* data;
    OFFSET offset[Part::EACH], down, right;
    int row[Part::EACH], column[Part::EACH], height, width, taps, columns, channels, back_row, back_column;
    unsigned start;
    Tap& tap;

    __device__ __forceinline__ Pixels(const Map& x, const Axis& r, const Axis& q, int from, int pixels, int channels, Tap& tap)
        : data(x.data), down(r.back * x.row), right(q.back * x.pixel), height(x.height), width(x.width), taps(r.taps),
          columns(q.taps), channels(channels), back_row(r.back), back_column(q.back),
          start(Layout::place(Part::row(), Part::depth())), tap(tap) {
#pragma unroll
        for (int i = 0; i < Part::EACH; ++i) {
            const int number = from + Part::row() + i * Part::APART;
            const int plane = r.count * q.count, image = number / plane, rest = number % plane;
            column[i] = q.origin + rest % q.count * q.stride;
            row[i] = r.origin + rest / q.count * r.stride;
            offset[i] = x.first + image * x.image + row[i] * x.row + column[i] * x.pixel + beyond(Part::depth());
            if (number >= pixels) row[i] = -(1 << 30);  // and so is never on the map
        }
    }

    // The tap is the weights' to advance where they share it.
    __device__ __forceinline__ void load(unsigned to) {
        const OFFSET moved = tap.u * down + tap.v * right + tap.c;
        const int below = WHOLE || tap.u < taps ? tap.u * back_row : -(1 << 30), beside = tap.v * back_column;
#pragma unroll
        for (int i = 0; i < Part::EACH; ++i) {
            const bool there = unsigned(row[i] + below) < unsigned(height) && unsigned(column[i] + beside) < unsigned(width);
            copy<VECTOR>(to + Part::place(start, i), data + plus(offset[i], moved), there);
        }
        if (!WHOLE) tap.advance(DEPTH, columns, channels, false);
    }
};

#if TURNED
// Filters whose numbers of one tap and channel lie side by side.
struct Weights {
    using Layout = Across<BN>;
    using Part = AcrossPart<BN, VECTOR>;
    const float* data;
    OFFSET first, down, right, channel, apart;
    int taps, columns, channels;
    bool there;
    unsigned start;
    Tap& tap;

    __device__ __forceinline__ Weights(const Filters& w, const Axis& r, const Axis& q, int from, int filters, int channels, Tap& tap)
        : data(w.data), down(r.skip * w.row), right(q.skip * w.column), channel(w.channel), apart(Part::APART * w.channel),
          taps(r.taps), columns(q.taps), channels(channels), there(from + Part::row() < filters),
          start(Layout::place(Part::row(), Part::depth())), tap(tap) {
        first = w.first + r.tap * w.row + q.tap * w.column + from + Part::row() + beyond(Part::depth()) * channel;
    }

    __device__ __forceinline__ const float* from() const {
        return data + plus(first, tap.u * down + tap.v * right + tap.c * channel);
    }

    __device__ __forceinline__ void load(unsigned to) {
        const float* from = this->from();
#pragma unroll
        for (int i = 0; i < Part::EACH; ++i) {
            copy<VECTOR>(to + Part::place(start, i), from, there && (WHOLE || tap.u < taps));
            if (WHOLE) {
                from += apart;
            } else {
                tap.advance(Part::APART, columns, channels, false);
                from = this->from();
            }
        }
        if (WHOLE) tap.advance(DEPTH, columns, channels, true);
    }
};
#else
// Filters whose channels lie side by side.
struct Weights {
    using Layout = Along<BN>;
    using Part = AlongPart<BN, VECTOR>;
    const float* data;
    OFFSET first, down, right, apart;
    int taps, columns, channels, filters;
    unsigned start;
    Tap& tap;

    __device__ __forceinline__ Weights(const Filters& w, const Axis& r, const Axis& q, int from, int count, int channels, Tap& tap)
        : data(w.data), down(r.skip * w.row), right(q.skip * w.column), apart(Part::APART * w.filter), taps(r.taps),
          columns(q.taps), channels(channels), filters(count - from - Part::row()),
          start(Layout::place(Part::row(), Part::depth())), tap(tap) {
        first = w.first + r.tap * w.row + q.tap * w.column + (from + Part::row()) * w.filter + beyond(Part::depth());
    }

    __device__ __forceinline__ void load(unsigned to) {
        const float* from = data + plus(first, tap.u * down + tap.v * right + tap.c);
        const int most = tap.u < taps ? filters : 0;
#pragma unroll
        for (int i = 0; i < Part::EACH; ++i)
            copy<VECTOR>(to + Part::place(start, i), from + i * apart, i * Part::APART < most);
        tap.advance(DEPTH, columns, channels, WHOLE);
    }
};
#endif

// channels, filters: of a group. tiles: of pixels, at most, for each phase. steps: of a split. Split s writes its sums
// apart * s further on. biased, rectified: whether
// the bias is added, and what is below 0 made 0 (NaN stays); vectors: whether neighbours are written at once.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) correlate(
    const float* x, const float* w, const float* bias, float* y, OFFSET x_image, OFFSET x_row, OFFSET x_pixel,
    OFFSET w_filter, OFFSET w_channel, OFFSET w_row, OFFSET w_column, OFFSET w_group, OFFSET y_image, OFFSET y_row,
    OFFSET y_pixel, i64 apart, int images, int height, int width, int rows, int columns, int channels, int filters,
    int groups, int kernel_rows, int kernel_columns, int stride_rows, int stride_columns, int dilation_rows,
    int dilation_columns, int top, int left, int tiles, int steps, int biased, int rectified, int vectors
) {
    extern __shared__ __align__(128) float memory[];
    int block = blockIdx.x;
    auto next = [&](int count) { const int i = block % count; block /= count; return i; };
    const int from_filter = next((filters + BN - 1) / BN) * BN, from_pixel = next(tiles) * BM;
    const int phase_column = next(PHASED ? stride_columns : 1), phase_row = next(PHASED ? stride_rows : 1);
    const int group = next(groups), split = block;
    const Axis r = axis_of(PHASED, phase_row, rows, kernel_rows, stride_rows, dilation_rows, top);
    const Axis q = axis_of(PHASED, phase_column, columns, kernel_columns, stride_columns, dilation_columns, left);
    const int pixels = images * r.count * q.count;
    if (from_pixel >= pixels) return;

    Sums<WM, WN> sums;
    sums.clear();
    const int all = (r.taps * q.taps * channels + DEPTH - 1) / DEPTH, begin = split * steps;
    const int mine = min(steps, all - begin);
    if (mine > 0) {
        const Map map = {x, group * channels, x_image, x_row, x_pixel, height, width};
        const Filters weight = {w, group * w_group, w_filter, w_channel, w_row, w_column};
        const int depth = begin * DEPTH;
        const auto at = [&](int part) { return Tap(depth + part - beyond(part), q.taps, channels); };
        Tap of_pixels = at(Pixels::Part::depth()), of_weights = at(Weights::Part::depth());
        Pixels a(map, r, q, from_pixel, pixels, channels, of_pixels);
        Weights b(weight, r, q, from_filter, filters, channels, WHOLE ? of_pixels : of_weights);
        reduce(sums, a, b, mine, memory);
    }

    using Columns = Weights::Layout;
    y += group * filters + split * apart;
    const int plane = r.count * q.count, lane = threadIdx.x % 32;
    const int first_filter = from_filter + warp_column();
#pragma unroll
    for (int e = 0; e < WM / 8; ++e) {
        const int number = from_pixel + warp_row() + Pixels::Layout::row(e, lane);
        if (number >= pixels) continue;
        const int image = number / plane, rest = number % plane;
        float* to = y + (image * y_image + (r.first + rest / q.count * r.step) * y_row +
                         (q.first + rest % q.count * q.step) * y_pixel);
#pragma unroll
        for (int part = 0; part < WN / 4 / Columns::WIDTH; ++part) {
            float values[Columns::WIDTH];
            sums.part<Columns>(e, part, values);
            const int filter = first_filter + Columns::column(part, lane);
#pragma unroll
            for (int k = 0; k < Columns::WIDTH; ++k) {
                if (biased && filter + k < filters) values[k] += bias[group * filters + filter + k];
                if (rectified) values[k] = values[k] < 0 ? 0 : values[k];
            }
            store_part(to, values, filter, filters, vectors);
        }
    }
}
