"""The double of CuPy refuses what CuPy refuses, copies what CuPy copies and counts what goes to the host."""

import copy
import pickle
import sys

import numpy as np
import pytest
from emulation.cupy_double import installed
from emulation.device import CUDARuntimeError

pytestmark = pytest.mark.skipif("config.getoption('--gpu')", reason="there is no double")

HOST = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


@pytest.fixture
def x(gpu):
    x = gpu.asarray(HOST)
    gpu.device.forget()
    return x


REFUSED = {
    "numpy's function": lambda gpu, x: np.sum(x),
    "numpy's ufunc": lambda gpu, x: np.exp(x),
    "conversion": lambda gpu, x: np.asarray(x),
    "numpy's operator": lambda gpu, x: HOST + x,
    "operator": lambda gpu, x: x + HOST,
    "in place": lambda gpu, x: x.__iadd__(HOST),
    "comparison": lambda gpu, x: x == HOST,
    "assignment": lambda gpu, x: x.__setitem__(..., HOST),
    "assignment to numpy's": lambda gpu, x: HOST.copy().__setitem__(..., x),
    "index": lambda gpu, x: x[np.array([0, 1])],
    "function": lambda gpu, x: gpu.concatenate([x, HOST]),
    "keyword": lambda gpu, x: gpu.where(x > 0, x=x, y=HOST),
    "out": lambda gpu, x: gpu.exp(x, out=HOST.copy()),
    "list": lambda gpu, x: x * [1, 2, 3, 4],
    "parameter that CuPy lacks": lambda gpu, x: gpu.sum(x, where=x > 0),
    "hash": lambda gpu, x: hash(x),
    "copyto": lambda gpu, x: gpu.copyto(x, HOST),
}


@pytest.mark.parametrize("what", REFUSED)
def test_nothing_mixes_with_numpy(gpu, x, what):
    with pytest.raises(TypeError):
        REFUSED[what](gpu, x)
    assert not gpu.device.transfers
    np.testing.assert_array_equal(x.get(), HOST)


def test_what_an_array_does_not_tell(x):
    for name in ("ctypes", "setflags", "__array_interface__", "nope"):
        with pytest.raises(AttributeError):
            getattr(x, name)
    for name in ("writeable", "aligned"):
        with pytest.raises(AttributeError):
            getattr(x.flags, name)


def test_numbers_go_to_the_host_where_they_are_asked_for(gpu, x):
    asks = {
        "__float__": lambda: float(x[0, 0, 1]),
        "__int__": lambda: int(x[0, 0, 1]),
        "__bool__": lambda: bool(x.any()),
        "item": lambda: x[1, 2, 3].item(),
        "tolist": x.tolist,
        "get": lambda: gpu.asnumpy(x),
        "mask": lambda: x[x > 3],
        "nonzero": lambda: x.nonzero(),
        "unique": lambda: gpu.unique(x),
    }
    for number, (name, ask) in enumerate(asks.items(), 1):
        ask()
        assert gpu.device.transfers[name] == 1 and gpu.device.transfers.total() == number
    assert np.array_equal(pickle.loads(pickle.dumps(x)).get(), HOST)


def test_reductions_and_single_numbers_stay(gpu, x):
    total, one = x.sum(), x[1, 2, 3]
    one += 1
    assert total.shape == one.shape == () and not gpu.device.transfers
    assert (float(total), float(x[1, 2, 3])) == (276, 24)
    assert one.base is x and total.base is None


def test_scalars_are_weak_and_numpys_are_not(gpu, x):
    assert (2.5 * x).dtype == (np.float32(2) * x).dtype == (x > 1.0).astype(x.dtype).dtype == np.float32
    assert (np.float64(2) * x).dtype == np.float64


def test_results_are_contiguous_but_of_views_and_copies_in_their_order(gpu, x):
    turned = x.transpose(2, 0, 1)
    assert turned.strides == (4, 48, 16) and turned.base is x
    assert (turned + 1).strides == gpu.where(turned > 0, turned, 0).strides == turned.copy().strides == (24, 12, 4)
    assert (
        turned.copy("K").strides == turned.astype(np.float32).strides == gpu.empty_like(turned).strides == (4, 48, 16)
    )
    assert gpu.asarray(HOST.transpose(2, 0, 1)).strides == (24, 12, 4)  # an upload
    assert gpu.asarray(HOST.T).strides == (4, 16, 48)
    assert gpu.ascontiguousarray(x) is x and gpu.asarray(x) is x
    assert gpu.array(x).base is None and not gpu.may_share_memory(gpu.array(x), x)
    assert not gpu.shares_memory(copy.deepcopy(turned), x)


def test_addresses_are_those_of_the_first_number(gpu, x):
    assert x.data.ptr % 256 == 0
    assert x[:, ::-1].data.ptr == x.data.ptr + 2 * 16 and x[:, ::-1].strides == (48, -16, 4)
    same = gpu.ndarray((4, 3), np.float32, memptr=x.data + 48, strides=(4, 16))
    np.testing.assert_array_equal(same.get(), HOST[1].T)
    memory = gpu.cuda.alloc(100)
    assert np.isnan(gpu.ndarray((25,), np.float32, memptr=memory).get()).all()


def test_new_memory_is_filled_with_nan(gpu):
    assert np.isnan(gpu.empty((3, 5), np.float64).get()).all()
    assert np.isnan(gpu.empty_like(gpu.zeros((2, 2))).get()).all()
    assert np.isnan(gpu.ndarray((7,), np.float32).get()).all()


def test_a_pool_gives_memory_again(gpu):
    pool = gpu.cuda.MemoryPool()
    with gpu.cuda.using_allocator(pool.malloc):
        x = gpu.ones(100, np.float32)
        place, view = x.data.ptr, x[1:]
        del x
        assert pool.used_bytes() == 512  # a view holds it
        del view
        assert gpu.empty(3).data.ptr == place
    assert pool.used_bytes() == 0 < pool.total_bytes() and gpu.empty(3).data.ptr != place


UNCERTAIN = {
    "sums": lambda gpu, x, twice: gpu.add.at(x[0, 0], twice, 1.0),
    "running sums": lambda gpu, x, twice: gpu.cumsum(x),
    "weighted counts": lambda gpu, x, twice: gpu.bincount(twice, weights=x[0, 0, :3]),
    "assignment": lambda gpu, x, twice: x[0, 0].__setitem__(twice, x[1, 1, :3]),
    "along an axis": lambda gpu, x, twice: gpu.put_along_axis(x, twice[None, None], x[:1, :1, :3], 2),
}


@pytest.mark.parametrize("what", UNCERTAIN)
def test_what_differs_from_run_to_run_on_a_device_is_refused(gpu, x, what):
    with pytest.raises(AssertionError):
        UNCERTAIN[what](gpu, x, gpu.asarray([1, 2, 1]))


def test_a_captured_stream_computes_when_its_graph_is_launched(gpu, x):
    with gpu.cuda.Stream() as stream:
        stream.begin_capture()
        assert gpu.cuda.get_current_stream().is_capturing()
        y = x * 2
        x += 1
        y[0] = -1
        for wait in (y.get, lambda: float(x[0, 0, 0]), lambda: gpu.asarray(HOST), stream.synchronize):
            with pytest.raises(CUDARuntimeError, match="StreamCapture"):
                wait()
        graph = stream.end_capture()
    assert np.isnan(y.get()).all() and (x.get() == HOST).all()
    for times in range(2):
        graph.launch()
        np.testing.assert_array_equal(y.get()[1], 2 * (HOST[1] + times))
        assert (y.get()[0] == -1).all() and (x.get() == HOST + times + 1).all()
    with pytest.raises(RuntimeError):
        gpu.cuda.Stream.null.begin_capture()


KERNEL = """
extern "C" __global__ void __launch_bounds__(64) scale(const float* x, float* y, int n, float a, long long step) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = a * x[i * step];
}
extern "C" __global__ void fill(float* y) {
    extern __shared__ float row[];
    row[threadIdx.x] = threadIdx.x;
    __syncthreads();
    y[threadIdx.x] = row[blockDim.x - 1 - threadIdx.x];
}
"""


@pytest.fixture
def scale(gpu):
    return gpu.RawModule(code=KERNEL, options=("-std=c++17",)).get_function("scale")


def test_kernels_run_and_are_noted(gpu, x, scale):
    y = gpu.empty(24, np.float32)
    scale((1,), (64,), (x, y, np.int32(24), np.float32(3), np.int64(1)))
    np.testing.assert_array_equal(y.get(), 3 * HOST.ravel())
    assert gpu.device.names == {"scale": 1}
    with gpu.cuda.Stream() as stream:
        stream.begin_capture()
        scale((1,), (64,), (y, x, np.int32(24), np.float32(2), np.int64(1)))
        graph = stream.end_capture()
    assert gpu.device.names == {"scale": 1} and (x.get() == HOST).all()
    graph.launch()
    assert gpu.device.names == {"scale": 2} and (x.get() == 6 * HOST).all()


def test_kernels_have_the_shared_memory_that_they_are_given(gpu):
    y = gpu.empty(8, np.float32)
    fill = gpu.RawModule(code=KERNEL, options=("-std=c++17",)).get_function("fill")
    fill((1,), (8,), (y,), shared_mem=32)
    assert y.get().tolist() == [*range(8)][::-1]
    with pytest.raises(Exception, match="outside the 16 bytes of shared memory"):
        fill((1,), (8,), (y,), shared_mem=16)


WRONG = {
    "a Python int": lambda x, y: (x, y, 24, np.float32(3), np.int64(1)),
    "a Python float": lambda x, y: (x, y, np.int32(24), 3.0, np.int64(1)),
    "a wide int": lambda x, y: (x, y, np.int64(24), np.float32(3), np.int64(1)),
    "a narrow int": lambda x, y: (x, y, np.int32(24), np.float32(3), np.int32(1)),
    "an int for a float": lambda x, y: (x, y, np.int32(24), np.int32(3), np.int64(1)),
    "an array for an int": lambda x, y: (x, y, y, np.float32(3), np.int64(1)),
    "an array of NumPy's": lambda x, y: (HOST, y, np.int32(24), np.float32(3), np.int64(1)),
    "too few": lambda x, y: (x, y, np.int32(24), np.float32(3)),
}


@pytest.mark.parametrize("what", WRONG)
def test_arguments_must_be_exactly_the_kernels(gpu, x, scale, what):
    with pytest.raises(TypeError):
        scale((1,), (64,), WRONG[what](x, gpu.empty(24, np.float32)))


def test_launches_that_a_device_refuses(gpu, x, scale):
    arguments = x, gpu.empty(24, np.float32), np.int32(24), np.float32(3), np.int64(1)
    for grid, block in (((0,), (64,)), ((1,), (65,)), ((1, 65536), (64,)), ((1,), (0,))):
        with pytest.raises(CUDARuntimeError):
            scale(grid, block, arguments)
    with pytest.raises(TypeError):
        scale(1, 64, arguments)
    with pytest.raises(CUDARuntimeError):
        scale((1,), (64,), arguments, shared_mem=48 * 1024 + 4)
    scale.max_dynamic_shared_size_bytes = 64 * 1024
    scale((1,), (64,), arguments, shared_mem=48 * 1024 + 4)
    with pytest.raises(CUDARuntimeError):
        scale.max_dynamic_shared_size_bytes = 200 * 1024
    with pytest.raises(CUDARuntimeError):
        gpu.RawModule(code=KERNEL, options=("-std=c++17",)).get_function("none")


def test_a_kernel_that_leaves_its_arrays_is_stopped(gpu, x, scale):
    for bad in ((x, gpu.empty(23, np.float32), 24, 1), (x, gpu.empty(24, np.float32), 24, -1), (x[1:], x, 24, 1)):
        with pytest.raises(Exception, match="lie in no array"):
            scale((1,), (64,), (*bad[:2], np.int32(bad[2]), np.float32(3), np.int64(bad[3])))


def test_the_double_goes_away(request):
    before = {name for name in sys.modules if name.split(".")[0] == "cupy"}
    gpu = request.getfixturevalue("gpu")
    assert sys.modules["cupy"] is gpu and sys.modules["cupy.cuda"] is gpu.cuda
    with installed() as inner:
        assert sys.modules["cupy"] is inner
    assert sys.modules["cupy"] is gpu and before <= {*before, *sys.modules}
