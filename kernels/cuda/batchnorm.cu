// Batch normalisation: sums over the pixels of each channel, what follows for each channel, and a pass that scales and
// shifts. See batchnorm.py.
//
// RELU: 1 where what is written is rectified.
#include "reduction.cuh"

// 1 / sqrt(variance + eps), and that times the weight.
__device__ __forceinline__ double inverse(double variance, double eps) {
    return 1 / sqrt(variance + eps);
}

__device__ __forceinline__ double scaled(const Number* weight, int c, double inverse) {
    return weight ? inverse * weight[c] : inverse;
}

struct Affine {
    Number centre, scale, shift;

    __device__ __forceinline__ Number operator()(const Number* x, i64) {
        const Number y = (x[0] - centre) * scale + shift;
        return RELU && y < 0 ? Number(0) : y;
    }
};

// y = f((x - mean) weight / sqrt(variance + eps) + bias)
extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) batch_norm(
    MATRIX, MAP(x), MAP(y), const Number* mean, const Number* variance, const Number* weight, const Number* bias,
    double eps
) {
    const Matrix matrix = MATRIX_GIVEN;
    const Map from[] = {MAP_GIVEN(x)}, to = MAP_GIVEN(y);
    Affine term[LANES];
#pragma unroll
    for (int v = 0; v < LANES; ++v) {
        const int c = channel(matrix, v);
        term[v] = {mean[c], Number(scaled(weight, c, inverse(variance[c], eps))), bias ? bias[c] : Number(0)};
    }
    over_rows<1, true>(matrix, from, to, term, blockIdx.x, gridDim.x);
}

// The first number of a channel, from which distances are measured; 0 where it is not finite.
__device__ __forceinline__ double near(const Number* x, int c) {
    return isfinite(x[c]) ? double(x[c]) : 0.0;
}

struct Moments {
    double near, sums[2] = {0, 0};

    __device__ __forceinline__ Number operator()(const Number* x, i64) {
        const double distance = x[0] - near;
        sums[0] += distance;
        sums[1] += distance * distance;
        return x[0];
    }
};

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) moments(MATRIX, MAP(x), double* partial) {
    const Matrix matrix = MATRIX_GIVEN;
    const Map from[] = {MAP_GIVEN(x)};
    Moments term[LANES];
#pragma unroll
    for (int v = 0; v < LANES; ++v) term[v].near = near(x, channel(matrix, v));
    over_rows<1, false>(matrix, from, from[0], term, blockIdx.x, gridDim.x);
    sums_of_rows<2>(matrix, term, partial, blockIdx.x);
}

// The statistics of a channel, and the constants of `affine`: what the mean loses when it is rounded goes into the last.
extern "C" __global__ void __launch_bounds__(FINISHERS, 1) statistics(
    const double* partial, int parts, int width, int channels, const Number* x, double count, const Number* weight,
    const Number* bias, double eps, Number* mean, Number* variance, Number* constants
) {
    int c;
    double total[2];
    if (!finished<2>(partial, parts, width, channels, c, total)) return;
    const double distance = total[0] / count, centre = near(x, c) + distance;
    const double left = total[1] / count - distance * distance, spread = left < 0 ? 0 : left;
    const double scale = scaled(weight, c, inverse(spread, eps));
    const double lost = Number(centre) == centre ? 0 : (centre - Number(centre)) * scale;
    mean[c] = centre;
    variance[c] = spread;
    constants[c] = centre;
    constants[channels + c] = scale;
    constants[2 * channels + c] = (bias ? double(bias[c]) : 0.0) - lost;
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) affine(MATRIX, MAP(x), MAP(y), const Number* constants) {
    const Matrix matrix = MATRIX_GIVEN;
    const Map from[] = {MAP_GIVEN(x)}, to = MAP_GIVEN(y);
    Affine term[LANES];
#pragma unroll
    for (int v = 0; v < LANES; ++v) {
        const Number* each = constants + channel(matrix, v);
        term[v] = {each[0], each[channels], each[2 * channels]};
    }
    over_rows<1, true>(matrix, from, to, term, blockIdx.x, gridDim.x);
}

// The sums of grad, of grad (x - mean) and of x - mean; what is written is grad times a constant.
struct Products {
    Number scale;
    double mean, sums[3] = {0, 0, 0};

    __device__ __forceinline__ Number operator()(const Number* x, i64) {
        const double distance = x[0] - mean;
        sums[0] += x[1];
        sums[1] += x[1] * distance;
        sums[2] += distance;
        return x[1] * scale;
    }
};

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) scaled_products(
    MATRIX, MAP(x), MAP(grad), MAP(dx), const Number* mean, const Number* variance, const Number* weight, double eps,
    double* partial
) {
    const Matrix matrix = MATRIX_GIVEN;
    const Map from[] = {MAP_GIVEN(x), MAP_GIVEN(grad)}, to = MAP_GIVEN(dx);
    Products term[LANES];
#pragma unroll
    for (int v = 0; v < LANES; ++v) {
        const int c = channel(matrix, v);
        term[v].mean = mean[c];
        term[v].scale = scaled(weight, c, inverse(variance[c], eps));
    }
    over_rows<2, true>(matrix, from, to, term, blockIdx.x, gridDim.x);
    sums_of_rows<3>(matrix, term, partial, blockIdx.x);
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) products(
    MATRIX, MAP(x), MAP(grad), const Number* mean, double* partial
) {
    const Matrix matrix = MATRIX_GIVEN;
    const Map from[] = {MAP_GIVEN(x), MAP_GIVEN(grad)};
    Products term[LANES];
#pragma unroll
    for (int v = 0; v < LANES; ++v) {
        term[v].mean = mean[channel(matrix, v)];
        term[v].scale = 0;
    }
    over_rows<2, false>(matrix, from, from[0], term, blockIdx.x, gridDim.x);
    sums_of_rows<3>(matrix, term, partial, blockIdx.x);
}

// dweight and dbias of a channel, and the constants of `gradient`: dx = a grad + b (x - mean) + c. `offset` is that of the
// true mean from the rounded one; constants is null where the statistics are given.
extern "C" __global__ void __launch_bounds__(FINISHERS, 1) slopes(
    const double* partial, int parts, int width, int channels, double count, const Number* variance,
    const Number* weight, double eps, Number* dweight, Number* dbias, Number* constants
) {
    int c;
    double total[3];
    if (!finished<3>(partial, parts, width, channels, c, total)) return;
    const double offset = constants ? total[2] / count : 0.0, product = total[1] - offset * total[0];
    const double r = inverse(variance[c], eps), a = scaled(weight, c, r), b = -a * r * r * product / count;
    dweight[c] = product * r;
    dbias[c] = total[0];
    if (!constants) return;
    constants[c] = a;
    constants[channels + c] = b;
    constants[2 * channels + c] = -b * offset - a * total[0] / count;
}

struct Gradient {
    Number mean, a, b, c;

    __device__ __forceinline__ Number operator()(const Number* x, i64) {
        return a * x[1] + (b * (x[0] - mean) + c);
    }
};

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) gradient(
    MATRIX, MAP(x), MAP(grad), MAP(dx), const Number* mean, const Number* constants
) {
    const Matrix matrix = MATRIX_GIVEN;
    const Map from[] = {MAP_GIVEN(x), MAP_GIVEN(grad)}, to = MAP_GIVEN(dx);
    Gradient term[LANES];
#pragma unroll
    for (int v = 0; v < LANES; ++v) {
        const int c = channel(matrix, v);
        term[v] = {mean[c], constants[c], constants[channels + c], constants[2 * channels + c]};
    }
    over_rows<2, true>(matrix, from, to, term, blockIdx.x, gridDim.x);
}
