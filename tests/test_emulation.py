"""What one thread computes in the emulation of CUDA kernels, beside NumPy."""

import math

import numpy as np
import pytest
from emulation import nvrtc
from emulation.trial import random, run

pytestmark = pytest.mark.skipif(not nvrtc.available(), reason="NVRTC is not installed")


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
