// Which terms a sum takes, one after the other: how far a thread is in it.
#pragma once

#include "vector.cuh"

// A tap and a channel, in the order (u, v, c).
struct Tap {
    int u, v, c;

    __device__ __forceinline__ Tap(int number, int columns, int channels) {
        const int taps = number / channels;
        u = taps / columns, v = taps % columns, c = number % channels;
    }

    // once: no step is longer than the channels.
    __device__ __forceinline__ void advance(int by, int columns, int channels, bool once) {
        c += by;
        while (c >= channels) {
            c -= channels;
            if (++v == columns) v = 0, ++u;
            if (once) break;
        }
    }
};

// A pixel (image, i, j), and how many there are from it on.
struct Pixel {
    int image, i, j, left;

    __device__ __forceinline__ Pixel(int number, int end, int rows, int columns) : left(end - number) {
        const int line = number / columns;
        image = line / rows, i = line % rows, j = number % columns;
    }

    __device__ __forceinline__ void advance(int by, int rows, int columns) {
        left -= by;
        j += by;
        while (j >= columns) {
            j -= columns;
            if (++i == rows) i = 0, ++image;
        }
    }
};

// A number to divide by: n / it is n * factor / 2**(31 + shift), rounded down, for any n from 0 on.
struct Divisor {
    u32 factor;
    int shift;
};

__device__ __forceinline__ int operator/(int n, Divisor by) { return __umulhi(2 * u32(n), by.factor) >> by.shift; }
