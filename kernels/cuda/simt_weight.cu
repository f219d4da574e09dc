// The gradient of a convolution with respect to its weight, as a product of maps over their pixels, on plain units.
//
// dw[f, u, v, c] = sum over pixels p of g[p, f] x[p's, u, v, c], in each group; of some pixels, one split after another.
// -D: those of simt.cuh.
#include "simt.cuh"
#include "order.cuh"

struct Map {
    const Number* data;
    i64 image, row, pixel;
};

struct Gradient {
    using Part = Across<BM>;
    const Map g;
    const int rows, columns, filter;
    const bool there;
    Pixel pixel;

    __device__ __forceinline__ Gradient(const Map& g, int rows, int columns, int first, int filters, int begin, int end)
        : g(g), rows(rows), columns(columns), filter(first + Part::line(0)), there(filter < filters),
          pixel(begin + Part::term(0), end, rows, columns) {}

    __device__ __forceinline__ void load(Number (&values)[Part::EACH]) {
#pragma unroll
        for (int n = 0; n < Part::EACH; ++n) {
            const i64 at = pixel.image * g.image + pixel.i * g.row + pixel.j * g.pixel + filter;
            values[n] = there && pixel.left > 0 ? g.data[at] : 0;
            pixel.advance(Part::AFTER_ONE, rows, columns);
        }
    }
};

struct Window {
    int stride_rows, stride_columns, dilation_rows, dilation_columns, top, left;
};

struct Seen {
    using Part = Across<BN>;
    const Map x;
    const int height, width, rows, columns, stride_rows, stride_columns;
    int row, column, channel;
    Pixel pixel;

    __device__ __forceinline__ Seen(
        const Map& x, int height, int width, const Window& window, int kernel_columns, int first, int numbers, int channels,
        int rows, int columns, int begin, int end
    )
        : x(x), height(height), width(width), rows(rows), columns(columns), stride_rows(window.stride_rows),
          stride_columns(window.stride_columns), pixel(begin + Part::term(0), end, rows, columns) {
        const int number = first + Part::line(0), tap = number / channels;
        row = number < numbers ? tap / kernel_columns * window.dilation_rows - window.top : -(1 << 30);  // on no map
        column = tap % kernel_columns * window.dilation_columns - window.left;
        channel = number % channels;
    }

    __device__ __forceinline__ void load(Number (&values)[Part::EACH]) {
#pragma unroll
        for (int n = 0; n < Part::EACH; ++n) {
            const int i = row + pixel.i * stride_rows, j = column + pixel.j * stride_columns;
            const bool there = pixel.left > 0 && unsigned(i) < unsigned(height) && unsigned(j) < unsigned(width);
            values[n] = there ? x.data[pixel.image * x.image + i * x.row + j * x.pixel + channel] : 0;
            pixel.advance(Part::AFTER_ONE, rows, columns);
        }
    }
};

// channels, filters: of a group. share: pixels of a split, whose sums lie `apart` after those of the one before.
extern "C" __global__ void __launch_bounds__(THREADS, 2) correlate_weight_plainly(
    Number* __restrict__ y, const Number* __restrict__ g, const Number* __restrict__ x, i64 apart, i64 g_image, i64 g_row,
    i64 g_pixel, i64 x_image, i64 x_row, i64 x_pixel, int images, int height, int width, int rows, int columns,
    int channels, int filters, int groups, int kernel_rows, int kernel_columns, int stride_rows, int stride_columns,
    int dilation_rows, int dilation_columns, int top, int left, int share
) {
    u32 block = blockIdx.x;
    auto next = [&](u32 count) { const u32 i = block % count; block /= count; return int(i); };
    const int numbers = kernel_rows * kernel_columns * channels;
    const int first_number = next((numbers + BN - 1) / BN) * BN, first_filter = next((filters + BM - 1) / BM) * BM;
    const int group = next(groups), split = block, begin = split * share;
    const int end = min((i64)images * rows * columns, (i64)begin + share);

    Number sums[ROWS][COLUMNS] = {};
    if (begin < end) {
        const Window window = {stride_rows, stride_columns, dilation_rows, dilation_columns, top, left};
        Gradient a({g + group * filters, g_image, g_row, g_pixel}, rows, columns, first_filter, filters, begin, end);
        Seen b(
            {x + group * channels, x_image, x_row, x_pixel}, height, width, window, kernel_columns, first_number, numbers,
            channels, rows, columns, begin, end
        );
        multiply(sums, a, b, (end - begin + DEPTH - 1) / DEPTH);
    }

    y += split * apart;
#pragma unroll
    for (int e = 0; e < ROWS; ++e) {
        const int filter = first_filter + place(e, threadIdx.x / SIDE);
        if (filter >= filters) continue;
#pragma unroll
        for (int k = 0; k < COLUMNS; ++k) {
            const int number = first_number + place(k, threadIdx.x % SIDE);
            if (number < numbers) y[(group * filters + filter) * (i64)numbers + number] = sums[e][k];
        }
    }
}
