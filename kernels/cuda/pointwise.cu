// What is done to each number alike, over runs of neighbours in memory. See pointwise.py.
//
// APPLY: one of the functions below. RUNS 0: all is one run; else y, a and b are runs of `length` vectors, whose steps
// on three axes follow. UNROLL: vectors that a thread takes, THREADS apart.
#include "maps.cuh"

__device__ __forceinline__ Number relu(Number x, Number, Number) {
    return x < 0 ? Number(0) : x;
}

__device__ __forceinline__ Number relu_input(Number y, Number grad, Number) {
    return y <= 0 ? Number(0) : grad;
}

__device__ __forceinline__ Number leaky_relu(Number x, Number, Number slope) {
    return x > 0 ? x : x * slope;
}

__device__ __forceinline__ Number leaky_relu_input(Number x, Number grad, Number slope) {
    return x > 0 ? grad : grad * slope;
}

__device__ __forceinline__ Number sigmoid(Number x, Number, Number) {
    const Number e = exp(-fabs(x));
    return (x < 0 ? e : Number(1)) / (Number(1) + e);
}

__device__ __forceinline__ Number sigmoid_input(Number y, Number grad, Number) {
    return grad * (y * (Number(1) - y));
}

__device__ __forceinline__ Number tanh_of(Number x, Number, Number) {
    return tanh(x);
}

// 1 - y y as a product, which loses no digits where y is nearly 1.
__device__ __forceinline__ Number tanh_input(Number y, Number grad, Number) {
    return grad * ((Number(1) - y) * (Number(1) + y));
}

__device__ __forceinline__ Number add(Number x, Number y, Number) {
    return x + y;
}

__device__ __forceinline__ Number copy(Number x, Number, Number) {
    return x;
}

// Which run a vector is in, and where in it.
struct Run {
    Index first, second, third, within;
};

__device__ __forceinline__ Run run_of(Index item, Index length, Index seconds, Index thirds) {
    const Index run = item / length, above = run / thirds;
    return {above / seconds, above % seconds, run % thirds, item - run * length};
}

__device__ __forceinline__ i64 offset(const Run& run, i64 first, i64 second, i64 third) {
    return i64(run.first) * first + i64(run.second) * second + i64(run.third) * third + i64(run.within) * LANES;
}

__device__ __forceinline__ Numbers applied(const Numbers& a, const Numbers& b, Number parameter) {
    Numbers y;
#pragma unroll
    for (int k = 0; k < LANES; ++k) y.v[k] = APPLY(a.v[k], b.v[k], parameter);
    return y;
}

// y = APPLY(a, b, parameter); y may be a or b. rest: numbers after the last whole vector.
extern "C" __global__ void __launch_bounds__(THREADS, 1) apply(
    Index vectors, Number* y, const Number* a, const Number* b, Number parameter, int rest
#if RUNS
    , i64 length, i64 seconds, i64 thirds, i64 y1, i64 y2, i64 y3, i64 a1, i64 a2, i64 a3, i64 b1, i64 b2, i64 b3
#endif
) {
    const Index first = (Index)blockIdx.x * (THREADS * UNROLL) + threadIdx.x;
    Numbers left[UNROLL], right[UNROLL];
    i64 to[UNROLL];
#pragma unroll
    for (int t = 0; t < UNROLL; ++t) {
        const Index item = first + t * THREADS;
        if (item >= vectors) continue;
#if RUNS
        const Run run = run_of(item, length, seconds, thirds);
        to[t] = offset(run, y1, y2, y3);
        left[t] = load<Number, LANES>(a + offset(run, a1, a2, a3));
        right[t] = BINARY ? load<Number, LANES>(b + offset(run, b1, b2, b3)) : left[t];
#else
        to[t] = i64(item) * LANES;
        left[t] = load<Number, LANES>(a + to[t]);
        right[t] = BINARY ? load<Number, LANES>(b + to[t]) : left[t];
#endif
    }
#pragma unroll
    for (int t = 0; t < UNROLL; ++t) {
        if (first + t * THREADS < vectors) store<Number, LANES>(y + to[t], applied(left[t], right[t], parameter));
    }
    if (first < rest) {
        const i64 last = i64(vectors) * LANES + first;
        y[last] = APPLY(a[last], b[last], parameter);
    }
}

__device__ __forceinline__ u64 mixed(u64 z) {
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ z >> 27) * 0x94D049BB133111EBull;
    return z ^ z >> 31;
}

// y = x scale where the upper 53 bits of the number's random number reach the threshold, else x 0. The random number is
// SplitMix64's after as many steps from the key as the number's place in the logical array, row by row.
//
// plane: pixels in one where a run is the channels of a pixel, else 1: memory has the order of the array.
extern "C" __global__ void __launch_bounds__(THREADS, 1) dropout(
    Index items, Number* y, const Number* x, Number scale, u64 key, i64 threshold, i64 plane, i64 length
#if RUNS
    , i64 seconds, i64 thirds, i64 y1, i64 y2, i64 y3, i64 x1, i64 x2, i64 x3
#endif
) {
    const Index item = thread();
    if (item >= items) return;
#if RUNS
    const Run run = run_of(item, length, seconds, thirds);
    const i64 from = offset(run, x1, x2, x3), to = offset(run, y1, y2, y3);
#else
    const i64 from = i64(item) * LANES, to = from;
#endif
    const Numbers value = load<Number, LANES>(x + from);
    i64 place = i64(item) * LANES;
    if (plane > 1) {
        const Index pixel = item / Index(length), image = pixel / Index(plane), c = item - pixel * Index(length);
        place = (i64(image) * length + c) * LANES * plane + (pixel - image * Index(plane));
    }
    const u64 gamma = 0x9E3779B97F4A7C15ull, apart = u64(plane) * gamma;
    u64 state = key + u64(place + 1) * gamma;
    Numbers result;
#pragma unroll
    for (int k = 0; k < LANES; ++k, state += apart) {
        const bool kept = i64(mixed(state) >> 11) >= threshold;
        result.v[k] = value.v[k] * (kept ? scale : Number(0));
    }
    store<Number, LANES>(y + to, result);
}
