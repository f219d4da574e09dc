// Softmax over the channels, its logarithm, and their gradients: each number is read once. See normalization.py.
#include "pixels.cuh"

// The tile of a block: of the pixels of all images, or of a plane of one; the maps begin with that image then.
__device__ __forceinline__ Tile begin(const Matrix& matrix, Map* maps, int count, int blocks) {
    const int image = PLANES ? blockIdx.x / blocks : 0;
#pragma unroll
    for (int k = 0; k < count; ++k) maps[k].at += image * maps[k].image * PLANES;
    return tile(matrix.rows, blockIdx.x - image * blocks);
}

extern "C" __global__ void __launch_bounds__(TEAM, AT_ONCE) softmax(MATRIX, MAP(x), MAP(y), int blocks) {
    const Matrix matrix = MATRIX_GIVEN;
    Map maps[] = {MAP_GIVEN(x), MAP_GIVEN(y)};
    const Tile tile = begin(matrix, maps, 2, blocks);
    Number z[ROUNDS], largest;
    fetch(z, maps[0], matrix, tile, lowest());
    const Number share = 1 / exponentials(z, largest);
#pragma unroll
    for (int r = 0; r < ROUNDS; ++r) z[r] *= share;
    deliver(z, maps[1], matrix, tile);
}

extern "C" __global__ void __launch_bounds__(TEAM, AT_ONCE) log_softmax(MATRIX, MAP(x), MAP(y), int blocks) {
    const Matrix matrix = MATRIX_GIVEN;
    Map maps[] = {MAP_GIVEN(x), MAP_GIVEN(y)};
    const Tile tile = begin(matrix, maps, 2, blocks);
    Number z[ROUNDS], powers[ROUNDS], largest;
    fetch(z, maps[0], matrix, tile, lowest());
#pragma unroll
    for (int r = 0; r < ROUNDS; ++r) powers[r] = z[r];
    const Number logarithm = log(Number(exponentials(powers, largest)));
#pragma unroll
    for (int r = 0; r < ROUNDS; ++r) z[r] = (z[r] - largest) - logarithm;
    deliver(z, maps[1], matrix, tile);
}

extern "C" __global__ void __launch_bounds__(TEAM, AT_ONCE) softmax_input(MATRIX, MAP(y), MAP(grad), MAP(dx), int blocks) {
    const Matrix matrix = MATRIX_GIVEN;
    Map maps[] = {MAP_GIVEN(y), MAP_GIVEN(grad), MAP_GIVEN(dx)};
    const Tile tile = begin(matrix, maps, 3, blocks);
    Number p[ROUNDS], g[ROUNDS];
    fetch(p, maps[0], matrix, tile, 0);
    fetch(g, maps[1], matrix, tile, 0);
    double total = 0;
#pragma unroll
    for (int r = 0; r < ROUNDS; ++r) total += double(p[r]) * double(g[r]);
    const Number mean = joined<Plus>(total);
#pragma unroll
    for (int r = 0; r < ROUNDS; ++r) p[r] *= g[r] - mean;
    deliver(p, maps[2], matrix, tile);
}

extern "C" __global__ void __launch_bounds__(TEAM, AT_ONCE) log_softmax_input(MATRIX, MAP(y), MAP(grad), MAP(dx), int blocks) {
    const Matrix matrix = MATRIX_GIVEN;
    Map maps[] = {MAP_GIVEN(y), MAP_GIVEN(grad), MAP_GIVEN(dx)};
    const Tile tile = begin(matrix, maps, 3, blocks);
    Number q[ROUNDS], g[ROUNDS];
    fetch(q, maps[0], matrix, tile, 0);
    fetch(g, maps[1], matrix, tile, 0);
    double total = 0;
#pragma unroll
    for (int r = 0; r < ROUNDS; ++r) total += g[r];
    const Number sum = joined<Plus>(total);
#pragma unroll
    for (int r = 0; r < ROUNDS; ++r) g[r] -= exp(q[r]) * sum;
    deliver(g, maps[2], matrix, tile);
}
