// Pooling of whole planes, and its gradients. See global_pooling.py.
//
// A block takes a part of an image: blockIdx.x = image parts + part.
#include "reduction.cuh"

struct Sum {
    double sums[1] = {0};

    __device__ __forceinline__ Number operator()(const Number* x, i64) {
        sums[0] += x[0];
        return x[0];
    }
};

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) plane_sums(MATRIX, MAP(x), double* partial, int parts) {
    const Matrix matrix = MATRIX_GIVEN;
    const int image = blockIdx.x / parts, part = blockIdx.x - image * parts;
    const Map from[] = {{x + image * x_image, 0, x_row, x_pixel}};
    Sum term[LANES];
    over_rows<1, false>(matrix, from, from[0], term, part, parts);
    sums_of_rows<1>(matrix, term, partial, blockIdx.x);
}

extern "C" __global__ void __launch_bounds__(FINISHERS, 1) average(
    const double* partial, int parts, int width, int channels, double pixels, Number* y
) {
    int c;
    double total[1];
    if (!finished<1>(partial, parts, width, channels, c, total)) return;
    y[(i64)owner(channels).image * channels + c] = total[0] / pixels;
}

// The largest number so far and its place: NaN wins, and of equal ones, also of several NaN, the first.
struct Largest {
    Number value = -__int_as_float(0x7F800000);  // below every number, as its place is after every other
    i64 place = 0x7FFFFFFFFFFFFFFF;

    __device__ __forceinline__ void meet(Number x, i64 at) {
        const bool equal = x == value || (x != x && value != value);
        if (equal ? at < place : !(x <= value) && value == value) {
            value = x;
            place = at;
        }
    }
};

struct Winner {
    Largest best;
    int pixel, fold;  // a column's pixel in a row, and the pixels of a row

    __device__ __forceinline__ Number operator()(const Number* x, i64 row) {
        best.meet(x[0], row * fold + pixel);
        return x[0];
    }
};

// The winners of the threads of a column, found by the first of them.
template <int COUNT, int ROOM>
__device__ __forceinline__ void block_winners(Largest (&best)[COUNT]) {
    __shared__ Number values[COUNT][ROOM];
    __shared__ i64 places[COUNT][ROOM];
    const int me = threadIdx.y * blockDim.x + threadIdx.x;
#pragma unroll
    for (int k = 0; k < COUNT; ++k) {
        values[k][me] = best[k].value;
        places[k][me] = best[k].place;
    }
    for (int count = blockDim.y, half; count > 1; count = half) {
        half = (count + 1) / 2;
        __syncthreads();
        if (threadIdx.y >= count - half) continue;
#pragma unroll
        for (int k = 0; k < COUNT; ++k) {
            best[k].meet(values[k][me + half * blockDim.x], places[k][me + half * blockDim.x]);
            values[k][me] = best[k].value;
            places[k][me] = best[k].place;
        }
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) plane_winners(
    MATRIX, MAP(x), Number* values, i64* places, int parts
) {
    const Matrix matrix = MATRIX_GIVEN;
    const int image = blockIdx.x / parts, part = blockIdx.x - image * parts;
    const Map from[] = {{x + image * x_image, 0, x_row, x_pixel}};
    Winner term[LANES];
#pragma unroll
    for (int v = 0; v < LANES; ++v) {
        term[v].pixel = (column() + v) / channels;
        term[v].fold = width / channels;
    }
    over_rows<1, false>(matrix, from, from[0], term, part, parts);
    Largest best[LANES];
#pragma unroll
    for (int v = 0; v < LANES; ++v) best[v] = term[v].best;
    block_winners<LANES, THREADS>(best);
    if (threadIdx.y || column() >= width) return;
#pragma unroll
    for (int v = 0; v < LANES; ++v) {
        values[(i64)blockIdx.x * width + column() + v] = best[v].value;
        places[(i64)blockIdx.x * width + column() + v] = best[v].place;
    }
}

// indices: null where nobody asks for them.
extern "C" __global__ void __launch_bounds__(FINISHERS, 1) largest(
    const Number* values, int parts, int width, int channels, const i64* places, Number* y, i64* indices
) {
    const Owner own = owner(channels);
    const int c = own.channel;
    Largest best[1];
    if (c < channels) {
        for (int part = threadIdx.y; part < parts; part += blockDim.y) {
            const i64 first = ((i64)own.image * parts + part) * width;
            for (int k = c; k < width; k += channels) best[0].meet(values[first + k], places[first + k]);
        }
    }
    block_winners<1, FINISHERS>(best);
    if (threadIdx.y || c >= channels) return;
    y[(i64)own.image * channels + c] = best[0].value;
    if (indices) indices[(i64)own.image * channels + c] = best[0].place;
}

struct Share {
    Number value;

    __device__ __forceinline__ Number operator()(const Number*, i64) {
        return value;
    }
};

// dx = grad / pixels
extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) average_input(
    MATRIX, MAP(dx), const Number* grad, i64 grad_image, double pixels, int parts
) {
    const Matrix matrix = MATRIX_GIVEN;
    const int image = blockIdx.x / parts, part = blockIdx.x - image * parts;
    const Map to = {dx + image * dx_image, 0, dx_row, dx_pixel};
    Share term[LANES];
#pragma unroll
    for (int v = 0; v < LANES; ++v) term[v].value = double(grad[image * grad_image + channel(matrix, v)]) / pixels;
    over_rows<0, true>(matrix, &to, to, term, part, parts);
}

struct Placed {
    Number value;
    i64 place;
    int pixel, fold;

    __device__ __forceinline__ Number operator()(const Number*, i64 row) {
        return row * fold + pixel == place ? value : Number(0);
    }
};

// dx = grad at the winner, 0 elsewhere
extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) largest_input(
    MATRIX, MAP(dx), const i64* indices, i64 indices_image, const Number* grad, i64 grad_image, int parts
) {
    const Matrix matrix = MATRIX_GIVEN;
    const int image = blockIdx.x / parts, part = blockIdx.x - image * parts;
    const Map to = {dx + image * dx_image, 0, dx_row, dx_pixel};
    Placed term[LANES];
#pragma unroll
    for (int v = 0; v < LANES; ++v) {
        const int c = channel(matrix, v);
        const Number value = grad[image * grad_image + c];
        term[v] = {value, indices[image * indices_image + c], (column() + v) / channels, width / channels};
    }
    over_rows<0, true>(matrix, &to, to, term, part, parts);
}
