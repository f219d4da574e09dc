// Several numbers that are read and written at once: 16 bytes are what one thread moves best.
#pragma once

typedef long long i64;
typedef unsigned char u8;
typedef unsigned int u32;

template <class T, int N>
struct alignas(sizeof(T) * N) Vector {
    T v[N];
};

template <class T, int N>
__device__ __forceinline__ Vector<T, N> load(const T* p) {
    return *reinterpret_cast<const Vector<T, N>*>(p);
}

// p: in global memory. Vectors are written as whole words, as the compiler now and then takes a struct apart and writes
// its numbers one by one.
template <class T, int N>
__device__ __forceinline__ void store(T* p, const Vector<T, N>& x) {
    constexpr int BYTES = sizeof(T) * N;
    if constexpr (BYTES % 16 == 0) {
#pragma unroll
        for (int k = 0; k < BYTES / 16; ++k) __stwb(reinterpret_cast<uint4*>(p) + k, reinterpret_cast<const uint4*>(&x)[k]);
    } else if constexpr (BYTES == 8) {
        __stwb(reinterpret_cast<uint2*>(p), *reinterpret_cast<const uint2*>(&x));
    } else if constexpr (BYTES == 4) {
        __stwb(reinterpret_cast<u32*>(p), *reinterpret_cast<const u32*>(&x));
    } else {
        *reinterpret_cast<Vector<T, N>*>(p) = x;
    }
}
