// The gradient of a convolution with respect to its weight, as a product of maps over their pixels.
//
// dw[f, u, v, c] = sum over pixels p of g[p, f] x[p's, u, v, c]: rows f, columns (u, v, c), of each group; sums of some
// of the pixels, one split after another, where there are several (`add_splits` adds them).
// -D: those of pipeline.cuh, VECTOR_X VECTOR_G (1 or 4 numbers copied at once), OFFSET (int or i64: what counts
// numbers in memory), BLOCKS (of a multiprocessor).
#include "order.cuh"
#include "pipeline.cuh"

struct Map {
    const float* data;
    OFFSET first, image, row, pixel;  // where it begins, strides

    __device__ __forceinline__ const float* at(int n, int i, int j) const {
        return data + plus(first, plus(plus(times(n, image), times(i, row)), times(j, pixel)));
    }
};

// The pixels of the result that a split sums over: those of the next step, from `number` on, and all below `end`.
struct Pixels {
    int number, end, rows, columns;
    Divisor line, image;  // the pixels of one
};

// The result's gradient: pixels times filters.
struct Gradient {
    using Layout = Across<BM>;
    using Part = AcrossPart<BM, VECTOR_G>;
    Map g;
    const Pixels& pixels;
    int end;
    unsigned start;

    __device__ __forceinline__ Gradient(Map map, int from, int filters, const Pixels& pixels)
        : g(map), pixels(pixels), end(from + Part::row() < filters ? pixels.end : 0),
          start(Layout::place(Part::row(), Part::depth())) {
        g.first += from + Part::row();
        g.image -= pixels.rows * g.row;  // from the end of the last one
        g.row -= pixels.columns * g.pixel;
    }

    __device__ __forceinline__ void load(unsigned to) {
#pragma unroll
        for (int n = 0; n < Part::EACH; ++n) {
            const int each = pixels.number + Part::depth() + n * Part::APART;
            copy<VECTOR_G>(to + Part::place(start, n), g.at(each / pixels.image, each / pixels.line, each), each < end);
        }
    }
};

// What they saw: pixels times taps and channels.
struct Seen {
    using Layout = Across<BN>;
    using Part = AcrossPart<BN, VECTOR_X>;
    Map x;
    Pixels& pixels;
    int height, width, row, column;
    u32 stride_rows, stride_columns, back_rows, back_columns;  // back: to the first of the next image, or row
    unsigned start;

    // row, column: of the first tap, for pixel (0, 0).
    __device__ __forceinline__ Seen(
        Map map, int height, int width, int from, int channels, int taps, int taps_columns, int2 stride, int2 dilation,
        int2 origin, Pixels& pixels
    )
        : x(map), pixels(pixels), height(height), width(width), stride_rows(stride.x), stride_columns(stride.y),
          back_rows(-pixels.rows * stride_rows), back_columns(-pixels.columns * stride_columns),
          start(Layout::place(Part::row(), Part::depth())) {
        const int place = from + Part::row(), tap = place / channels;
        row = tap < taps ? origin.x + tap / taps_columns * dilation.x : -(1 << 30);  // and so is never on the map
        column = origin.y + tap % taps_columns * dilation.y;
        x.first += place % channels;
    }

    __device__ __forceinline__ void load(unsigned to) {
#pragma unroll
        for (int n = 0; n < Part::EACH; ++n) {
            const int each = pixels.number + Part::depth() + n * Part::APART;
            const int image = each / pixels.image, line = each / pixels.line;
            const int i = row + line * stride_rows + image * back_rows;
            const int j = column + each * stride_columns + line * back_columns;
            const bool there = each < pixels.end && unsigned(i) < unsigned(height) && unsigned(j) < unsigned(width);
            copy<VECTOR_X>(to + Part::place(start, n), x.at(image, i, j), there);
        }
        pixels.number += DEPTH;
    }
};

// channels, filters: of a group. share: the pixels of a split. Split s writes its sums apart * s further on.
// vectors: whether neighbours are written at once.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) correlate_weight(
    const float* x, const float* g, float* y, OFFSET x_image, OFFSET x_row, OFFSET x_pixel, OFFSET g_image, OFFSET g_row,
    OFFSET g_pixel, i64 y_filter, i64 apart, int images, int height, int width, int rows, int columns, int channels,
    int filters, int groups, int kernel_rows, int kernel_columns, int stride_rows, int stride_columns, int dilation_rows,
    int dilation_columns, int top, int left, u32 line_factor, int line_shift, u32 image_factor, int image_shift,
    int share, int vectors
) {
    extern __shared__ __align__(128) float memory[];
    const int taps = kernel_rows * kernel_columns, numbers = taps * channels;
    int block = blockIdx.x;
    auto next = [&](int count) { const int i = block % count; block /= count; return i; };
    const int from_number = next((numbers + BN - 1) / BN) * BN, from_filter = next((filters + BM - 1) / BM) * BM;
    const int group = next(groups), split = block;
    const int begin = split * share, end = min(begin + share, images * rows * columns);

    Sums<WM, WN> sums;
    sums.clear();
    if (begin < end) {
        Pixels pixels = {begin, end, rows, columns, {line_factor, line_shift}, {image_factor, image_shift}};
        Gradient a({g, group * filters, g_image, g_row, g_pixel}, from_filter, filters, pixels);
        Seen b(
            {x, group * channels, x_image, x_row, x_pixel}, height, width, from_number, channels, taps, kernel_columns,
            {stride_rows, stride_columns}, {dilation_rows, dilation_columns}, {-top, -left}, pixels
        );
        reduce(sums, a, b, (end - begin + DEPTH - 1) / DEPTH, memory);
    }

    using Columns = Seen::Layout;
    const int lane = threadIdx.x % 32, first_number = from_number + warp_column();
    y += split * apart;
#pragma unroll
    for (int e = 0; e < WM / 8; ++e) {
        const int filter = from_filter + warp_row() + Gradient::Layout::row(e, lane);
        if (filter >= filters) continue;
#pragma unroll
        for (int part = 0; part < WN / 4 / Columns::WIDTH; ++part) {
            float values[Columns::WIDTH];
            sums.part<Columns>(e, part, values);
            store_part(
                y + (group * filters + filter) * y_filter, values, first_number + Columns::column(part, lane), numbers,
                vectors
            );
        }
    }
}
