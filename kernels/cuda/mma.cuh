// Products on tensor cores: m16n8k8 in TF32, and three of them for one in float32.
#pragma once

#include "vector.cuh"

// Half of the last place of a TF32 number, which has 10 behind the point, and the bits that it has. Adding the one and
// keeping the others rounds to nearest, ties away from 0. Tensor cores see no other bits, so compilers let them cut.
constexpr u32 HALF = 0x1000, KEPT = 0xffffe000;

// c += a b. Thread 4 g + t holds a[g or g + 8][t or t + 4], b[t or t + 4][g] and c[g or g + 8][2 t or 2 t + 1].
__device__ __forceinline__ void mma(float (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// A number as tensor cores take it: one TF32 number, or (Products 3) two whose sum is nearly it.
template <int Products>
struct Operand {
    u32 big, small;
};

// Two factors of the same sums. Where one is NaN so are the sums, whatever the other is: one test is enough for both.
__device__ __forceinline__ void round(float x, float y, Operand<1>& to_x, Operand<1>& to_y) {
    u32 a = __float_as_uint(x), b = __float_as_uint(y);
    if (x < y || x >= y) a += HALF, b += HALF;  // which would make 0 of a NaN of all ones
    to_x.big = a & KEPT, to_y.big = b & KEPT;
}

// What is left of a number has 12 bits at most. Times 1 + 2**-11 it is past the next TF32 number if it was a tie, and
// not if it was less, so that it may be cut. It is NaN where the number is NaN or infinite.
__device__ __forceinline__ Operand<3> split(float x) {
    const u32 big = __float_as_uint(x) + HALF & KEPT;
    return {big, __float_as_uint((x - __uint_as_float(big)) * (1 + 0x1p-11f)) & KEPT};
}

__device__ __forceinline__ void round(float x, float y, Operand<3>& to_x, Operand<3>& to_y) {
    to_x = split(x), to_y = split(y);
}

// c += a b, in the order of `mma`. Of three products the small ones go first, and their sum goes to c by plain units:
// tensor cores cut off what float32 does not hold, always towards 0, and in long sums that adds up.
template <int Products>
__device__ __forceinline__ void multiply(
    float (&c)[4], const Operand<Products> (&a)[4], const Operand<Products> (&b)[2]
) {
    if constexpr (Products == 3) {
        float sum[4] = {0, 0, 0, 0};
        mma(sum, a[0].small, a[1].small, a[2].small, a[3].small, b[0].big, b[1].big);
        mma(sum, a[0].big, a[1].big, a[2].big, a[3].big, b[0].small, b[1].small);
        mma(sum, a[0].big, a[1].big, a[2].big, a[3].big, b[0].big, b[1].big);
#pragma unroll
        for (int q = 0; q < 4; ++q) c[q] += sum[q];
    } else {
        mma(c, a[0].big, a[1].big, a[2].big, a[3].big, b[0].big, b[1].big);
    }
}
