// The soft Dice loss: sums over the pixels of each class, their quotients, and the gradient. See dice.py.
//
// LABEL: as in loss.cu. SQUARED: 1 where the probabilities' squares are summed.
#include "pixels.cuh"
#include "reduction.cuh"

// What a class sums: the probabilities where it is wanted, all of them, and how often it is wanted.
struct Class {
    double common = 0, whole = 0, wanted = 0;

    __device__ __forceinline__ void add(Number p, bool is_wanted) {
        whole += SQUARED ? double(p) * double(p) : double(p);
        common += is_wanted ? p : Number(0);
        wanted += is_wanted;
    }
};

// The probabilities of a pixel, 0 where it does not count.
__device__ __forceinline__ void probabilities(
    Number (&z)[ROUNDS], int label, const Map& map, const Matrix& matrix, const Tile& own
) {
    Number largest;
    fetch(z, map, matrix, own, lowest());
    const Number inverse = 1 / exponentials(z, largest);
#pragma unroll
    for (int r = 0; r < ROUNDS; ++r) z[r] = label == NONE ? Number(0) : z[r] * inverse;
}

// A thread of a warp per pixel sums the classes that it holds; else a thread sums a class over some pixels of a tile.
constexpr int SLICES = GROUP == 1 ? TEAM / CLASSES : PIXELS;
constexpr int CLASSES_EACH = GROUP == 1 ? 1 : ROUNDS;

extern "C" __global__ void __launch_bounds__(TEAM, AT_ONCE) dice_sums(
    MATRIX, MAP(x), const LABEL* labels, i64 ignored, double* partial, i64 tiles
) {
    __shared__ int wanted[PIXELS];
    __shared__ double room[3][SLICES][CLASSES];
    const Matrix matrix = MATRIX_GIVEN;
    const Map map = MAP_GIVEN(x);
    const int slice = GROUP == 1 ? threadIdx.x / CLASSES : own_pixel();
    const int first = GROUP == 1 ? threadIdx.x - slice * CLASSES : member();
    Class sums[CLASSES_EACH];
    for (i64 number = blockIdx.x; number < tiles; number += gridDim.x) {
        const Tile own = tile(rows, number);
        const int label = own.has() ? class_of(labels[own.pixel()], ignored) : NONE;
        Number z[ROUNDS];
        probabilities(z, label, map, matrix, own);
        if constexpr (GROUP == 1) {
#pragma unroll
            for (int r = 0; r < ROUNDS; ++r) stage()[threadIdx.x * PITCH + r] = z[r];
            wanted[threadIdx.x] = label;
            __syncthreads();
            if (slice < SLICES) {
                for (int q = slice; q < own.count; q += SLICES) sums[0].add(stage()[q * PITCH + first], wanted[q] == first);
            }
            __syncthreads();
        } else {
#pragma unroll
            for (int r = 0; r < ROUNDS; ++r) sums[r].add(z[r], r * GROUP + first == label);
        }
    }
    if (slice < SLICES) {
#pragma unroll
        for (int r = 0; r < CLASSES_EACH; ++r) {
            const int k = r * GROUP + first;
            if (k >= CLASSES) continue;
            room[0][slice][k] = sums[r].common;
            room[1][slice][k] = sums[r].whole;
            room[2][slice][k] = sums[r].wanted;
        }
    }
    __syncthreads();
    for (int i = team_member(); i < 3 * CLASSES; i += TEAM) {
        double total = 0;
        for (int each = 0; each < SLICES; ++each) total += room[i / CLASSES][each][i % CLASSES];
        partial[(i64)blockIdx.x * 3 * CLASSES + i] = total;
    }
}

// For each class the overlap A / B, and the constants of the gradient: A / B / (K B) and 2 / (K B).
extern "C" __global__ void __launch_bounds__(FINISHERS, 1) overlaps(
    const double* partial, int parts, int width, int channels, double smooth, double* overlap, Number* constants
) {
    int k;
    double total[3];
    if (!finished<3>(partial, parts, width, channels, k, total)) return;
    const double below = total[1] + total[2] + smooth, quotient = (2 * total[0] + smooth) / below;
    overlap[k] = quotient;
    constants[k] = quotient / (below * channels);
    constants[channels + k] = 2 / (below * channels);
}

extern "C" __global__ void __launch_bounds__(FINISHERS, 1) dice_loss(
    const double* overlap, int parts, int width, int channels, Number* loss
) {
    int c;
    double total[1];
    if (finished<1>(overlap, parts, width, channels, c, total)) loss[0] = 1 - total[0] / parts;
}

extern "C" __global__ void __launch_bounds__(TEAM, AT_ONCE) dice_loss_input(
    MATRIX, MAP(x), MAP(dx), const LABEL* labels, i64 ignored, const Number* constants
) {
    const Matrix matrix = MATRIX_GIVEN;
    const Map map = MAP_GIVEN(x), to = MAP_GIVEN(dx);
    const Tile own = tile(rows, blockIdx.x);
    const int label = own.has() ? class_of(labels[own.pixel()], ignored) : NONE;
    Number p[ROUNDS], slope[ROUNDS];
    probabilities(p, label, map, matrix, own);
    double total = 0;
#pragma unroll
    for (int r = 0; r < ROUNDS; ++r) {
        const int k = r * GROUP + member();
        slope[r] = 0;
        if (k >= CLASSES) continue;
        slope[r] = constants[k] * (SQUARED ? 2 * p[r] : Number(1)) - (k == label ? constants[CLASSES + k] : Number(0));
        total += double(p[r]) * double(slope[r]);
    }
    const Number mean = joined<Plus>(total);
#pragma unroll
    for (int r = 0; r < ROUNDS; ++r) p[r] = label == NONE ? Number(0) : p[r] * (slope[r] - mean);
    deliver(p, to, matrix, own);
}
