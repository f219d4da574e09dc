// Cross-entropy and the negative log-likelihood of labelled pixels, and their gradients. See loss.py.
//
// LABEL: the type of the labels. A label that is no class counts as little as an ignored one.
#include "pixels.cuh"
#include "reduction.cuh"

__device__ __forceinline__ double weight_of(const Number* weight, int label) {
    return weight ? double(weight[label]) : 1.0;
}

// partial[block] = the sums of the weighted losses, and of the weights.
extern "C" __global__ void __launch_bounds__(TEAM, AT_ONCE) cross_entropy(
    MATRIX, MAP(x), const LABEL* labels, const Number* weight, i64 ignored, double* partial, i64 tiles
) {
    const Matrix matrix = MATRIX_GIVEN;
    const Map map = MAP_GIVEN(x);
    double sums[2] = {0, 0};
    for (i64 number = blockIdx.x; number < tiles; number += gridDim.x) {
        const Tile own = tile(rows, number);
        const int label = own.has() ? class_of(labels[own.pixel()], ignored) : NONE;
        Number z[ROUNDS], largest, score = 0;
        fetch(z, map, matrix, own, lowest());
#pragma unroll
        for (int r = 0; r < ROUNDS; ++r) score = r * GROUP + member() == label ? z[r] : score;
        score = joined<Plus>(score);
        const Number total = exponentials(z, largest);
        if (label == NONE || member()) continue;
        const double w = weight_of(weight, label);
        sums[0] += w * (double(largest - score) + double(log(total)));
        sums[1] += w;
    }
    team_sums(sums, partial + 2 * blockIdx.x);
}

// The same of log-probabilities, of which only those of the labels are read; or of the weights alone, x being null.
extern "C" __global__ void __launch_bounds__(TEAM, AT_ONCE) nll_loss(
    MATRIX, MAP(x), const LABEL* labels, const Number* weight, i64 ignored, double* partial
) {
    const Matrix matrix = MATRIX_GIVEN;
    const Map map = MAP_GIVEN(x);
    double sums[2] = {0, 0};
    for (i64 pixel = (i64)blockIdx.x * TEAM + team_member(); pixel < rows; pixel += (i64)gridDim.x * TEAM) {
        const int label = class_of(labels[pixel], ignored);
        if (label == NONE) continue;
        const double w = weight_of(weight, label);
        if (x) sums[0] -= w * double(map.begin(matrix, pixel)[label]);
        sums[1] += w;
    }
    team_sums(sums, partial + 2 * blockIdx.x);
}

// The sum, or the mean.
extern "C" __global__ void __launch_bounds__(FINISHERS, 1) finish(
    const double* partial, int parts, int width, int channels, int mean, Number* loss
) {
    int c;
    double total[2];
    if (finished<2>(partial, parts, width, channels, c, total)) loss[0] = mean ? total[0] / total[1] : total[0];
}

// What a weight of 1 counts in the mean.
extern "C" __global__ void __launch_bounds__(FINISHERS, 1) share_of_one(
    const double* partial, int parts, int width, int channels, double* share
) {
    int c;
    double total[2];
    if (finished<2>(partial, parts, width, channels, c, total)) share[0] = 1 / total[1];
}

// weight (softmax - [k = label]) share, share being null for 1.
extern "C" __global__ void __launch_bounds__(TEAM, AT_ONCE) cross_entropy_input(
    MATRIX, MAP(x), MAP(dx), const LABEL* labels, const Number* weight, i64 ignored, const double* share
) {
    const Matrix matrix = MATRIX_GIVEN;
    const Map map = MAP_GIVEN(x), to = MAP_GIVEN(dx);
    const Tile own = tile(rows, blockIdx.x);
    const int label = own.has() ? class_of(labels[own.pixel()], ignored) : NONE;
    Number z[ROUNDS], largest;
    fetch(z, map, matrix, own, lowest());
    const Number inverse = 1 / exponentials(z, largest);
    const Number step = label == NONE ? 0 : weight_of(weight, label) * (share ? share[0] : 1.0);
#pragma unroll
    for (int r = 0; r < ROUNDS; ++r) {
        const Number wanted = r * GROUP + member() == label ? 1 : 0;
        z[r] = label == NONE ? Number(0) : step * (z[r] * inverse - wanted);
    }
    deliver(z, to, matrix, own);
}

// -weight [k = label] share
extern "C" __global__ void __launch_bounds__(TEAM, AT_ONCE) nll_loss_input(
    MATRIX, MAP(dx), const LABEL* labels, const Number* weight, i64 ignored, const double* share
) {
    const Matrix matrix = MATRIX_GIVEN;
    const Map to = MAP_GIVEN(dx);
    const Tile own = tile(rows, blockIdx.x);
    const int label = own.has() ? class_of(labels[own.pixel()], ignored) : NONE;
    const Number step = label == NONE ? 0 : -weight_of(weight, label) * (share ? share[0] : 1.0);
    Number z[ROUNDS];
#pragma unroll
    for (int r = 0; r < ROUNDS; ++r) z[r] = r * GROUP + member() == label ? step : Number(0);
    deliver(z, to, matrix, own);
}
