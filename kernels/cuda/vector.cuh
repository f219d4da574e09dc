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
// its numbers one by one. (__stwb would be a strong store.)
template <class T, int N>
__device__ __forceinline__ void store(T* p, const Vector<T, N>& x) {
    constexpr int BYTES = sizeof(T) * N;
    const u32* words = reinterpret_cast<const u32*>(&x);
    if constexpr (BYTES % 16 == 0) {
#pragma unroll
        for (int k = 0; k < BYTES / 4; k += 4) {
            asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(reinterpret_cast<u32*>(p) + k), "r"(words[k]),
                         "r"(words[k + 1]), "r"(words[k + 2]), "r"(words[k + 3])
                         : "memory");
        }
    } else if constexpr (BYTES == 8) {
        asm volatile("st.global.v2.b32 [%0], {%1, %2};" ::"l"(p), "r"(words[0]), "r"(words[1]) : "memory");
    } else if constexpr (BYTES == 4) {
        asm volatile("st.global.b32 [%0], %1;" ::"l"(p), "r"(words[0]) : "memory");
    } else {
        *reinterpret_cast<Vector<T, N>*>(p) = x;
    }
}
