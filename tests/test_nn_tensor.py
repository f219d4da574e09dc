"""The tape: sums over paths, ownership of gradient arrays, freeing, modes, errors."""

import threading
import weakref

import numpy as np
import pytest

from upconv import nn
from upconv.nn.modes import watched


def leaf(values, dtype=np.float64):
    return nn.Tensor(np.array(values, dtype=dtype), requires_grad=True)


def test_arithmetic_and_its_gradients():
    x, y = leaf([1.0, 2.0]), leaf([3.0, 5.0])
    z = (x * y + 2.0 * x - y / 4.0 + (1 - x)).sum()
    assert z.item() == 1 * 3 + 2 * 5 + 2 * 3 - 8 / 4 + (2 - 3)
    z.backward()
    np.testing.assert_array_equal(x.grad, [3 + 2 - 1, 5 + 2 - 1])
    np.testing.assert_array_equal(y.grad, [1 - 0.25, 2 - 0.25])


def test_mean_and_arrays_on_the_left():
    x = leaf([1.0, 2.0, 3.0, 6.0])
    (np.array([1.0, 1.0, 2.0, 2.0]) * x).mean().backward()
    np.testing.assert_array_equal(x.grad, [0.25, 0.25, 0.5, 0.5])


def test_broadcast_operands_get_summed_gradients():
    a, b, c = leaf(np.ones((2, 3, 4))), leaf(np.ones((3, 1))), leaf(2.0)
    (a * b * c + b).sum().backward()
    assert a.grad.shape == (2, 3, 4) and (a.grad == 2).all()
    np.testing.assert_array_equal(b.grad, np.full((3, 1), 2 * 4 * 2 + 2 * 4))
    assert c.grad.shape == () and c.grad == 24


def test_a_tensor_used_often_gets_the_sum_over_all_paths():
    x = leaf([1.0, -2.0, 3.0])
    square = x * x
    (square * square + square + x + x).sum().backward()
    np.testing.assert_allclose(x.grad, 4 * x.data**3 + 2 * x.data + 2)


def test_gradients_add_up_in_place_over_calls_until_zeroed():
    x = leaf([1.0, 2.0])
    (x * 3.0).sum().backward()
    first = x.grad
    (x * 4.0).sum().backward()
    assert x.grad is first
    np.testing.assert_array_equal(first, [7, 7])


def test_gradients_never_share_memory_with_each_other_or_the_caller():
    x, y, seed = leaf([1.0, 2.0]), leaf([3.0, 4.0]), np.array([1.0, 1.0])
    (x + y).backward(seed)
    x.grad += 100
    np.testing.assert_array_equal(y.grad, [1, 1])
    np.testing.assert_array_equal(seed, [1, 1])
    seed[:] = 7
    np.testing.assert_array_equal(y.grad, [1, 1])
    z = leaf([1.0, 2.0])
    z.backward(seed)  # a leaf's own
    z.grad += 1
    np.testing.assert_array_equal(seed, [7, 7])


def test_the_tape_never_writes_into_a_read_only_gradient():
    x = leaf([1.0, 2.0])
    kept = np.array([5.0, 5.0])
    kept.flags.writeable = False
    parts = [nn.tensor.record("keeps", x.data, [x], lambda grad: [kept]) for _ in range(3)]
    (parts[0] + parts[1] + parts[2]).sum().backward()
    np.testing.assert_array_equal(x.grad, [15, 15])
    np.testing.assert_array_equal(kept, [5, 5])


def test_long_chains_need_no_recursion():
    x = leaf([1.0])
    y = x
    for _ in range(20_000):
        y = y + x
    y.sum().backward()
    assert x.grad == 20_001


def test_backward_frees_the_saved_arrays_and_a_second_call_says_so():
    x = leaf([1.0, 2.0])
    inner = x * 3.0
    saved = weakref.ref(inner.data)
    y = (inner * inner).sum()
    del inner
    assert saved() is not None
    y.backward()
    assert saved() is None
    with pytest.raises(RuntimeError, match="earlier backward freed the graph at sum"):
        y.backward()


def test_a_graph_freed_in_part_raises_before_any_gradient_changes():
    x = leaf([1.0, 2.0])
    shared = x * 3.0
    shared.sum().backward()
    x.grad = None
    with pytest.raises(RuntimeError, match="freed the graph at mul"):
        (x * 2.0 + shared).sum().backward()
    assert x.grad is None


def test_detach_shares_the_array_and_cuts_the_graph():
    x = leaf([1.0, 2.0])
    y = x * 2.0
    cut = y.detach()
    assert cut.data is y.data and not cut.requires_grad
    (cut * x).sum().backward()
    np.testing.assert_array_equal(x.grad, [2, 4])


def test_no_grad_records_nothing_as_context_and_decorator():
    x = leaf([1.0])

    @nn.no_grad()
    def double(depth):
        assert not nn.is_grad_enabled()
        return double(depth - 1) if depth else x * 2.0

    with nn.no_grad():
        assert not (x * 2.0).requires_grad
    with pytest.raises(KeyError), nn.no_grad():
        raise KeyError
    assert nn.is_grad_enabled()
    assert not double(2).requires_grad
    assert nn.is_grad_enabled() and (x * 2.0).requires_grad


def test_no_grad_is_this_threads_alone():
    inside, done, seen = threading.Event(), threading.Event(), []

    def other():
        inside.wait(10)
        seen.append(nn.is_grad_enabled())
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    with nn.no_grad():
        inside.set()
        done.wait(10)
    thread.join()
    assert seen == [True]


def test_only_tensors_that_want_gradients_get_them():
    x, constant = leaf([1.0]), nn.Tensor(np.array([2.0]))
    (x * constant + constant).sum().backward()
    assert constant.grad is None and x.grad == 2


def test_scalars_take_the_tensors_dtype_and_arrays_must_have_it():
    x = leaf([1.0], np.float32)
    assert (x * 2.5 + np.float64(1)).dtype == np.float32
    assert (x.sum() * 0.1).dtype == np.float32
    with pytest.raises(TypeError, match="float32 and float64 differ"):
        x * np.array([2.0])
    with pytest.raises(TypeError, match="float32 and float64 differ"):
        x + nn.Tensor(np.array([2.0]))


def test_what_backward_refuses():
    x = leaf([1.0, 2.0], np.float32)
    with pytest.raises(RuntimeError, match=r"grad is needed for shape \(2,\)"):
        (x * 2.0).backward()
    with pytest.raises(RuntimeError, match="not computed"):
        nn.Tensor(np.zeros(1)).backward()
    with nn.no_grad(), pytest.raises(RuntimeError, match="no_grad"):
        (x * 2.0).sum().backward()
    with pytest.raises(ValueError, match=r"shape \(3,\); the tensor has \(2,\)"):
        (x * 2.0).backward(np.zeros(3, np.float32))
    with pytest.raises(TypeError, match="dtype float64; the tensor has float32"):
        (x * 2.0).backward(np.zeros(2))
    (x * 2.0).backward(nn.Tensor(np.array([1, 2], np.float32)))
    np.testing.assert_array_equal(x.grad, [2, 4])


def test_what_a_tensor_may_hold():
    assert nn.Tensor([1, 2]).dtype.kind == "i"
    with pytest.raises(TypeError, match="requires_grad"):
        nn.Tensor([1, 2], requires_grad=True)
    with pytest.raises(TypeError, match="object"):
        nn.Tensor([None])
    with pytest.raises(ValueError):
        nn.Tensor(np.zeros(2)).item()


def test_repr_and_asarray():
    x = leaf([1.0])
    assert "requires_grad=True" in repr(x) and "from=mul" in repr(x * 2.0)
    assert np.asarray(x) is x.data
    assert "Parameter" in repr(nn.Parameter(np.zeros(1)))


def test_enable_grad_records_inside_no_grad():
    x = nn.Tensor(np.ones(2), requires_grad=True)
    with nn.no_grad():
        assert not (x * 2).requires_grad
        with nn.enable_grad():
            assert nn.is_grad_enabled() and (x * 2).requires_grad
        assert not nn.is_grad_enabled()


def test_a_watcher_is_told_of_every_function_in_its_thread():
    seen, inner = [], []
    x = nn.Tensor(np.ones((1, 2, 4, 4)), requires_grad=True)
    with pytest.raises(KeyError), watched(lambda name, arguments, result: seen.append((name, arguments, result))):
        y = nn.relu(x)
        thread = threading.Thread(target=lambda: nn.relu(x))
        thread.start()
        thread.join()
        with watched(lambda *told: inner.append(told)):
            nn.tanh(y)
        pooled, where = nn.max_pool2d(nn.crop(y * 2.0, (4, 4)), 2, return_indices=True)
        raise KeyError
    nn.relu(x)
    names, arguments, results = zip(*seen, strict=True)
    assert names == ("relu", "mul", "crop", "max_pool2d") and [told[0] for told in inner] == ["tanh"]
    assert arguments[0]["x"] is x and arguments[1]["inputs"][0] is y
    assert arguments[2]["inputs"][0] is results[2] is results[1]  # nothing to crop
    assert results[3] == (pooled, where) and not pooled.requires_grad
    assert nn.is_grad_enabled() and nn.relu(x).requires_grad
