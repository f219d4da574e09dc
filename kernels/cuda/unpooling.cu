// Unpooling at remembered positions and at a fixed one. See unpooling.py.
//
// BH, BW: rows and columns of the block of the result in which an index lies, where each lies in one of its own. OWNER:
// the integer that counts the pixels of a plane, and says for a number of the result which number of x it gets.
#include "maps.cuh"

typedef OWNER Owner;
typedef Vector<i64, LANES> Positions;
typedef Vector<Owner, LANES> Owners;

// found += (how far the least index is below 0, the largest, how many lie in their own blocks): maxima and a sum of
// integers, so that it is of no consequence in which order threads come. It begins as 0.
extern "C" __global__ void __launch_bounds__(THREADS, 1) survey(
    Index items, u64* found, const i64* __restrict__ indices, i64 in, i64 ih, i64 iw, int rows, int columns,
    int vectors, int width
) {
    i64 high = 0;
    u64 below = 0, near = 0;
    for (Index item = thread(); item < items; item += (Index)gridDim.x * THREADS) {
        const Place at = place(item, rows, columns, vectors);
        const Positions index = load<i64, LANES>(indices + at.n * in + at.i * ih + at.j * iw + at.c);
        const u64 broad = max(0, min(BW, width - at.j * BW));
#pragma unroll
        for (int k = 0; k < LANES; ++k) {
            const i64 position = index.v[k];
            high = max(high, position);
            below = max(below, position < 0 ? 0 - u64(position) : 0);
#pragma unroll
            for (int u = 0; u < BH; ++u) near += u64(position - (i64(at.i) * BH + u) * width - i64(at.j) * BW) < broad;
        }
    }
#pragma unroll
    for (int apart = 16; apart; apart /= 2) {
        high = max(high, __shfl_xor_sync(~0u, high, apart));
        below = max(below, __shfl_xor_sync(~0u, below, apart));
        near += __shfl_xor_sync(~0u, near, apart);
    }
    if (threadIdx.x % 32 == 0) {
        if (below) atomicMax(found, below);
        atomicMax(found + 1, u64(high));
        atomicAdd(found + 2, near);
    }
}

// Indices that nobody has looked at are taken to lie in their own blocks by the first kernels. They say to `far`, which
// begins as -1, where one does not, and those after them do nothing unless that is so. untried: 0 where it is known.
__device__ __forceinline__ bool done(const int* far, int untried) {
    return untried && *far < 0;
}

__device__ __forceinline__ void say_so(int* far, int untried, const bool (&met)[LANES]) {
    bool all = true;
#pragma unroll
    for (int k = 0; k < LANES; ++k) all = all && met[k];
    if (untried && !all) atomicMax(far, 1);
}

// y = x at its index, 0 elsewhere, for indices in their own blocks: each fills its block.
extern "C" __global__ void __launch_bounds__(THREADS, 1) max_unpool_near(
    Index items, Number* __restrict__ y, const Number* __restrict__ x, i64 xn, i64 xh, i64 xw,
    const i64* __restrict__ indices, i64 in, i64 ih, i64 iw, int height, int width, int rows, int columns, int vectors,
    int block_rows, int block_columns, int* far, int untried
) {
    const Index item = thread();
    if (item >= items) return;
    const Place at = place(item, block_rows, block_columns, vectors);
    const bool here = at.i < rows && at.j < columns;
    bool met[LANES];
    Numbers value = zeros();
    Positions index;
#pragma unroll
    for (int k = 0; k < LANES; ++k) index.v[k] = -1, met[k] = !here;
    if (here) {
        value = load<Number, LANES>(x + at.n * xn + at.i * xh + at.j * xw + at.c);
        index = load<i64, LANES>(indices + at.n * in + at.i * ih + at.j * iw + at.c);
    }
#pragma unroll
    for (int u = 0; u < BH; ++u) {
        const int i = at.i * BH + u;
#pragma unroll
        for (int v = 0; v < BW; ++v) {
            const int j = at.j * BW + v;
            if (i >= height || j >= width) continue;
            const i64 position = i64(i) * width + j;
            Numbers part;
#pragma unroll
            for (int k = 0; k < LANES; ++k) {
                const bool named = index.v[k] == position;
                part.v[k] = named ? value.v[k] : Number(0);
                met[k] = met[k] || named;
            }
            store<Number, LANES>(y + dense(at.n, i, j, at.c, height, width, vectors), part);
        }
    }
    say_so(far, untried, met);
}

// Its gradient: each takes from its block what its index names.
extern "C" __global__ void __launch_bounds__(THREADS, 1) max_unpool_input_near(
    Index items, Number* __restrict__ dx, const Number* __restrict__ grad, i64 gn, i64 gh, i64 gw,
    const i64* __restrict__ indices, i64 in, i64 ih, i64 iw, int height, int width, int rows, int columns, int vectors,
    int* far, int untried
) {
    const Index item = thread();
    if (item >= items) return;
    const Place at = place(item, rows, columns, vectors);
    const Positions index = load<i64, LANES>(indices + at.n * in + at.i * ih + at.j * iw + at.c);
    const Number* image = grad + at.n * gn + at.c;
    Numbers value = zeros();
    bool met[LANES] = {};
#pragma unroll
    for (int u = 0; u < BH; ++u) {
        const int i = at.i * BH + u;
#pragma unroll
        for (int v = 0; v < BW; ++v) {
            const int j = at.j * BW + v;
            const Numbers part = load<Number, LANES>(image + clamped(i, height) * gh + clamped(j, width) * gw);
#pragma unroll
            for (int k = 0; k < LANES; ++k) {
                const bool named = i < height && j < width && index.v[k] == i64(i) * width + j;
                value.v[k] = named ? part.v[k] : value.v[k];
                met[k] = met[k] || named;
            }
        }
    }
    store<Number, LANES>(dx + (i64)item * LANES, value);
    say_so(far, untried, met);
}

extern "C" __global__ void __launch_bounds__(THREADS, 1) disown(
    Index items, Owner* owners, const int* far, int untried
) {
    if (done(far, untried)) return;
    for (Index item = thread(); item < items; item += (Index)gridDim.x * THREADS) {
        Owners none;
#pragma unroll
        for (int k = 0; k < LANES; ++k) none.v[k] = -1;
        store<Owner, LANES>(owners + (i64)item * LANES, none);
    }
}

// owners[index] = the last number of its plane that names it. They begin as -1; an index outside the plane is left out.
extern "C" __global__ void __launch_bounds__(THREADS, 1) own(
    Index items, Owner* owners, const i64* __restrict__ indices, i64 in, i64 ih, i64 iw, i64 pixels, int rows,
    int columns, int vectors, const int* far, int untried
) {
    if (done(far, untried)) return;
    for (Index item = thread(); item < items; item += (Index)gridDim.x * THREADS) {
        const Place at = place(item, rows, columns, vectors);
        const Positions index = load<i64, LANES>(indices + at.n * in + at.i * ih + at.j * iw + at.c);
#pragma unroll
        for (int k = 0; k < LANES; ++k) {
            if (u64(index.v[k]) >= u64(pixels)) continue;
            const i64 to = (at.n * pixels + index.v[k]) * vectors * LANES + at.c + k;
            atomicMax(owners + to, Owner(i64(at.i) * columns + at.j));
        }
    }
}

// y = x of the owner, which is in y itself, or 0 where there is none.
extern "C" __global__ void __launch_bounds__(THREADS, 1) max_unpool(
    Index items, Number* y, const Number* __restrict__ x, i64 xn, i64 xh, i64 xw, i64 pixels, int columns, int vectors,
    const int* far, int untried
) {
    if (done(far, untried)) return;
    for (Index item = thread(); item < items; item += (Index)gridDim.x * THREADS) {
        const Index pixel = item / vectors, c = (item - pixel * vectors) * LANES;
        const Number* image = x + i64(pixel / Index(pixels)) * xn + c;
        const Owners owner = load<Owner, LANES>(reinterpret_cast<const Owner*>(y) + (i64)item * LANES);
        Numbers value;
#pragma unroll
        for (int k = 0; k < LANES; ++k) {
            const Owner i = owner.v[k] / columns, j = owner.v[k] - i * columns;
            value.v[k] = owner.v[k] < 0 ? Number(0) : image[i * xh + j * xw + k];
        }
        store<Number, LANES>(y + (i64)item * LANES, value);
    }
}

// dx = grad at the index, or 0 where that has another owner.
extern "C" __global__ void __launch_bounds__(THREADS, 1) max_unpool_input(
    Index items, Number* __restrict__ dx, const Number* __restrict__ grad, i64 gn, i64 gh, i64 gw,
    const i64* __restrict__ indices, i64 in, i64 ih, i64 iw, const Owner* __restrict__ owners, i64 pixels, int width,
    int rows, int columns, int vectors, const int* far, int untried
) {
    if (done(far, untried)) return;
    for (Index item = thread(); item < items; item += (Index)gridDim.x * THREADS) {
        const Place at = place(item, rows, columns, vectors);
        const Positions index = load<i64, LANES>(indices + at.n * in + at.i * ih + at.j * iw + at.c);
        const Number* image = grad + at.n * gn + at.c;
        Numbers value = zeros();
#pragma unroll
        for (int k = 0; k < LANES; ++k) {
            if (u64(index.v[k]) >= u64(pixels)) continue;
            const i64 to = (at.n * pixels + index.v[k]) * vectors * LANES + at.c + k;
            const Owner i = Owner(index.v[k]) / width, j = Owner(index.v[k]) - i * width;
            if (owners[to] == Owner(i64(at.i) * columns + at.j)) value.v[k] = image[i * gh + j * gw + k];
        }
        store<Number, LANES>(dx + (i64)item * LANES, value);
    }
}

// y = x in the corners of blocks, 0 elsewhere.
extern "C" __global__ void __launch_bounds__(THREADS, 1) unpool(
    Index items, Number* __restrict__ y, const Number* __restrict__ x, i64 xn, i64 xh, i64 xw, int height, int width,
    int vectors, int block_height, int block_width
) {
    const Index item = thread();
    if (item >= items) return;
    const Place at = place(item, height, width, vectors);
    const int i = at.i / block_height, j = at.j / block_width;
    const bool corner = at.i == i * block_height && at.j == j * block_width;
    const Numbers value = corner ? load<Number, LANES>(x + at.n * xn + i * xh + j * xw + at.c) : zeros();
    store<Number, LANES>(y + (i64)item * LANES, value);
}
