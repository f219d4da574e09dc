// Transposition of maps between planes (NCHW) and pixels (channels-last), through tiles in shared memory. See layout.py.
//
// -D: NUMBER (of the elements' size), CHANNELS PIXELS (of a tile), PITCH (numbers from one of its channels to the next),
// TO_PIXELS (1: planes are read and pixels written; 0: the other way round).
#include "vector.cuh"

constexpr int THREADS = 256;
constexpr int SIZE = CHANNELS * PIXELS, EACH = (SIZE + THREADS - 1) / THREADS;

// The number of a tile that a thread moves i-th: along the pixels of a plane, or the channels of a pixel.
struct Place {
    int c, p;

    __device__ __forceinline__ Place(int i, bool planes) {
        const int n = threadIdx.x + i * THREADS;
        c = planes ? n / PIXELS : n % CHANNELS, p = planes ? n % PIXELS : n / CHANNELS;
    }

    __device__ __forceinline__ bool within(int channels, int pixels) const { return c < channels && p < pixels; }
};

// image, plane, pixel: numbers from one to the next, in `from`, `to`, or the one of them that is so.
extern "C" __global__ void __launch_bounds__(THREADS) transpose(
    NUMBER* __restrict__ to, const NUMBER* __restrict__ from, i64 to_image, i64 from_image, i64 plane, i64 pixel,
    int channels, i64 pixels
) {
    __shared__ NUMBER tile[CHANNELS * PITCH];
    const u32 wide = (channels + CHANNELS - 1) / CHANNELS;
    const i64 high = (pixels + PIXELS - 1) / PIXELS, block = blockIdx.x / wide, image = block / high;
    const int first_channel = blockIdx.x % wide * CHANNELS, mine = min(CHANNELS, channels - first_channel);
    const i64 first_pixel = block % high * PIXELS;
    const int near = min((i64)PIXELS, pixels - first_pixel);
    const i64 in_planes = first_channel * plane + first_pixel, in_pixels = first_pixel * pixel + first_channel;
    from += image * from_image + (TO_PIXELS ? in_planes : in_pixels);
    to += image * to_image + (TO_PIXELS ? in_pixels : in_planes);

    NUMBER values[EACH];
#pragma unroll
    for (int i = 0; i < EACH; ++i) {
        const Place at(i, TO_PIXELS);
        if (at.within(mine, near)) values[i] = from[TO_PIXELS ? at.c * plane + at.p : at.p * pixel + at.c];
    }
#pragma unroll
    for (int i = 0; i < EACH; ++i) {
        const Place at(i, TO_PIXELS);
        if (at.within(mine, near)) tile[at.c * PITCH + at.p] = values[i];
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < EACH; ++i) {
        const Place at(i, !TO_PIXELS);
        if (at.within(mine, near)) to[TO_PIXELS ? at.p * pixel + at.c : at.c * plane + at.p] = tile[at.c * PITCH + at.p];
    }
}
