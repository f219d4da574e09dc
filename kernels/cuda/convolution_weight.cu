// The gradient of a convolution with respect to its weight, as a product of maps over their pixels.
//
// dw[f, u, v, c] = sum over pixels p of g[p, f] x[p's, u, v, c]: rows f, columns (u, v, c), of each group; sums of some
// of the pixels, one split after another, where there are several (`add_splits` adds them).
// -D: those of pipeline.cuh, VECTOR_X VECTOR_G (1 or 4 numbers copied at once), OFFSET (int or i64: what counts
// numbers in memory), WIDE (1: rows of the result have DEPTH pixels at least), BLOCKS (of a multiprocessor).
#include "pipeline.cuh"
#include "order.cuh"

struct Map {
    const float* data;
    OFFSET image, row, pixel;  // strides
};

// The result's gradient: pixels times filters.
struct Gradient {
    using Layout = Across<BM>;
    using Part = AcrossPart<BM, VECTOR_G>;
    Map g;
    int rows, columns;
    bool there;
    unsigned start;
    Pixel pixel;

    __device__ __forceinline__ Gradient(Map map, int from, int filters, Pixel pixel, int rows, int columns)
        : g(map), rows(rows), columns(columns), there(from + Part::row() < filters),
          start(Layout::place(Part::row(), Part::depth())), pixel(pixel) {
        g.data += from + Part::row();
    }

    __device__ __forceinline__ void load(unsigned to) {
#pragma unroll
        for (int n = 0; n < Part::EACH; ++n) {
            const float* from = g.data + (pixel.image * g.image + pixel.i * g.row + pixel.j * g.pixel);
            copy<VECTOR_G>(to + Part::place(start, n), from, there && pixel.left > 0);
            pixel.advance(Part::APART, rows, columns, WIDE);
        }
    }
};

// What they saw: pixels times taps and channels.
struct Seen {
    using Layout = Across<BN>;
    using Part = AcrossPart<BN, VECTOR_X>;
    Map x;
    int height, width, rows, columns, stride_rows, stride_columns, row, column;
    unsigned start;
    Pixel pixel;

    // row, column: of the first tap, for pixel (0, 0).
    __device__ __forceinline__ Seen(
        Map map, int height, int width, int from, int channels, int taps, int taps_columns, int2 stride, int2 dilation,
        int2 origin, Pixel pixel, int rows, int columns
    )
        : x(map), height(height), width(width), rows(rows), columns(columns), stride_rows(stride.x),
          stride_columns(stride.y), start(Layout::place(Part::row(), Part::depth())), pixel(pixel) {
        const int number = from + Part::row(), tap = number / channels;
        row = tap < taps ? origin.x + tap / taps_columns * dilation.x : -(1 << 30);  // and so is never on the map
        column = origin.y + tap % taps_columns * dilation.y;
        x.data += number % channels;
    }

    __device__ __forceinline__ void load(unsigned to) {
#pragma unroll
        for (int n = 0; n < Part::EACH; ++n) {
            const int i = row + pixel.i * stride_rows, j = column + pixel.j * stride_columns;
            const bool there = pixel.left > 0 && unsigned(i) < unsigned(height) && unsigned(j) < unsigned(width);
            copy<VECTOR_X>(to + Part::place(start, n), x.data + (pixel.image * x.image + i * x.row + j * x.pixel), there);
            pixel.advance(Part::APART, rows, columns, WIDE);
        }
    }
};

// channels, filters: of a group. share: the pixels of a split. Split s writes its sums apart * s further on.
// vectors: whether neighbours are written at once.
extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) correlate_weight(
    const float* x, const float* g, float* y, OFFSET x_image, OFFSET x_row, OFFSET x_pixel, OFFSET g_image, OFFSET g_row,
    OFFSET g_pixel, i64 y_filter, i64 apart, int images, int height, int width, int rows, int columns, int channels,
    int filters, int groups, int kernel_rows, int kernel_columns, int stride_rows, int stride_columns, int dilation_rows,
    int dilation_columns, int top, int left, int share, int vectors
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
        Gradient a(
            {g + group * filters, g_image, g_row, g_pixel}, from_filter, filters,
            Pixel(begin + Gradient::Part::depth(), end, rows, columns), rows, columns
        );
        Seen b(
            {x + group * channels, x_image, x_row, x_pixel}, height, width, from_number, channels, taps, kernel_columns,
            {stride_rows, stride_columns}, {dilation_rows, dilation_columns}, {-top, -left},
            Pixel(begin + Seen::Part::depth(), end, rows, columns), rows, columns
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
