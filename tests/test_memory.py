"""Large results share memory one after the other, never at the same time."""

import gc
import pickle
import threading

import numpy as np
import pytest

from upconv import kernels
from upconv.kernels import layout, memory

LARGE = (1, 4, 256, 256)  # 1 MiB of float32


@pytest.fixture(autouse=True)
def nothing_waits():
    memory._free.clear()
    yield
    memory._free.clear()


def address(x):
    return x.__array_interface__["data"][0]


def test_memory_is_used_again_once_the_last_view_is_gone():
    x = layout.empty(LARGE, np.dtype(np.float32))
    place, view = address(x), x[:, 1:3, ::2]
    del x
    gc.collect()
    other = layout.empty(LARGE, np.dtype(np.float32))
    assert address(other) != place  # the view still holds it
    del view
    gc.collect()
    again = layout.empty(LARGE, np.dtype(np.float32))
    assert address(again) == place


def test_arrays_are_as_numpy_makes_them():
    for shape in ((2**18,), (4, 2**16), (3, 5, 2**15)):
        for dtype in (np.float32, np.float64, np.int64):
            x = memory.empty(shape, np.dtype(dtype))
            assert (x.shape, x.dtype) == (shape, dtype)
            assert x.flags.c_contiguous and x.flags.writeable and x.flags.aligned
            x[...] = 1
            np.testing.assert_array_equal(pickle.loads(pickle.dumps(x)), x)


def test_small_and_empty_arrays_are_numpys_own():
    assert memory.empty((8, 8), np.dtype(np.float32)).base is None
    assert memory.empty((0, 2**20), np.dtype(np.float32)).size == 0


def test_what_waits_has_a_limit(monkeypatch):
    monkeypatch.setattr(memory, "IDLE", 3 * 2**20)
    arrays = [memory.empty((2**20,), np.dtype(np.uint8)) for _ in range(8)]
    del arrays
    gc.collect()
    assert 0 < memory.idle() <= memory.IDLE
    monkeypatch.setattr(memory, "IDLE", 0)
    memory._free.clear()
    del (block := [memory.empty((2**20,), np.dtype(np.uint8))])[0]
    assert not block and memory.idle() == 0


def test_a_block_serves_less_than_it_holds_but_not_far_less():
    x = memory.empty((2**22,), np.dtype(np.uint8))
    place = address(x)
    del x
    half = memory.empty((2**21,), np.dtype(np.uint8))
    assert address(half) == place
    assert half.size == 2**21
    del half
    assert address(memory.empty((2**22,), np.dtype(np.uint8))) == place  # it is whole again
    quarter = memory.empty((2**20,), np.dtype(np.uint8))
    assert address(quarter) != place


def test_most_of_what_waits_goes_before_the_system_is_asked_for_more(monkeypatch):
    monkeypatch.setattr(memory, "SPARE", 2**21)
    arrays = [memory.empty((2**20,), np.dtype(np.uint8)) for _ in range(4)]
    del arrays
    assert memory.idle() == 4 * 2**20
    x = memory.empty((2**24,), np.dtype(np.uint8))
    assert memory.idle() == 0
    assert x.size == 2**24


def test_threads_never_share_a_block():
    wrong = []

    def work(number):
        for _ in range(50):
            x, y = (memory.empty((2**18,), np.dtype(np.float32)) for _ in range(2))
            x.fill(number)
            y.fill(-number)
            if not ((x == number).all() and (y == -number).all()):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_result_outlives_the_next():
    x = kernels.channels_last(np.ones((1, 16, 160, 160), np.float32))
    first = kernels.relu(x)
    second = kernels.relu(-x)
    assert first.min() == 1 and second.max() == 0
