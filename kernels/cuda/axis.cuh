// Where a correlation, or one phase of a transposed convolution, sees its input along one axis.
#pragma once
#include "vector.cuh"

// Output first + step i sees input origin + stride i + back a with tap tap + skip a, for each a below `taps`.
struct Axis {
    int count, first, step, origin, stride, back, taps, tap, skip;
};

__device__ __forceinline__ Axis axis_of(
    bool phased, int phase, int length, int kernel, int stride, int dilation, int padding
) {
    if (!phased) return {length, 0, 1, -padding, stride, dilation, kernel, 0, 1};
    // The outputs q with (q + padding) % stride == phase get tap u from input (q + padding - u dilation) / stride, where
    // that is whole: those taps are stride / gcd(stride, dilation) apart.
    int divisor = stride;
    for (int rest = dilation % stride; rest;) {
        const int last = divisor % rest;
        divisor = rest;
        rest = last;
    }
    const int skip = stride / divisor, first = ((phase - padding) % stride + stride) % stride;
    int tap = 0;
    while (tap < skip && ((i64)tap * dilation - phase) % stride) ++tap;
    const int taps = tap < skip && tap < kernel ? (kernel - tap + skip - 1) / skip : 0;
    const int origin = (first + padding - phase) / stride - int(((i64)tap * dilation - phase) / stride);
    const int count = first < length ? (length - first + stride - 1) / stride : 0;
    return {count, first, stride, origin, 1, -dilation / divisor, taps, tap, skip};
}
