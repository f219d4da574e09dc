"""The emulation of CUDA kernels beside NumPy, and every kind of fault that it must find."""

import math

import numpy as np
import pytest
from emulation import nvrtc
from emulation.faults import ConvergenceFault, Fault, MemoryFault, RaceFault, UnknownInstruction
from emulation.launch import Module, allocations, compile_ptx

pytestmark = pytest.mark.skipif(not nvrtc.available(), reason="NVRTC is not installed")


def run(source, grid, block, *arguments, shared=0, options=("-std=c++17",), arch="sm_80"):
    """Compile `kernel` and run it on NumPy arrays (registered meanwhile) and scalars; what was counted."""
    source = 'extern "C" __global__ void ' + source.strip() if "__global__" not in source else source
    function = Module(compile_ptx(source, options, arch)).function("kernel")
    arrays = [argument for argument in arguments if isinstance(argument, np.ndarray) and argument.ndim]
    for array in arrays:
        allocations.add(array.ctypes.data, array.nbytes)
    try:
        values = [each.ctypes.data if isinstance(each, np.ndarray) and each.ndim else each for each in arguments]
        return function((*grid, 1, 1)[:3], (*block, 1, 1)[:3], values, shared)
    finally:
        for array in arrays:
            allocations.remove(array.ctypes.data)


def random(*shape, seed=0):
    """Numbers that begin where a sector of global memory does."""
    room = np.empty(math.prod(shape) + 8, np.float32)
    values = room[-room.ctypes.data // 4 % 8 :][: math.prod(shape)].reshape(shape)
    values[:] = np.random.default_rng(seed).standard_normal(shape)
    return values


FUNCTIONS = {
    "expf(x)": (np.exp, 2e-6),
    "exp2f(x)": (np.exp2, 2e-6),
    "logf(fabsf(x))": (lambda x: np.log(np.abs(x)), 2e-6),
    "log1pf(fabsf(x))": (lambda x: np.log1p(np.abs(x)), 2e-6),
    "expm1f(x)": (np.expm1, 2e-6),
    "powf(fabsf(x), 1.7f)": (lambda x: np.abs(x) ** np.float64(np.float32(1.7)), 4e-6),
    "tanhf(x)": (np.tanh, 2e-6),
    "erff(x)": (np.vectorize(math.erf, otypes=[np.float64]), 2e-6),
    "sinf(x)": (np.sin, 2e-6),
    "cosf(1000 * x)": (lambda x: np.cos(np.float64(np.float32(1000) * x.astype(np.float32))), 2e-6),
    "sqrtf(fabsf(x))": (lambda x: np.sqrt(np.abs(x)), 1e-7),
    "rsqrtf(fabsf(x))": (lambda x: 1 / np.sqrt(np.abs(x)), 2e-7),
    "x / (x * x + 1)": (lambda x: x / (x * x + 1), 3e-7),
    "__frcp_rn(x)": (lambda x: 1 / x, 1e-7),
    "__expf(x)": (np.exp, 2e-6),
    "1 / (1 + expf(-x))": (lambda x: 1 / (1 + np.exp(-x)), 2e-6),
    "(float)exp((double)x)": (np.exp, 1e-7),
    "(float)(log(fabs((double)x)) / 3.0)": (lambda x: np.log(np.abs(x)) / 3, 1e-7),
    "(float)pow(fabs((double)x), 2.5)": (lambda x: np.abs(x) ** 2.5, 1e-7),
    "(float)log1p(exp((double)-x))": (lambda x: np.log1p(np.exp(-x)), 1e-7),
    "(float)tanh((double)x)": (np.tanh, 1e-7),
    "(float)(1 / (1 + (double)x * x))": (lambda x: 1 / (1 + x * x), 1e-7),
    "(float)sqrt((double)x * x + 1)": (lambda x: np.sqrt(x * x + 1), 1e-7),
    "(float)erf((double)x)": (np.vectorize(math.erf, otypes=[np.float64]), 1e-7),
    "fmodf(x, 0.3f)": (lambda x: np.fmod(x, np.float64(np.float32(0.3))), 1e-6),
    "floorf(x) + ceilf(2 * x) + truncf(3 * x) + rintf(x)": (
        lambda x: np.floor(x) + np.ceil(2 * x) + np.trunc(3 * x) + np.rint(x),
        1e-7,
    ),
}


@pytest.mark.parametrize("options", [(), ("-ftz=true",)])  # CuPy asks for the second
def test_functions(options):
    x = random(2000) * 3
    lines = "".join(f"y[{place} * 2000 + i] = {call};" for place, call in enumerate(FUNCTIONS))
    y = np.empty((len(FUNCTIONS), 2000), np.float32)
    source = f"""kernel(const float* values, float* y) {{
        int i = blockIdx.x * blockDim.x + threadIdx.x;
        if (i >= 2000) return;
        float x = values[i];
        {lines}
    }}"""
    run(source, (16,), (128,), x, y, options=options)
    for (call, (function, tolerance)), result in zip(FUNCTIONS.items(), y, strict=True):
        np.testing.assert_allclose(result, function(x.astype(np.float64)), tolerance, 1e-6, err_msg=call)


def test_faster_functions_flush_what_is_subnormal():
    x = np.array([1e-39, -1e-39, 2.0, 1e-20], np.float32)
    y = np.empty(4, np.float32)
    run("kernel(float* x, float* y) { y[threadIdx.x] = x[threadIdx.x] * 0.5f; }", (1,), (4,), x, y,
        options=("-ftz=true",))  # fmt: skip
    np.testing.assert_array_equal(y, np.array([0, -0.0, 1, 5e-21], np.float32))
    assert np.signbit(y[1])


def test_fma_rounds_once():
    a, b, c = (random(4096, seed=seed) for seed in range(3))
    a[:4] = np.float32(1 + 2.0**-12)  # its square lies between two float32 numbers, a little beside the middle
    b[:4] = np.float32(1 + 2.0**-12)
    c[:4] = np.float32([2.0**-70, -(2.0**-70), 0, 2.0**-25])
    y = np.empty((5, 4096), np.float32)
    source = """kernel(const float* a, const float* b, const float* c, float* y) {
        int i = blockIdx.x * blockDim.x + threadIdx.x;
        y[i] = __fmaf_rn(a[i], b[i], c[i]);
        y[i + 4096] = __fmaf_rd(a[i], b[i], c[i]);
        y[i + 2 * 4096] = __fmaf_ru(a[i], b[i], c[i]);
        y[i + 3 * 4096] = __fmaf_rz(a[i], b[i], c[i]);
        y[i + 4 * 4096] = __fadd_ru(a[i], c[i]);
    }"""
    run(source, (16,), (256,), a, b, c, y)
    wide = [np.asarray(values, np.longdouble) for values in (a, b, c)]
    exact = wide[0] * wide[1] + wide[2]  # 64 bits: exact but for the numbers chosen above
    inexact = np.abs(exact - y[0]) > 0
    assert (y[1] <= exact)[4:].all() and (y[2] >= exact)[4:].all() and (np.abs(y[3]) <= np.abs(exact))[4:].all()
    assert (np.nextafter(y[1], np.float32(np.inf))[inexact] == y[2][inexact])[4:].all()
    assert (np.minimum(exact - y[1], y[2] - exact) == np.abs(exact - y[0]))[4:].all()
    middle = np.float32(1 + 2.0**-11)
    assert [*y[0, :4]] == [np.nextafter(middle, np.float32(2)), middle, middle, np.nextafter(middle, np.float32(2))]
    total = (wide[0] + wide[2])[4:]
    assert (y[4, 4:] >= total).all() and (np.nextafter(y[4, 4:], np.float32(-np.inf)) < total).all()


def test_integers():
    rng = np.random.default_rng(0)
    a = rng.integers(-(2**31), 2**31, 1024).astype(np.int32)
    b = rng.integers(-1000, 1000, 1024).astype(np.int32)
    b[b == 0] = 7
    u, w = a.view(np.uint32), b.view(np.uint32)
    wide = a.astype(np.int64) * b * 12345
    cases = {
        "a / b": np.trunc(a.astype(float) / b).astype(np.int64),
        "a % b": np.fmod(a, b),
        "(u32)a / 7u": u // 7,
        "(u32)a % (u32)b": u % w,
        "__mulhi(a, b)": a.astype(np.int64) * b >> 32,
        "__umulhi(a, b)": u.astype(np.uint64) * w >> np.uint64(32),
        "__mul64hi(big, big)": [int(value) * int(value) >> 64 for value in wide],
        "__umul64hi(big, big)": [(int(value) % 2**64) ** 2 >> 64 for value in wide],
        "__popc(a)": np.bitwise_count(u),
        "__clz(a)": [32 - int(value).bit_length() for value in u],
        "__clzll(big)": [64 - (int(value) % 2**64).bit_length() for value in wide],
        "__brev(a)": [int(f"{value:032b}"[::-1], 2) for value in u],
        "__ffs(a)": [(int(value) & -int(value)).bit_length() for value in u],
        "__byte_perm(a, b, 0x5140)": [
            int.from_bytes(bytes([x[0], y[0], x[1], y[1]]), "little")
            for x, y in zip(u.view(np.uint8).reshape(-1, 4), w.view(np.uint8).reshape(-1, 4), strict=True)
        ],
        "__funnelshift_l(a, b, 5)": (w << np.uint32(5)) | (u >> np.uint32(27)),
        "__funnelshift_r(a, b, b)": [
            ((int(y) << 32 | int(x)) >> (int(y) & 31)) & 0xFFFFFFFF for x, y in zip(u, w, strict=True)
        ],
        "a >> (b & 31)": a >> (b & 31),
        "(u32)a >> (b & 31)": u >> (w & 31),
        "a << (b & 31)": (a << (b & 31)).astype(np.int32),
        "min(a, b) ^ max(a, 5) | ~b & 0xff": np.minimum(a, b) ^ np.maximum(a, 5) | ~b & 0xFF,
        "abs(b) - (a > b ? a : b)": (np.abs(b) - np.where(a > b, a, b)).astype(np.int32),
        "(signed char)a + (unsigned char)b + (short)a": a.astype(np.int8).astype(int)
        + b.astype(np.uint8)
        + a.astype(np.int16),
        "(a >> 5) & 0x3ff": (a >> 5) & 0x3FF,
        "(a & ~0xff0) | ((b & 0xff) << 4)": (a & ~0xFF0) | ((b & 0xFF) << 4),
        "(i64)((float)a * 1.5f)": (a.astype(np.float32) * np.float32(1.5)).astype(np.int64),
        "(i64)(int)(a * 3.7)": np.clip(np.trunc(a * 3.7), -(2**31), 2**31 - 1).astype(np.int64),
        "(i64)__float2int_rn(b * 0.5f) + __float2int_rd(b * .3f)": np.rint(b * 0.5).astype(int)
        + np.floor(b.astype(np.float32) * np.float32(0.3)).astype(int),
        "(i64)__float_as_int((float)a)": a.astype(np.float32).view(np.int32),
        "(i64)__double_as_longlong((double)a / b)": (a / b).view(np.int64),
    }
    lines = "".join(f"y[{place} * 1024 + i] = {call};" for place, call in enumerate(cases))
    source = f"""typedef long long i64; typedef unsigned u32;
    extern "C" __global__ void kernel(const int* first, const int* second, i64* y) {{
        int i = blockIdx.x * blockDim.x + threadIdx.x, a = first[i], b = second[i];
        i64 big = (i64)a * b * 12345;
        {lines}
    }}"""
    y = np.empty((len(cases), 1024), np.int64)
    run(source, (8,), (128,), a, b, y)
    for (call, expected), result in zip(cases.items(), y, strict=True):
        expected = [(int(value) + 2**63) % 2**64 - 2**63 for value in expected]
        np.testing.assert_array_equal(result, expected, err_msg=call)


def test_comparisons_with_nan():
    values = np.array([np.nan, -np.inf, -1, -0.0, 0, 1, np.inf], np.float32)
    x, y = (each.ravel().copy() for each in np.meshgrid(values, values))
    tests = ["x < y", "x <= y", "x == y", "x != y", "!(x < y)", "x < y || x > y", "isnan(x) == (y > 0)"]
    lines = "".join(f"z[i * 9 + {place}] = {call};" for place, call in enumerate(tests))
    z, signs = np.empty((49, 9), np.float32), np.empty((49, 2), np.float32)
    source = f"""kernel(const float* first, const float* second, float* z) {{
        int i = threadIdx.x;
        float x = first[i], y = second[i];
        {lines}
        z[i * 9 + 7] = fminf(x, y);
        z[i * 9 + 8] = fmaxf(x, y);
    }}"""
    run(source, (1,), (49,), x, y, z)
    less, more, equal = x < y, x > y, x == y
    expected = [less, less | equal, equal, ~equal, ~less, less | more, np.isnan(x) == (y > 0)]
    np.testing.assert_array_equal(z[:, :7], np.array(expected).T)
    np.testing.assert_array_equal(z[:, 7], np.fmin(x, y))
    np.testing.assert_array_equal(z[:, 8], np.fmax(x, y))
    signs = np.signbit(z[(x == 0) & (y == 0) & (np.signbit(x) != np.signbit(y)), 7:])
    assert signs[:, 0].all() and not signs[:, 1].any()


def test_threads_part_and_meet():
    n = 3000
    x, y = np.arange(n, dtype=np.int32), np.full(n, -1, np.int32)
    source = """kernel(const int* x, int* y, int n) {
        int i = blockIdx.x * blockDim.x + threadIdx.x;
        if (i >= n) return;
        int v = x[i], steps = 0;
        while (v != 1 && v != 0) {
            if (v % 2) v = 3 * v + 1; else v /= 2;
            if (++steps > 100) break;
        }
        for (int j = 0; j < i % 5; j++) {
            if (j == 3) continue;
            steps += 1000 * j;
        }
        switch (i % 7) {
            case 0: steps ^= 1; break;
            case 1: steps *= 3; break;
            case 2: steps -= 100;
            case 3: steps += i; break;
            case 4: steps = -steps; break;
            case 5: if (i > 2000) return; steps = 5; break;
        }
        y[i] = steps;
    }"""
    counts = run(source, (24,), (128,), x, y, np.int32(n))

    def follow(i):
        v, steps = i, 0
        while v not in (0, 1):
            v = 3 * v + 1 if v % 2 else v // 2
            steps += 1
            if steps > 100:
                break
        steps += 1000 * sum(j for j in range(i % 5) if j != 3)
        if i % 7 == 5 and i > 2000:
            return -1
        return [steps ^ 1, steps * 3, steps - 100 + i, steps + i, -steps, 5, steps][i % 7]

    np.testing.assert_array_equal(y, [follow(i) for i in range(n)])
    assert counts.executed("st.global") < 200  # together again: 94 warps, not one store for each thread


def test_loops_of_other_lengths_meet_at_a_shuffle():
    x, y = np.random.default_rng(0).integers(1, 9, 512).astype(np.int32), np.empty(512, np.int32)
    source = """kernel(const int* x, int* y) {
        int i = blockIdx.x * 128 + threadIdx.x, sum = 0;
        _Pragma("unroll 1") for (int j = 0; j < x[i]; j++) sum += x[(i + j) % 512];
        for (int apart = 16; apart; apart /= 2) sum += __shfl_xor_sync(~0u, sum, apart);
        y[i] = sum;
    }"""
    run(source, (4,), (128,), x, y)
    sums = np.array([sum(x[(i + j) % 512] for j in range(x[i])) for i in range(512)])
    np.testing.assert_array_equal(y, np.repeat(sums.reshape(16, 32).sum(axis=1), 32))


def test_local_arrays_constants_and_structures():
    x, y = random(512), np.empty(512, np.float32)
    source = """
    struct Shape { int height; long long stride; float scale[3]; };
    __constant__ float table[4] = {1.5f, -2.0f, 3.25f, 1e-3f};
    __device__ int offsets[2] = {3, 5};
    extern "C" __global__ void kernel(const float* x, float* y, Shape shape) {
        float room[8];
        int i = blockIdx.x * blockDim.x + threadIdx.x;
        for (int j = 0; j < 8; j++) room[j] = x[(i + j) % 512] * table[j & 3];
        y[i * shape.stride] = room[(i + shape.height) & 7] + shape.scale[i % 3] + offsets[i & 1];
    }"""
    kind = np.dtype([("height", "i4"), ("stride", "i8"), ("scale", "f4", 3)], align=True)
    shape = np.array((3, 1, [10, 20, 30]), kind)[()]
    run(source, (4,), (128,), x, y, shape)
    i = np.arange(512)
    j = (i + 3) & 7
    table = np.array([1.5, -2, 3.25, 1e-3], np.float32)
    expected = x[(i + j) % 512] * table[j & 3] + np.array([10, 20, 30], np.float32)[i % 3] + np.array([3, 5])[i & 1]
    np.testing.assert_allclose(y, expected, 1e-6)


def test_vectors_and_narrow_types():
    x = random(1024)
    labels = np.random.default_rng(0).integers(0, 256, 256).astype(np.uint8)
    y, signed = np.empty(1024, np.float32), np.empty(256, np.int16)
    source = """kernel(const float4* x, const unsigned char* labels, float4* y, short* signed_) {
        int i = blockIdx.x * blockDim.x + threadIdx.x;
        float4 v = x[i];
        float t = v.x; v.x = v.w; v.w = t * labels[i];
        y[i] = v;
        signed_[i] = (signed char)labels[i] * 2;
    }"""
    counts = run(source, (2,), (128,), x, labels, y, signed)
    expected = x.reshape(-1, 4)[:, [3, 1, 2, 0]] * np.stack([np.ones(256)] * 3 + [labels], axis=1)
    np.testing.assert_allclose(y.reshape(-1, 4), expected, 1e-6)
    np.testing.assert_array_equal(signed, labels.view(np.int8).astype(np.int16) * 2)
    read = counts.of("global", "read", "v4")
    assert (read.bytes, read.used, read.ideal) == (x.nbytes, x.nbytes // 32, x.nbytes // 32)


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
    np.testing.assert_array_equal(y, expected.astype(np.float32))


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


NEIGHBOURS = "kernel(const float* x, float* y) { int i = threadIdx.x; y[i + BY] = x[i + AT]; }"


@pytest.mark.parametrize("at", [-1, 0, 1])
@pytest.mark.parametrize("by", [-1, 0, 1])
def test_one_element_outside(at, by):
    room, written = random(100), np.zeros(100, np.float32)
    x, y = room[1:-1][:64], written[1:-1][:64]
    source = NEIGHBOURS.replace("BY", str(by)).replace("AT", str(at))
    if at == by == 0:
        run(source, (1,), (64,), x, y)
        np.testing.assert_array_equal(x, y)
        return
    with pytest.raises(MemoryFault, match=r"kernel, thread \((0|63), 0, 0\) of block \(0, 0, 0\): 4 bytes at .*global"):
        run(source, (1,), (64,), x, y)


def test_an_array_that_is_gone():
    x, y = random(64), np.empty(64, np.float32)
    function = Module(compile_ptx('extern "C" __global__ void ' + NEIGHBOURS, ("-DBY=0", "-DAT=0"))).function("kernel")
    for array in (x, y):
        allocations.add(array.ctypes.data, array.nbytes)
    function((1, 1, 1), (64, 1, 1), (x.ctypes.data, y.ctypes.data))
    allocations.remove(x.ctypes.data)
    with pytest.raises(MemoryFault, match="in no array"):
        function((1, 1, 1), (64, 1, 1), (x.ctypes.data, y.ctypes.data))
    allocations.remove(y.ctypes.data)


def test_an_address_between_elements():
    x, y = random(65), np.empty(64, np.float32)
    source = "kernel(const float* x, float4* y) { y[threadIdx.x] = *(const float4*)(x + 1 + 4 * threadIdx.x); }"
    with pytest.raises(MemoryFault, match="no multiple of 16"):
        run(source, (1,), (16,), x, y)


def test_shared_memory_has_an_end():
    source = """kernel(float* y) {
        extern __shared__ float more[];
        more[threadIdx.x] = 0;
        __syncthreads();
        y[threadIdx.x] = more[threadIdx.x + 1];
    }"""
    y = np.empty(64, np.float32)
    with pytest.raises(MemoryFault, match="4 bytes at 256 lie outside the 256 bytes of shared memory"):
        run(source, (2,), (64,), y, shared=256)


RACES = {
    "nothing before a read": ("room[t] = 1; y[t] = room[t ^ 1];", True),
    "a barrier": ("room[t] = 1; __syncthreads(); y[t] = room[t ^ 1];", False),
    "nothing before the next write": ("room[t] = 1; __syncthreads(); y[t] = room[t ^ 1]; room[t] = 2;", True),
    "a barrier before it": ("room[t] = 1; __syncthreads(); y[t] = room[t ^ 1]; __syncthreads(); room[t] = 2;", False),
    "nothing where all have read": ("room[t] = 1; __syncthreads(); y[t] = room[5]; if (t == 5) room[5] = 2;", True),
    "two warps write": ("room[t % 32] = t;", True),
    "all write the same": ("room[0] = 7; __syncthreads(); y[t] = room[0];", False),
    "a warp's barrier": ("room[t] = 1; __syncwarp(); y[t] = room[t ^ 1];", False),
    "a warp's barrier between warps": ("room[t] = 1; __syncwarp(); y[t] = room[t ^ 32];", True),
    "a warp's barrier before the next write": (
        "room[t] = 1; __syncwarp(); y[t] = room[t ^ 1]; __syncwarp(); room[t] = 2;",
        False,
    ),
    "none before the next write": ("room[t] = 1; __syncwarp(); y[t] = room[t ^ 1]; room[t] = 2;", True),
    "one's own": ("room[t] = 1; room[t] += 2; y[t] = room[t];", False),
    "atomics": ("if (t < 9) room[t] = 0; __syncthreads(); atomicAdd(&room[t % 9], 1); __syncthreads(); y[t] = room[0];",
                False),
    "atomics, then a read": ("if (t < 9) room[t] = 0; __syncthreads(); atomicAdd(&room[t % 9], 1); y[t] = room[0];",
                             True),
    "a write, then atomics": ("if (t < 9) room[t] = 0; atomicAdd(&room[t % 9], 1);", True),
}  # fmt: skip


@pytest.mark.parametrize("name", RACES)
def test_races(name):
    body, wrong = RACES[name]
    source = (
        f"kernel(int* y) {{ __shared__ volatile int space[128]; int* room = (int*)space; int t = threadIdx.x; {body} }}"
    )
    source = source.replace("int* room = (int*)space", "volatile int* room = space").replace("&room", "(int*)&room")
    y = np.empty(128, np.int32)
    if wrong:
        with pytest.raises(RaceFault, match="shared memory, which"):
            run(source, (1,), (128,), y)
    else:
        run(source, (1,), (128,), y)


def test_bytes_of_one_word_are_apart():
    x, y = np.arange(128, dtype=np.uint8), np.empty(128, np.uint8)
    source = """kernel(const unsigned char* x, unsigned char* y) {
        __shared__ unsigned char room[128];
        room[threadIdx.x] = x[threadIdx.x];
        __syncthreads();
        y[threadIdx.x] = room[127 - threadIdx.x];
    }"""
    run(source, (1,), (128,), x, y)
    np.testing.assert_array_equal(y, x[::-1])


@pytest.mark.parametrize(
    "body",
    [
        "if (t < 32) { __syncthreads(); y[t] = 1; } else { __syncthreads(); y[t] = 2; __syncthreads(); }",
        "if (t < 64) { y[0] = 1; __syncthreads(); y[1] = 1; __syncthreads(); } else { y[2] = 2; __syncthreads(); }",
    ],
)
def test_barriers_that_not_all_reach(body):
    y = np.zeros(128, np.int32)
    source = f"kernel(volatile int* z) {{ int t = threadIdx.x; int* y = (int*)z; {body} }}"
    with pytest.raises(ConvergenceFault, match="barrier"):
        run(source, (2,), (128,), y)


def test_threads_that_have_ended_are_not_waited_for():
    y = np.zeros(128, np.int32)
    source = """kernel(int* y, int n) {
        __shared__ int room[128];
        int t = threadIdx.x;
        if (t >= n) return;
        room[t] = t;
        __syncthreads();
        y[t] = room[n - 1 - t];
    }"""
    run(source, (1,), (128,), y, np.int32(50))
    np.testing.assert_array_equal(y[:50], np.arange(50)[::-1])


def test_a_shuffle_of_those_that_have_not_ended():
    y = np.zeros(64, np.int32)
    source = """kernel(int* y) {
        if (threadIdx.x >= 40) return;
        y[threadIdx.x] = __shfl_xor_sync(~0u, threadIdx.x, 1) + __popc(__ballot_sync(~0u, 1));
    }"""
    run(source, (1,), (64,), y)
    t = np.arange(64)
    np.testing.assert_array_equal(y, np.where(t < 40, (t ^ 1) + np.where(t < 32, 32, 8), 0))


def test_a_shuffle_that_some_never_reach():
    y = np.zeros(64, np.int32)
    source = """kernel(int* y) {
        if (threadIdx.x < 40) y[threadIdx.x] = __shfl_xor_sync(~0u, threadIdx.x, 1);
        __syncthreads();
        y[threadIdx.x] = 1;
    }"""
    with pytest.raises(ConvergenceFault, match="warp"):
        run(source, (1,), (64,), y)


def test_a_kernel_that_stops_itself():
    with pytest.raises(Fault, match="stopped itself"):
        run("kernel(int* y) { if (threadIdx.x == 3) __trap(); }", (1,), (32,), np.zeros(4, np.int32))


@pytest.mark.parametrize("call", ["atomicAdd(y, 1.0f)", 'printf("%d", 3)'])
def test_what_the_emulation_refuses(call):
    with pytest.raises(UnknownInstruction, match="does not know line"):
        run(f"kernel(float* y) {{ {call}; }}", (1,), (32,), np.zeros(4, np.float32))


def test_errors_of_a_source():
    with pytest.raises(nvrtc.CompileError, match='identifier "z" is undefined'):
        run("kernel(float* y) { y[0] = z; }", (1,), (32,), np.zeros(4, np.float32))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((np.int32(1),), "takes 2 arguments, got 1"),
        ((np.int64(1), np.float32(2)), "argument 0 has 4 bytes, got 8"),
        ((np.int32(1), np.int32(2)), "argument 1 is f32, got int32"),
        ((1, 2.0), "argument"),
    ],
)
def test_arguments_of_other_types(arguments, message):
    with pytest.raises(TypeError, match=message):
        run("kernel(int a, float b) {}", (1,), (32,), *arguments)


def test_blocks_that_no_device_starts():
    with pytest.raises(ValueError, match="no device starts"):
        run("kernel() {}", (1,), (2048,))


@pytest.mark.parametrize("stride, passes", [(1, 1), (2, 2), (32, 32), (33, 1), (0, 1)])
def test_banks_of_shared_memory(stride, passes):
    y = np.zeros(64, np.float32)
    source = """kernel(float* y, int stride) {
        extern __shared__ float room[];
        for (int i = threadIdx.x; i < 64 * 33; i += 64) room[i] = i;
        __syncthreads();
        y[threadIdx.x] = room[threadIdx.x * stride];
    }"""
    counts = run(source, (3,), (64,), y, np.int32(stride), shared=64 * 33 * 4)
    assert counts.of("shared", "read").used == 6 * passes
    assert counts.bank_conflicts == 6 * (passes - 1)
    np.testing.assert_array_equal(y, np.arange(64) * stride)


@pytest.mark.parametrize("stride, offset, sectors", [(1, 0, 4), (1, 1, 5), (2, 0, 8), (8, 0, 32), (0, 0, 1)])
def test_sectors_of_global_memory(stride, offset, sectors):
    x, y = random(600), np.empty(64, np.float32)
    source = "kernel(const float* x, float* y, int s, int o) { y[threadIdx.x] = x[threadIdx.x * s + o]; }"
    read = run(source, (1,), (64,), x, y, np.int32(stride), np.int32(offset)).of("global", "read")
    assert (read.warps, read.used) == (2, 2 * sectors)
    assert read.bytes == (64 * 4 if stride else 8) and read.ideal == (8 if stride else 2)


GLOBAL_RACES = {
    "its own": ("y[i] = 1; y[i] += 2;", False),
    "another thread's": ("y[i] = 1; y[i ^ 64] += 2;", True),
    "another block's": ("y[i ^ 128] = 1; z[i] = y[i];", True),
    "what another block writes later": ("z[i] = y[n - 1 - i]; __syncthreads(); y[i] = 1;", True),
    "what all have read": ("z[i] = y[5]; y[i] = 1;", True),
    "behind a barrier": ("y[i] = 1; __syncthreads(); z[i] = y[i ^ 64];", False),
    "two blocks write": ("y[i % 128] = i;", True),
    "two threads write": ("y[i / 2] = i;", True),
    "two write the same": ("y[i / 2] = 3;", False),
    "two blocks write the same": ("y[0] = 3;", False),
    "atomics": ("atomicAdd(y, i);", False),
    "with a fence": ("y[i ^ 128] = 1; __threadfence(); z[i] = y[i];", False),
    "vectors": ("((int4*)y)[i % 64] = make_int4(i, i, i, i);", True),
    "parts of vectors": ("if (i % 4 == 0) *(int4*)(y + i) = make_int4(1, 2, 3, 4); else z[i] = 5;", False),
    "a part of a vector": ("if (i % 4 == 0) *(int4*)(y + i) = make_int4(1, 2, 3, 4); y[i ^ 128] = 5;", True),
}  # fmt: skip


@pytest.mark.parametrize("name", GLOBAL_RACES)
def test_races_in_global_memory(name):
    body, wrong = GLOBAL_RACES[name]
    source = (
        f"kernel(volatile int* v, int* z, int n) {{ int* y = (int*)v; int i = blockIdx.x * 128 + threadIdx.x; {body} }}"
    )
    y, z = np.zeros((2, 256), np.int32)
    if wrong:
        with pytest.raises(RaceFault, match="global memory"):
            run(source, (2,), (128,), y, z, np.int32(256))
    else:
        run(source, (2,), (128,), y, z, np.int32(256))


def test_constant_loads_of_what_is_written():
    source = "kernel(const int* x, int* y) { int i = threadIdx.x; y[i] = 1; __syncthreads(); y[i] = __ldg(x + i); }"
    y = np.zeros(64, np.int32)
    with pytest.raises(RaceFault, match="as constant"):
        run(source, (1,), (64,), y, y)
