// Channels of depthwise convolutions, and windows known when this is compiled. See depthwise.py.
//
// -D: NUMBER (float or double), VECTOR (channels at once), PIXELS (neighbours in a row that a thread takes at once),
// KH KW SH SW DH DW (rows and columns of the kernel, its stride and its dilation).
#pragma once
#include "vector.cuh"

typedef NUMBER Number;
typedef Vector<Number, VECTOR> Numbers;

// What VECTOR neighbouring filters see of a pixel, where `Fan` of them see the same channel.
template <int Fan>
__device__ __forceinline__ Numbers seen_by(const Number* pixel, int filter) {
    if (Fan == 1) return load<Number, VECTOR>(pixel + filter);
    const Number x = pixel[filter / Fan];
    Numbers same;
#pragma unroll
    for (int l = 0; l < VECTOR; ++l) same.v[l] = x;
    return same;
}

__device__ __forceinline__ Numbers zeros() {
    Numbers x;
#pragma unroll
    for (int l = 0; l < VECTOR; ++l) x.v[l] = 0;
    return x;
}

// sum += a b.
__device__ __forceinline__ void add(Numbers& sum, const Numbers& a, const Numbers& b) {
#pragma unroll
    for (int l = 0; l < VECTOR; ++l) sum.v[l] += a.v[l] * b.v[l];
}
