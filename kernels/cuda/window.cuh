// Sliding windows whose shape is known when this is compiled: KH x KW taps, SH and SW apart, DH and DW between taps.
#pragma once
#include "maps.cuh"

constexpr int FEW = 9;     // taps, or windows around a pixel, written out at most: all loads are under way at once
constexpr int BLOCK = 16;  // pixels that a thread writes, at most

// Windows in a column, and in a row, that may reach the same pixel.
constexpr int WINDOWS_H = (KH - 1) * DH / SH + 1, WINDOWS_W = (KW - 1) * DW / SW + 1;

// How many of them, rows and columns, are written out.
constexpr int TAPS_H = KH * KW <= FEW ? KH : 1, TAPS_W = KW <= FEW ? KW : 1;
constexpr int AROUND_H = WINDOWS_H * WINDOWS_W <= FEW ? WINDOWS_H : 1, AROUND_W = WINDOWS_W <= FEW ? WINDOWS_W : 1;

// And of the pixels from one window to the next.
constexpr int STEP_H = SH * SW <= BLOCK ? SH : 1, STEP_W = SH * SW <= BLOCK ? SW : 1;

// The first tap of a window at `start` that is not before the map.
__device__ __forceinline__ int first_tap(int start, int dilation) {
    return start < 0 ? (dilation - 1 - start) / dilation : 0;
}

// The tap with which a window at `start` reaches a pixel, -1 if with none; constants of a row or a column.
template <int TAPS, int DILATION>
__device__ __forceinline__ int reaching(int pixel, int start) {
    const int distance = pixel - start;
    return distance >= 0 && distance % DILATION == 0 && distance / DILATION < TAPS ? distance / DILATION : -1;
}
