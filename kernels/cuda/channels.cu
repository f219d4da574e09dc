// Sums over the pixels of each channel. See channels.py.
#include "reduction.cuh"

struct Sum {
    double sums[1] = {0};

    __device__ __forceinline__ Number operator()(const Number* x, i64) {
        sums[0] += x[0];
        return x[0];
    }
};

struct Rectified {
    double sums[1] = {0};

    __device__ __forceinline__ Number operator()(const Number* x, i64) {
        const Number dx = x[0] <= 0 ? Number(0) : x[1];
        sums[0] += dx;
        return dx;
    }
};

// A map (N, C, P) whose planes are dense: each piece of a plane is summed by itself, to partial[n, piece, ., c].
template <int READS, bool WRITES, class Term>
__device__ __forceinline__ void over_plane(
    const Matrix& matrix, Map* from, Map to, Term (&term)[LANES], double* partial, int channels, int pieces
) {
    const u32 plane = blockIdx.x / pieces, n = plane / channels, c = plane - n * channels;
    const int piece = blockIdx.x - plane * pieces;
#pragma unroll
    for (int k = 0; k < READS; ++k) from[k].at += n * from[k].image + c * from[k].row;
    to.at += n * to.image + c * to.row;
    over_rows<READS, WRITES>(matrix, from, to, term, piece, pieces);
    const int width = LANES * channels;
    block_sums<1>(term, partial + ((i64)n * pieces + piece) * width, width, c, channels, true);
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) channel_sum(MATRIX, MAP(x), double* partial) {
    const Matrix matrix = MATRIX_GIVEN;
    const Map from[] = {MAP_GIVEN(x)};
    Sum term[LANES];
    over_rows<1, false>(matrix, from, from[0], term, blockIdx.x, gridDim.x);
    sums_of_rows<1>(matrix, term, partial, blockIdx.x);
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) bias_relu_input(
    MATRIX, MAP(y), MAP(grad), MAP(dx), double* partial
) {
    const Matrix matrix = MATRIX_GIVEN;
    const Map from[] = {MAP_GIVEN(y), MAP_GIVEN(grad)}, to = MAP_GIVEN(dx);
    Rectified term[LANES];
    over_rows<2, true>(matrix, from, to, term, blockIdx.x, gridDim.x);
    sums_of_rows<1>(matrix, term, partial, blockIdx.x);
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) channel_sum_planes(
    MATRIX, MAP(x), double* partial, int planes, int pieces
) {
    Map from[] = {MAP_GIVEN(x)};
    Sum term[LANES];
    over_plane<1, false>(MATRIX_GIVEN, from, from[0], term, partial, planes, pieces);
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) bias_relu_input_planes(
    MATRIX, MAP(y), MAP(grad), MAP(dx), double* partial, int planes, int pieces
) {
    Map from[] = {MAP_GIVEN(y), MAP_GIVEN(grad)};
    Rectified term[LANES];
    over_plane<2, true>(MATRIX_GIVEN, from, MAP_GIVEN(dx), term, partial, planes, pieces);
}

extern "C" __global__ void __launch_bounds__(FINISHERS, 1) finish(
    const double* partial, int parts, int width, int channels, Number* sums
) {
    int c;
    double total[1];
    if (finished<1>(partial, parts, width, channels, c, total)) sums[c] = total[0];
}
