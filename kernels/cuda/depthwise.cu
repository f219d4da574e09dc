// Depthwise convolution, and the transposed one. See depthwise.py.
//
// -D: those of depthwise.cuh, TURNED (1: the transposed one), FAN (results that see the same channel), TERMS (filters
// that a result sums), BIAS, RELU.
#include "depthwise.cuh"

// Where result i meets the input with tap u, along one axis; what is not on the map if nowhere.
template <int STRIDE, int DILATION>
__device__ __forceinline__ int met(int i, int u, int padding) {
    if (!TURNED) return i * STRIDE - padding + u * DILATION;
    const int distance = i + padding - u * DILATION;
    return distance >= 0 && distance % STRIDE == 0 ? distance / STRIDE : -1;
}

// With which tap column p meets column t of the input, both counted from the thread's first; -1 if with none.
__device__ __forceinline__ constexpr int tap(int p, int t) {
    const int distance = TURNED ? p - t * SW : t - p * SW;
    return distance >= 0 && distance % DW == 0 && distance / DW < KW ? distance / DW : -1;
}

__device__ __forceinline__ constexpr bool wanted(int t) {
    for (int p = 0; p < PIXELS; ++p) {
        if (tap(p, t) >= 0) return true;
    }
    return false;
}

constexpr int FIRST = TURNED ? -((KW - 1) * DW / SW) : 0;
constexpr int LAST = TURNED ? (PIXELS - 1) / SW : (PIXELS - 1) * SW + (KW - 1) * DW;

// A row of taps. line: of the input; j: the first column.
__device__ __forceinline__ void add_row(
    Numbers (&sums)[PIXELS], const Number* line, i64 pixel, int width, int filter, int j, int left,
    const Number* weights, int pitch
) {
    if (PIXELS == 1) {
        for (int v = 0; v < KW; ++v) {
            const int q = met<SW, DW>(j, v, left);
            if (unsigned(q) >= unsigned(width)) continue;
            add(sums[0], seen_by<FAN>(line + q * pixel, filter), load<Number, VECTOR>(weights + v * pitch));
        }
        return;
    }
    const int start = TURNED ? (j + left) / SW : j * SW - left;
#pragma unroll
    for (int t = FIRST; t <= LAST; ++t) {
        if (!wanted(t)) continue;
        const int q = start + t;
        const Numbers x = unsigned(q) < unsigned(width) ? seen_by<FAN>(line + q * pixel, filter) : zeros();
#pragma unroll
        for (int p = 0; p < PIXELS; ++p) {
            if (tap(p, t) >= 0) add(sums[p], x, load<Number, VECTOR>(weights + tap(p, t) * pitch));
        }
    }
}

// y[n, i, j, k] = act(bias[k] + sum over m, u, v of w[f, u, v] x[n, i's, j's, f / FAN]), f being filter k TERMS + m.
// A block takes blockDim.x vectors of channels, blockDim.y strips of PIXELS columns and blockDim.z rows of any images.
// inner: filters along the weight's second axis.
extern "C" __global__ void __launch_bounds__(256, 2) depthwise(
    Number* __restrict__ y, const Number* __restrict__ x, const Number* __restrict__ w, const Number* __restrict__ bias,
    i64 y_image, i64 y_row, i64 y_pixel, i64 x_image, i64 x_row, i64 x_pixel, i64 w_outer, i64 w_inner, i64 w_row,
    i64 w_column, int inner, int images, int height, int width, int rows, int columns, int channels, int top, int left
) {
    extern __shared__ __align__(16) unsigned char memory[];
    Number* weights = reinterpret_cast<Number*>(memory);  // by m, u, v and channel
    const int wide = blockDim.x * VECTOR, pitch = wide + VECTOR;
    const int before = TURNED ? left % SW : 0;  // so that every strip begins at the same phase
    const int strips = (columns + before + PIXELS - 1) / PIXELS;
    u32 block = blockIdx.x;
    auto next = [&](u32 count) { const u32 i = block % count; block /= count; return int(i); };
    const int from = next((channels + wide - 1) / wide) * wide;
    const int strip = next((strips + blockDim.y - 1) / blockDim.y) * blockDim.y + threadIdx.y;
    const int line = block * blockDim.z + threadIdx.z;

    constexpr int EACH = TERMS * KH * KW;
    const int first = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    for (int n = first; n < min(wide, channels - from) * EACH; n += blockDim.x * blockDim.y * blockDim.z) {
        const int f = (from * EACH + n) / (KH * KW), u = n % (KH * KW) / KW, v = n % KW;
        weights[n % EACH * pitch + n / EACH] = w[f / inner * w_outer + f % inner * w_inner + u * w_row + v * w_column];
    }
    __syncthreads();
    const int mine = threadIdx.x * VECTOR, k = from + mine;
    if (k >= channels || strip >= strips || line >= images * rows) return;

    const int image = line / rows, i = line % rows, j = strip * PIXELS - before;
    Numbers sums[PIXELS];
#pragma unroll
    for (int p = 0; p < PIXELS; ++p) sums[p] = zeros();
    for (int m = 0; m < TERMS; ++m) {
        for (int u = 0; u < KH; ++u) {
            const int p = met<SH, DH>(i, u, top);
            if (unsigned(p) >= unsigned(height)) continue;
            const Number* row = weights + (m * KH + u) * KW * pitch + mine;
            add_row(sums, x + image * x_image + p * x_row, x_pixel, width, k * TERMS + m, j, left, row, pitch);
        }
    }
    Number* to = y + image * y_image + i * y_row + k;
#pragma unroll
    for (int p = 0; p < PIXELS; ++p) {
        if (unsigned(j + p) >= unsigned(columns)) continue;
#pragma unroll
        for (int l = 0; l < VECTOR; ++l) {
            if (BIAS) sums[p].v[l] += bias[k + l];
            if (RELU) sums[p].v[l] = sums[p].v[l] < 0 ? 0 : sums[p].v[l];  // NaN stays
        }
        store<Number, VECTOR>(to + (j + p) * y_pixel, sums[p]);
    }
}
