"""What the threads of a block do together in the emulation of CUDA kernels, beside NumPy."""

import numpy as np
import pytest
from emulation import nvrtc
from emulation.faults import RaceFault
from emulation.trial import random, run

pytestmark = pytest.mark.skipif(not nvrtc.available(), reason="NVRTC is not installed")


def test_grids_and_blocks_of_three_axes():
    y = np.full((3, 2, 4, 3, 5, 6), -1, np.int32)
    source = """kernel(int* y) {
        int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
        int thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
        y[block * (blockDim.x * blockDim.y * blockDim.z) + thread] = block * 1000 + thread;
    }"""
    run(source, (4, 2, 3), (6, 5, 3), y)
    np.testing.assert_array_equal(y.reshape(24, 90), np.arange(24)[:, None] * 1000 + np.arange(90))


REVERSAL = """kernel(const float* x, float* y) {
    __shared__ float room[256];
    extern __shared__ float more[];
    int i = blockIdx.x * 256 + threadIdx.x;
    room[threadIdx.x] = x[i];
    more[threadIdx.x] = 2 * x[i];
    BARRIER
    y[i] = room[255 - threadIdx.x] + more[255 - threadIdx.x];
}"""


def test_shared_memory_and_barriers():
    x, y = random(9 * 256), np.empty(9 * 256, np.float32)
    counts = run(REVERSAL.replace("BARRIER", "__syncthreads();"), (9,), (256,), x, y, shared=1024)
    np.testing.assert_array_equal(y.reshape(9, 256), 3 * x.reshape(9, 256)[:, ::-1])
    assert counts.bank_conflicts == 0 and counts.executed("bar.sync") == 9 * 8


def test_a_tree_of_sums():
    x, y = np.random.default_rng(0).integers(-99, 99, (20, 256)).astype(np.float32), np.empty(20, np.float32)
    source = """kernel(const float* x, float* y) {
        __shared__ float room[256];
        int t = threadIdx.x;
        room[t] = x[blockIdx.x * 256 + t];
        __syncthreads();
        for (int half = 128; half > 0; half /= 2) {
            if (t < half) room[t] += room[t + half];
            __syncthreads();
        }
        if (t == 0) y[blockIdx.x] = room[0];
    }"""
    run(source, (20,), (256,), x, y)
    np.testing.assert_array_equal(y, x.sum(axis=1))


def test_blocks_vote():
    x, y = np.random.default_rng(0).integers(0, 100, (6, 96)).astype(np.int32), np.empty((6, 96, 3), np.int32)
    source = """kernel(const int* x, int* y) {
        int i = blockIdx.x * 96 + threadIdx.x;
        y[3 * i] = __syncthreads_count(x[i] > 30);
        y[3 * i + 1] = __syncthreads_or(x[i] == 99);
        y[3 * i + 2] = __syncthreads_and(x[i] > 1);
    }"""
    run(source, (6,), (96,), x, y)
    expected = np.stack([(x > 30).sum(axis=1), (x == 99).any(axis=1), (x > 1).all(axis=1)], axis=1)
    np.testing.assert_array_equal(y, np.broadcast_to(expected[:, None], y.shape))


def test_warps_exchange():
    x = np.random.default_rng(0).integers(0, 5, (4, 96)).astype(np.int32)
    y = np.empty((9, 4, 96), np.int32)
    source = """kernel(const int* x, int* y) {
        int i = blockIdx.x * blockDim.x + threadIdx.x, v = x[i], n = 384;
        y[i] = __shfl_xor_sync(~0u, v, 5);
        y[i + n] = __shfl_up_sync(~0u, v, 3);
        y[i + 2 * n] = __shfl_down_sync(~0u, v, 7, 16);
        y[i + 3 * n] = __shfl_sync(~0u, v, 2, 8);
        y[i + 4 * n] = __ballot_sync(~0u, v > 2);
        y[i + 5 * n] = __any_sync(~0u, v == 4) + 2 * __all_sync(~0u, v < 4);
        y[i + 6 * n] = __match_any_sync(~0u, v);
        y[i + 7 * n] = __reduce_add_sync(~0u, v);
        int sum = v;
        for (int k = 16; k > 0; k /= 2) sum += __shfl_xor_sync(~0u, sum, k);
        y[i + 8 * n] = sum;
    }"""
    run(source, (4,), (96,), x, y)
    warps, lane, bits = x.reshape(-1, 32), np.arange(32), np.uint32(1) << np.arange(32, dtype=np.uint32)
    down = np.where(lane % 16 + 7 < 16, lane + 7, lane)
    expected = [
        warps[:, lane ^ 5],
        warps[:, np.where(lane >= 3, lane - 3, lane)],
        warps[:, down],
        warps[:, lane // 8 * 8 + 2],
        np.repeat(((warps > 2) * bits).sum(axis=1, keepdims=True).astype(np.uint32).view(np.int32), 32, axis=1),
        np.repeat(((warps == 4).any(axis=1) + 2 * (warps < 4).all(axis=1))[:, None], 32, axis=1),
        ((warps[:, :, None] == warps[:, None, :]) * bits).sum(axis=2).astype(np.uint32).view(np.int32),
        *[np.repeat(warps.sum(axis=1, keepdims=True), 32, axis=1)] * 2,
    ]
    np.testing.assert_array_equal(y.reshape(9, -1, 32), expected)


def test_parts_of_warps_exchange():
    x, y = np.arange(64, dtype=np.int32), np.empty(64, np.int32)
    source = """kernel(const int* x, int* y) {
        int i = threadIdx.x, v = x[i];
        if (i % 32 < 16) { y[i] = __shfl_xor_sync(0xffffu, v, 1); }
        else { v *= 10; y[i] = __shfl_xor_sync(0xffff0000u, v, 2) + __popc(__activemask()); }
    }"""
    run(source, (1,), (64,), x, y)
    expected = np.where(x % 32 < 16, x ^ 1, (x ^ 2) * 10 + 16)
    np.testing.assert_array_equal(y, expected)


def test_atomics():
    x = np.random.default_rng(0).integers(0, 40, 4000).astype(np.int32)
    counts, slots, extremes = np.zeros(40, np.int32), np.full(4000, -1, np.int32), np.array([100, -1], np.int32)
    most = np.zeros(1, np.uint64)
    source = """kernel(const int* x, int* counts, int* slots, int* extremes, unsigned long long* most) {
        __shared__ int room[40];
        int i = blockIdx.x * blockDim.x + threadIdx.x;
        if (threadIdx.x < 40) room[threadIdx.x] = 0;
        __syncthreads();
        if (i < 4000) {
            atomicAdd(&room[x[i]], 1);
            atomicMin(&extremes[0], x[i]);
            atomicMax(&extremes[1], x[i]);
            atomicMax(most, ((unsigned long long)x[i] << 32) | i);
        }
        __syncthreads();
        if (threadIdx.x < 40) {
            int first = atomicAdd(&counts[threadIdx.x], room[threadIdx.x]);
            slots[blockIdx.x * 40 + threadIdx.x] = first;
        }
    }"""
    run(source, (16,), (256,), x, counts, slots, extremes, most)
    np.testing.assert_array_equal(counts, np.bincount(x, minlength=40))
    assert [*extremes] == [x.min(), x.max()]
    assert int(most[0]) == (int(x.max()) << 32) + int(np.flatnonzero(x == x.max())[-1])
    blocks = np.array([np.bincount(x[start : start + 256], minlength=40) for start in range(0, 4000, 256)])
    np.testing.assert_array_equal(slots[:640].reshape(16, 40), np.cumsum(blocks, axis=0) - blocks)


PTX = """
__device__ __forceinline__ unsigned shared_address(const void* p) { return (unsigned)__cvta_generic_to_shared(p); }
__device__ __forceinline__ void copy16(void* to, const void* from, int bytes) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" :: "r"(shared_address(to)), "l"(from), "r"(bytes));
}
__device__ __forceinline__ void commit() { asm volatile("cp.async.commit_group;"); }
template <int N> __device__ __forceinline__ void wait() { asm volatile("cp.async.wait_group %0;" :: "n"(N)); }
__device__ __forceinline__ unsigned tf32(float x) {
    unsigned y;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
    return y;
}
__device__ __forceinline__ void mma(float* d, const unsigned* a, const unsigned* b) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
"""


def tensor_float(x):
    return ((np.asarray(x, np.float32).view(np.uint32) + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)


@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
@pytest.mark.parametrize("whole", [True, False])
def test_matrix_products(whole, arch):
    a, b, c = random(16, 8), random(8, 8, seed=1), random(16, 8, seed=2)
    if whole:
        a, b, c = (np.rint(10 * each).astype(np.float32) for each in (a, b, c))
    y = np.empty((16, 8), np.float32)
    source = (
        PTX
        + """extern "C" __global__ void kernel(const float* a, const float* b, const float* c, float* y) {
        int g = threadIdx.x / 4, t = threadIdx.x % 4;
        const float *upper = a + g * 8 + t, *lower = upper + 64;
        unsigned p[4] = {tf32(upper[0]), tf32(lower[0]), tf32(upper[4]), tf32(lower[4])};
        unsigned q[2] = {tf32(b[t * 8 + g]), tf32(b[(t + 4) * 8 + g])};
        float d[4] = {c[g * 8 + 2 * t], c[g * 8 + 2 * t + 1], c[(g + 8) * 8 + 2 * t], c[(g + 8) * 8 + 2 * t + 1]};
        mma(d, p, q);
        y[g * 8 + 2 * t] = d[0];
        y[g * 8 + 2 * t + 1] = d[1];
        y[(g + 8) * 8 + 2 * t] = d[2];
        y[(g + 8) * 8 + 2 * t + 1] = d[3];
    }"""
    )
    run(source, (1,), (32,), a, b, c, y, arch=arch)
    expected = tensor_float(a).astype(np.float64) @ tensor_float(b) + c
    lost = np.abs(expected) - np.abs(y)  # of what float32 does not hold: cut off, never rounded up
    assert (lost >= 0).all() and (lost < np.spacing(np.abs(y))).all() and (not whole or not lost.any())


@pytest.mark.parametrize("transposed", [False, True])
def test_matrices_for_tensor_cores(transposed):
    x = np.arange(32 * 8, dtype=np.uint16).reshape(32, 8)
    y = np.empty((4, 32), np.uint32)
    source = (
        PTX
        + """extern "C" __global__ void kernel(const uint4* x, unsigned* y) {
        __shared__ uint4 room[32];
        room[threadIdx.x] = x[threadIdx.x];
        __syncthreads();
        unsigned d[4];
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.TRANS.shared.b16 {%0,%1,%2,%3}, [%4];"
            : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3]) : "r"(shared_address(&room[threadIdx.x])));
        for (int k = 0; k < 4; k++) y[k * 32 + threadIdx.x] = d[k];
    }""".replace("TRANS.", "trans." if transposed else "")
    )
    run(source, (1,), (32,), x, y)
    matrices = x.reshape(4, 8, 8)
    matrices = matrices.transpose(0, 2, 1) if transposed else matrices
    np.testing.assert_array_equal(y.view(np.uint16).reshape(4, 8, 8), matrices)


COPIES = (
    PTX
    + """extern "C" __global__ void kernel(const float* x, float* y, int n) {
    __shared__ float room[2][512];
    int t = threadIdx.x;
    for (int k = 0; k < 2; k++) {
        int left = n - (k * 512 + 4 * t);
        int bytes = left < 0 ? 0 : left > 4 ? 16 : 4 * left;
        copy16(&room[k][4 * t], x + (bytes ? k * 512 + 4 * t : 0), bytes);
        commit();
    }
    FIRST
    for (int j = 0; j < 4; j++) y[j * 128 + t] = room[0][511 - (j * 128 + t)];
    SECOND
    for (int j = 0; j < 4; j++) y[512 + j * 128 + t] = room[1][511 - (j * 128 + t)];
}"""
)


@pytest.mark.parametrize("n", [1024, 1021, 700])
def test_copies_that_land_later(n):
    x, y = random(n), np.empty(1024, np.float32)
    source = COPIES.replace("FIRST", "wait<1>(); __syncthreads();").replace("SECOND", "wait<0>(); __syncthreads();")
    run(source, (1,), (128,), x, y, np.int32(n))
    whole = np.zeros(1024, np.float32)
    whole[:n] = x
    np.testing.assert_array_equal(y.reshape(2, 512), whole.reshape(2, 512)[:, ::-1])


@pytest.mark.parametrize(
    "first, second",
    [
        ("__syncthreads();", "wait<0>(); __syncthreads();"),
        ("wait<1>();", "wait<0>(); __syncthreads();"),
        ("wait<1>(); __syncthreads();", "__syncthreads();"),
        ("wait<1>(); __syncthreads();", "wait<0>();"),
    ],
)
def test_a_copy_that_is_not_waited_for(first, second):
    x, y = random(1024), np.empty(1024, np.float32)
    with pytest.raises(RaceFault, match=r"shared memory, which"):
        run(COPIES.replace("FIRST", first).replace("SECOND", second), (1,), (128,), x, y, np.int32(1024))
