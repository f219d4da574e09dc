// Sums in an order that shapes and strides alone decide: each thread's, then those of a block as a tree, which a second
// kernel adds up. All are double; nothing is atomic.
#pragma once
#include "matrix.cuh"

constexpr int FINISHERS = 512;  // threads of a block of the second kernel, at most

// sums[k width + first + v apart] = the sum over the threads of a column of term[v].sums[k].
template <int SUMS, class Term>
__device__ __forceinline__ void block_sums(
    const Term (&term)[LANES], double* sums, int width, int first, int apart, bool wanted
) {
    __shared__ double room[SUMS * LANES][THREADS];
    const int me = threadIdx.y * blockDim.x + threadIdx.x;
#pragma unroll
    for (int k = 0; k < SUMS * LANES; ++k) room[k][me] = term[k % LANES].sums[k / LANES];
    for (int count = blockDim.y, half; count > 1; count = half) {
        half = (count + 1) / 2;
        __syncthreads();
        if (threadIdx.y >= count - half) continue;
#pragma unroll
        for (int k = 0; k < SUMS * LANES; ++k) room[k][me] += room[k][me + half * blockDim.x];
    }
    if (threadIdx.y || !wanted) return;
#pragma unroll
    for (int k = 0; k < SUMS * LANES; ++k) sums[k / LANES * width + first + k % LANES * apart] = room[k][me];
}

// The sums of each column of a matrix: partial[part][k][column].
template <int SUMS, class Term>
__device__ __forceinline__ void sums_of_rows(const Matrix& matrix, const Term (&term)[LANES], double* partial, int part) {
    block_sums<SUMS>(term, partial + (i64)part * SUMS * matrix.width, matrix.width, column(), 1, column() < matrix.width);
}

// What the threads of a column of a block have, added up by the first of them; true for that one.
template <int SUMS>
__device__ __forceinline__ bool added_up(double (&total)[SUMS]) {
    __shared__ double room[SUMS][FINISHERS];
    const int me = threadIdx.y * blockDim.x + threadIdx.x;
#pragma unroll
    for (int k = 0; k < SUMS; ++k) room[k][me] = total[k];
    for (int count = blockDim.y, half; count > 1; count = half) {
        half = (count + 1) / 2;
        __syncthreads();
        if (threadIdx.y >= count - half) continue;
#pragma unroll
        for (int k = 0; k < SUMS; ++k) room[k][me] += room[k][me + half * blockDim.x];
    }
#pragma unroll
    for (int k = 0; k < SUMS; ++k) total[k] = room[k][me];
    return threadIdx.y == 0;
}

// The image and the channel of a thread of the second kernel, whose blocks are those of every image in turn.
struct Owner {
    int image, channel;
};

__device__ __forceinline__ Owner owner(int channels) {
    const int blocks = (channels + blockDim.x - 1) / blockDim.x, image = blockIdx.x / blocks;
    return {image, int((blockIdx.x - image * blocks) * blockDim.x + threadIdx.x)};
}

// The sums of a channel over all parts and all pixels of a row; true in the one thread that has them.
template <int SUMS>
__device__ __forceinline__ bool finished(
    const double* partial, int parts, int width, int channels, int& channel, double (&total)[SUMS]
) {
    const Owner own = owner(channels);
    channel = own.channel;
    partial += (i64)own.image * parts * SUMS * width;
#pragma unroll
    for (int k = 0; k < SUMS; ++k) total[k] = 0;
    if (channel < channels) {
        for (int part = threadIdx.y; part < parts; part += blockDim.y) {
            for (int c = channel; c < width; c += channels) {
#pragma unroll
                for (int k = 0; k < SUMS; ++k) total[k] += partial[((i64)part * SUMS + k) * width + c];
            }
        }
    }
    return added_up<SUMS>(total) && channel < channels;
}
