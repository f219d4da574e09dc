// The gradient of depthwise convolution with respect to its weight, in splits of the pixels. See depthwise.py.
//
// -D: those of depthwise.cuh, TAPS (neighbours in a row of the kernel that a thread sums: all, or one), FAN_X FAN_G
// (filters that see the same channel of a map).
#include "depthwise.cuh"

constexpr int GROUPS = KW / TAPS;  // of taps, in a row
constexpr int SEEN = (PIXELS - 1) * SW + (TAPS - 1) * DW + 1;

// The tap with which pixel p of the gradient meets column t of the input; -1 if with none.
__device__ __forceinline__ constexpr int tap(int p, int t) {
    const int distance = t - p * SW;
    return distance >= 0 && distance % DW == 0 && distance / DW < TAPS ? distance / DW : -1;
}

__device__ __forceinline__ constexpr bool wanted(int t) {
    for (int p = 0; p < PIXELS; ++p) {
        if (tap(p, t) >= 0) return true;
    }
    return false;
}

// parts[s, u, v, k] = sum over split s of the n, i, j of g[n, i, j, k / FAN_G] x[n, i's, j's, k / FAN_X].
// A block takes blockDim.x vectors of filters and blockDim.y groups of taps; blockDim.z threads take one strip of PIXELS
// columns after the other. share: strips of a split.
extern "C" __global__ void __launch_bounds__(256, 2) depthwise_weight(
    Number* __restrict__ parts, const Number* __restrict__ g, const Number* __restrict__ x, i64 g_image, i64 g_row,
    i64 g_pixel, i64 x_image, i64 x_row, i64 x_pixel, int images, int height, int width, int rows, int columns,
    int filters, int top, int left, int share
) {
    extern __shared__ __align__(16) unsigned char memory[];
    const int wide = blockDim.x * VECTOR, strips = (columns + PIXELS - 1) / PIXELS;
    u32 block = blockIdx.x;
    auto next = [&](u32 count) { const u32 i = block % count; block /= count; return int(i); };
    const int from = next((filters + wide - 1) / wide) * wide;
    const int first = next((KH * GROUPS + blockDim.y - 1) / blockDim.y) * blockDim.y;
    const int split = block, k = from + threadIdx.x * VECTOR, group = first + threadIdx.y;
    const int u = group / GROUPS, v = group % GROUPS * TAPS;

    Numbers sums[TAPS];
#pragma unroll
    for (int t = 0; t < TAPS; ++t) sums[t] = zeros();
    const int end = k < filters && u < KH ? min((i64)images * rows * strips, (split + (i64)1) * share) : 0;
    for (int n = split * share + threadIdx.z; n < end; n += blockDim.z) {
        const int j = n % strips * PIXELS, line = n / strips, i = line % rows, image = line / rows;
        const int p = i * SH - top + u * DH, start = j * SW - left + v * DW;
        if (unsigned(p) >= unsigned(height)) continue;
        const Number* from_g = g + image * g_image + i * g_row + j * g_pixel;
        const Number* from_x = x + image * x_image + p * x_row;
        Numbers grad[PIXELS];
#pragma unroll
        for (int q = 0; q < PIXELS; ++q) grad[q] = j + q < columns ? seen_by<FAN_G>(from_g + q * g_pixel, k) : zeros();
#pragma unroll
        for (int t = 0; t < SEEN; ++t) {
            if (!wanted(t)) continue;
            const bool there = unsigned(start + t) < unsigned(width);
            const Numbers value = there ? seen_by<FAN_X>(from_x + (start + t) * x_pixel, k) : zeros();
#pragma unroll
            for (int q = 0; q < PIXELS; ++q) {  // a pixel behind the last would make NaN of an input that is not its own
                if (tap(q, t) >= 0 && j + q < columns) add(sums[tap(q, t)], value, grad[q]);
            }
        }
    }

    // By strip, tap of the thread, group of taps and filter.
    Number* all = reinterpret_cast<Number*>(memory);
    const int size = TAPS * blockDim.y * wide;
#pragma unroll
    for (int t = 0; t < TAPS; ++t) {
        const int place = ((threadIdx.z * TAPS + t) * blockDim.y + threadIdx.y) * wide + threadIdx.x * VECTOR;
        *reinterpret_cast<Numbers*>(all + place) = sums[t];
    }
    __syncthreads();
    const int thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    for (int n = thread; n < size; n += blockDim.x * blockDim.y * blockDim.z) {
        Number sum = 0;
        for (int z = 0; z < blockDim.z; ++z) sum += all[z * size + n];
        const int filter = from + n % wide, t = n / wide / blockDim.y, taps = first + n / wide % blockDim.y;
        if (filter < filters && taps < KH * GROUPS) {
            const int number = taps / GROUPS * KW + taps % GROUPS * TAPS + t;
            parts[((i64)split * (KH * KW) + number) * filters + filter] = sum;
        }
    }
}

constexpr int TOGETHER = 32;  // threads that sum one number's parts, each every TOGETHER-th

// w[k, u, v] = sum over s of parts[s, u, v, k], in an order that depends on nothing but their number.
// inner: filters along the weight's second axis.
extern "C" __global__ void __launch_bounds__(32 * TOGETHER) add_parts(
    Number* __restrict__ w, const Number* __restrict__ parts, i64 w_outer, i64 w_inner, i64 w_row, i64 w_column,
    int inner, int filters, int splits
) {
    __shared__ double sums[TOGETHER][32];
    const i64 size = (i64)filters * (KH * KW), n = blockIdx.x * (i64)32 + threadIdx.x;
    double sum = 0;
    for (int s = threadIdx.y; s < splits && n < size; s += TOGETHER) sum += parts[s * size + n];
    sums[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y || n >= size) return;
    for (int s = 1; s < TOGETHER; ++s) sum += sums[s][threadIdx.x];
    const int k = n % filters, number = n / filters;
    w[k / inner * w_outer + k % inner * w_inner + number / KW * w_row + number % KW * w_column] = sum;
}
