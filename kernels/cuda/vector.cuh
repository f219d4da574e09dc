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

template <class T, int N>
__device__ __forceinline__ void store(T* p, const Vector<T, N>& x) {
    *reinterpret_cast<Vector<T, N>*>(p) = x;
}
