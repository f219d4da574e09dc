// The sums of a reduction in splits, in their order.
#include "vector.cuh"

// y[n, i, j, c] = act(bias[c] + sum over s of parts[s, n, i, j, c]), parts being dense and y of any strides.
// -D: NUMBER (float or double), VECTOR (channels at once), BIAS, RELU, INDEX (u32 or i64: what counts
// numbers).
extern "C" __global__ void __launch_bounds__(256) add_splits(
    const NUMBER* parts, const NUMBER* bias, NUMBER* y, i64 y_image, i64 y_row, i64 y_pixel, INDEX size, int splits,
    int rows, int columns, int channels
) {
    const INDEX first = (blockIdx.x * (INDEX)blockDim.x + threadIdx.x) * VECTOR;
    if (first >= size) return;
    Vector<NUMBER, VECTOR> sum = load<NUMBER, VECTOR>(parts + first);
    for (int s = 1; s < splits; ++s) {
        const Vector<NUMBER, VECTOR> more = load<NUMBER, VECTOR>(parts + (i64)s * size + first);
#pragma unroll
        for (int i = 0; i < VECTOR; ++i) sum.v[i] += more.v[i];
    }
    const int channel = first % channels;
    const INDEX pixel = first / channels, row = pixel / columns;
#pragma unroll
    for (int i = 0; i < VECTOR; ++i) {
        if (BIAS) sum.v[i] += bias[channel + i];
        if (RELU) sum.v[i] = sum.v[i] < 0 ? 0 : sum.v[i];  // NaN stays
    }
    NUMBER* to = y + row / rows * y_image + row % rows * y_row + pixel % columns * y_pixel + channel;
    store<NUMBER, VECTOR>(to, sum);
}
