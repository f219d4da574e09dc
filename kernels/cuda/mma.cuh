// Products on tensor cores: m16n8k8 in TF32, and three of them for one in float32.
#pragma once

#include "vector.cuh"

// The nearest TF32 number: 10 bits behind the point.
__device__ __forceinline__ u32 tf32(float x) {
    u32 rounded;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(x));
    return rounded;
}

// c += a b. Thread 4 g + t holds a[g or g + 8][t or t + 4], b[t or t + 4][g] and c[g or g + 8][2 t or 2 t + 1].
__device__ __forceinline__ void mma(float (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// Numbers as the tensor cores take them: one TF32 number for each, or (Products 3) two whose sum is nearly it.
template <int Products>
struct Operand {
    u32 big, small;

    __device__ __forceinline__ Operand() {}

    __device__ __forceinline__ explicit Operand(float x) : big(tf32(x)), small(0) {
        if constexpr (Products == 3) small = tf32(x - __uint_as_float(big));
    }
};

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
