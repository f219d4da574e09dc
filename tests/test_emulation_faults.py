"""Every kind of fault that the emulation of CUDA kernels finds, and what it counts."""

import numpy as np
import pytest
from emulation import nvrtc
from emulation.faults import ConvergenceFault, Fault, MemoryFault, RaceFault, UnknownInstruction
from emulation.launch import Module, allocations, compile_ptx
from emulation.trial import random, run

pytestmark = pytest.mark.skipif(not nvrtc.available(), reason="NVRTC is not installed")


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
