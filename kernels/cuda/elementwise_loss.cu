// Losses that compare two arrays number by number, and their gradients. See elementwise_loss.py.
//
// LOSS: one of the structs below. READS: arrays it looks at: x, target and, where WEIGHT and POSITIVE are 1, weights.
#include "reduction.cuh"

struct Absolute {
    static __device__ __forceinline__ double loss(const Number* x) {
        return fabs(double(x[0]) - double(x[1]));
    }

    static __device__ __forceinline__ double slope(const Number* x) {
        return (x[0] > x[1]) - (x[0] < x[1]);
    }
};

struct Squared {
    static __device__ __forceinline__ double loss(const Number* x) {
        const double difference = double(x[0]) - double(x[1]);
        return difference * difference;
    }

    static __device__ __forceinline__ double slope(const Number* x) {
        return 2 * (double(x[0]) - double(x[1]));
    }
};

// weight ((1 - t) log(1 + exp(x)) + pos_weight t log(1 + exp(-x))). The exponentials are of Number, which they are to
// half a unit in the last place or two; the products are double, so that no large one cancels.
struct Binary {
    static __device__ __forceinline__ double weight(const Number* x) {
        return WEIGHT ? double(x[2]) : 1.0;
    }

    static __device__ __forceinline__ double positive(const Number* x) {
        return POSITIVE ? double(x[1]) * double(x[2 + WEIGHT]) : double(x[1]);
    }

    static __device__ __forceinline__ double loss(const Number* x) {
        const double tail = log1p(exp(-fabs(x[0]))), up = x[0] < 0 ? Number(0) : x[0], down = x[0] > 0 ? Number(0) : -x[0];
        return weight(x) * (1 - double(x[1])) * (up + tail) + weight(x) * positive(x) * (down + tail);
    }

    static __device__ __forceinline__ double slope(const Number* x) {
        const Number power = exp(-fabs(x[0])), large = 1 / (1 + power), small = power * large;
        const double up = x[0] < 0 ? small : large, down = x[0] < 0 ? large : small;
        return weight(x) * (1 - double(x[1])) * up - weight(x) * positive(x) * down;
    }
};

struct Losses {
    double sums[1] = {0};

    __device__ __forceinline__ Number operator()(const Number* x, i64) {
        sums[0] += LOSS::loss(x);
        return x[0];
    }
};

struct Slopes {
    double share;

    __device__ __forceinline__ Number operator()(const Number* x, i64) {
        return LOSS::slope(x) * share;
    }
};

#if READS == 2
#define INPUTS MAP(x), MAP(target)
#define INPUTS_GIVEN {MAP_GIVEN(x), MAP_GIVEN(target)}
#elif READS == 3
#define INPUTS MAP(x), MAP(target), MAP(first)
#define INPUTS_GIVEN {MAP_GIVEN(x), MAP_GIVEN(target), MAP_GIVEN(first)}
#else
#define INPUTS MAP(x), MAP(target), MAP(first), MAP(second)
#define INPUTS_GIVEN {MAP_GIVEN(x), MAP_GIVEN(target), MAP_GIVEN(first), MAP_GIVEN(second)}
#endif

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) losses(MATRIX, INPUTS, double* partial) {
    const Matrix matrix = MATRIX_GIVEN;
    const Map from[] = INPUTS_GIVEN;
    Losses term[LANES];
    over_rows<READS, false>(matrix, from, from[0], term, blockIdx.x, gridDim.x);
    sums_of_rows<1>(matrix, term, partial, blockIdx.x);
}

// count: what the sum is divided by.
extern "C" __global__ void __launch_bounds__(FINISHERS, 1) finish(
    const double* partial, int parts, int width, int channels, double count, Number* loss
) {
    int c;
    double total[1];
    if (finished<1>(partial, parts, width, channels, c, total)) loss[0] = total[0] / count;
}

// dx = slope share
extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) slopes(MATRIX, INPUTS, MAP(dx), double share) {
    const Matrix matrix = MATRIX_GIVEN;
    const Map from[] = INPUTS_GIVEN, to = MAP_GIVEN(dx);
    Slopes term[LANES];
#pragma unroll
    for (int v = 0; v < LANES; ++v) term[v].share = share;
    over_rows<READS, true>(matrix, from, to, term, blockIdx.x, gridDim.x);
}
