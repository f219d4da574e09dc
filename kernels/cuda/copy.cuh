// Copies from global to shared memory that run while the threads go on (cp.async).
#pragma once

#include "vector.cuh"

__device__ __forceinline__ unsigned shared_address(const void* p) {
    return static_cast<unsigned>(__cvta_generic_to_shared(p));
}

// Distances: those of 32 bits wrap around, as parts may be longer than their sum, nor are parts extended to 64 bits then.
__device__ __forceinline__ int plus(int a, int b) { return u32(a) + u32(b); }
__device__ __forceinline__ i64 plus(i64 a, i64 b) { return a + b; }
__device__ __forceinline__ int times(int a, int b) { return u32(a) * u32(b); }
__device__ __forceinline__ i64 times(int a, i64 b) { return a * b; }

// N floats; zeros, and nothing is read, where `there` is false.
template <int N>
__device__ __forceinline__ void copy(unsigned to, const float* from, bool there) {
    const int bytes = there ? 4 * N : 0;
    if constexpr (N == 4) {
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
    } else {
        static_assert(N == 1, "a copy is of 4 or 16 bytes");
        asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
    }
}

// What was copied since the last of these is one group.
__device__ __forceinline__ void end_group() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Wait until all groups of this thread but the last N have come.
template <int N>
__device__ __forceinline__ void wait_for_groups() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}
