// Optimisers' steps: what becomes of one weight w and its state, from its gradient g. See update.py.
//
// STEP: one of the functions below; STATES: how many states it has.
#include "maps.cuh"

// v = momentum v + g + decay w;  w -= rate v.
__device__ __forceinline__ void sgd(Number& w, Number g, Number& velocity, Number&, const Number* c) {
    const Number rate = c[0], momentum = c[1], decay = c[2];
    velocity = momentum * velocity + (g + decay * w);
    w -= rate * velocity;
}

// g += decay w;  v = momentum v + g;  w -= rate (g + momentum v).
__device__ __forceinline__ void nesterov(Number& w, Number g, Number& velocity, Number&, const Number* c) {
    const Number rate = c[0], momentum = c[1], decay = c[2];
    g += decay * w;
    velocity = momentum * velocity + g;
    w -= rate * (g + momentum * velocity);
}

// g += decay w;  s += g^2;  w -= rate g / (sqrt(s) + eps).
__device__ __forceinline__ void adagrad(Number& w, Number g, Number& total, Number&, const Number* c) {
    const Number rate = c[0], eps = c[1], decay = c[2];
    g += decay * w;
    total += g * g;
    w -= rate * g / (sqrt(total) + eps);
}

// g += decay w;  s = a s + (1 - a) g^2;  v = momentum v + g / (sqrt(s) + eps);  w -= rate v.
__device__ __forceinline__ void rmsprop(Number& w, Number g, Number& square, Number& velocity, const Number* c) {
    const Number rate = c[0], alpha = c[1], eps = c[2], momentum = c[3], decay = c[4];
    g += decay * w;
    square = alpha * square + (1 - alpha) * (g * g);
    velocity = momentum * velocity + g / (sqrt(square) + eps);
    w -= rate * velocity;
}

// m = b1 m + (1 - b1) g;  s = b2 s + (1 - b2) g^2;  w -= rate m / (root sqrt(s) + eps).
__device__ __forceinline__ void moments(Number& w, Number g, Number& mean, Number& square, const Number* c) {
    const Number rate = c[0], first = c[1], second = c[2], root = c[3], eps = c[4];
    mean = first * mean + (1 - first) * g;
    square = second * square + (1 - second) * (g * g);
    w -= rate * mean / (root * sqrt(square) + eps);
}

// g += decay w, then `moments`.
__device__ __forceinline__ void adam(Number& w, Number g, Number& mean, Number& square, const Number* c) {
    moments(w, g + c[5] * w, mean, square, c);
}

// w -= decay w, then `moments`.
__device__ __forceinline__ void adamw(Number& w, Number g, Number& mean, Number& square, const Number* c) {
    w -= c[5] * w;
    moments(w, g, mean, square, c);
}

// One parameter: where its weights, gradients and states lie, how many there are, how many chunks are before it,
// whether all begin at a multiple of 16 bytes, and the rule's constants.
struct Row {
    Number *w, *g, *a, *b;
    i64 numbers, chunks, whole;
    double constants[6];
};

// A block of threads takes a chunk of THREADS LANES UNROLL numbers of one parameter. table: the rows, in i64s.
extern "C" __global__ void __launch_bounds__(THREADS, 1) update(const i64* __restrict__ table, int rows) {
    const Row* all = reinterpret_cast<const Row*>(table);
    int low = 0, high = rows - 1;
    while (low < high) {  // the last row whose chunks begin no later
        const int middle = (low + high + 1) / 2;
        if (all[middle].chunks <= blockIdx.x) low = middle;
        else high = middle - 1;
    }
    const Row& row = all[low];
    Number c[6];
#pragma unroll
    for (int k = 0; k < 6; ++k) c[k] = row.constants[k];
    const i64 start = (blockIdx.x - row.chunks) * (THREADS * LANES * UNROLL);
    const i64 stop = min(start + THREADS * LANES * UNROLL, row.numbers);
    if (row.whole && stop - start == THREADS * LANES * UNROLL) {
        Numbers w[UNROLL], g[UNROLL], a[UNROLL], b[UNROLL];
        const i64 first = start + threadIdx.x * LANES;
#pragma unroll
        for (int t = 0; t < UNROLL; ++t) {
            const i64 at = first + t * THREADS * LANES;
            w[t] = load<Number, LANES>(row.w + at);
            g[t] = load<Number, LANES>(row.g + at);
            a[t] = load<Number, LANES>(row.a + at);
            b[t] = STATES > 1 ? load<Number, LANES>(row.b + at) : zeros();
        }
#pragma unroll
        for (int t = 0; t < UNROLL; ++t) {
            const i64 at = first + t * THREADS * LANES;
#pragma unroll
            for (int k = 0; k < LANES; ++k) STEP(w[t].v[k], g[t].v[k], a[t].v[k], b[t].v[k], c);
            store<Number, LANES>(row.w + at, w[t]);
            store<Number, LANES>(row.a + at, a[t]);
            if (STATES > 1) store<Number, LANES>(row.b + at, b[t]);
        }
        return;
    }
    for (i64 at = start + threadIdx.x; at < stop; at += THREADS) {
        Number w = row.w[at], a = row.a[at], b = STATES > 1 ? row.b[at] : Number(0);
        STEP(w, row.g[at], a, b, c);
        row.w[at] = w;
        row.a[at] = a;
        if (STATES > 1) row.b[at] = b;
    }
}
