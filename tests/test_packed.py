"""Packed weights: the same results, rearranged once, and never stale."""

import copy
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upconv import kernels, nn
from upconv.kernels.cpu import packing
from upconv.kernels.cpu.fingerprint import CHUNK, fingerprint

rng = np.random.default_rng(0)


def made(weight):
    """Calls of `weight` that rearrange it: how often each form of it is made."""
    counts = {}
    forms = weight.forms

    class Counted(dict):
        def __setitem__(self, name, form):
            counts[name] = counts.get(name, 0) + 1
            super().__setitem__(name, form)

    weight.forms = Counted(forms)
    return counts


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", ["contiguous", "channels_last"])
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("size", [3, 5])
def test_results_are_the_same_bit_for_bit(dtype, order, groups, size):
    weight = rng.standard_normal((24, 24 // groups, size, size)).astype(dtype)
    weight = kernels.channels_last(weight) if order == "channels_last" else weight
    packed = kernels.pack(weight)
    assert (packed.shape, packed.strides, packed.dtype) == (weight.shape, weight.strides, weight.dtype)
    x = rng.standard_normal((2, 24, 20, 23)).astype(dtype)
    y = kernels.conv2d(x, weight, padding=2, groups=groups)
    up = {"stride": 2, "groups": groups}
    for _ in range(2):
        np.testing.assert_array_equal(kernels.conv2d(x, packed, padding=2, groups=groups), y)
        for operator in (kernels.conv2d_input, kernels.conv_transpose2d):
            first = (x.shape,) if operator is kernels.conv2d_input else ()
            options = {"padding": 2, "groups": groups} if first else up
            given = y if first else x
            expected, result = (
                operator(*first, *((w, given) if first else (given, w)), **options) for w in (weight, packed)
            )
            np.testing.assert_array_equal(result, expected)


def test_each_form_is_made_once():
    weight = kernels.pack(rng.standard_normal((32, 32, 3, 3), dtype=np.float32))
    counts = made(weight)
    x = rng.standard_normal((1, 32, 24, 24), dtype=np.float32)
    for _ in range(3):
        kernels.conv2d(x, weight, padding=1)
        kernels.conv2d(x, weight, padding=1, algorithm="direct")
        kernels.conv2d(x[:, :, :20], weight)  # the same panels
        kernels.conv2d_input(x.shape, weight, x, padding=1)
    assert {name[0] for name in counts} == {"winograd", "direct"}
    assert len(counts) == 3
    assert set(counts.values()) == {1}


def test_winograd_leaves_few_tiles_of_a_packed_weight_to_the_direct_sum():
    weight, x = np.ones((256, 16, 3, 3), np.float32), np.ones((1, 16, 8, 8), np.float32)
    assert kernels.explain(kernels.conv2d, x, weight, padding=1).variant == "winograd"
    said = kernels.explain(kernels.conv2d, x, kernels.pack(weight), padding=1)
    assert said.variant == "direct"
    assert "it keeps what it makes of a packed weight" in str(said)


def test_a_packed_weight_is_an_own_copy_and_read_only():
    weight = np.ones((2, 2, 3, 3), np.float32)
    packed = kernels.pack(weight)
    weight[...] = 0
    assert (packed == 1).all()
    with pytest.raises(ValueError, match="read-only"):
        packed[0] = 0
    assert packed[:1].forms is None
    assert copy.deepcopy(packed).forms is None


@pytest.mark.parametrize(
    ("weight", "error", "match"),
    [
        ([1.0], TypeError, "pack: weight must be a NumPy array, got list"),
        (np.ones((2, 2), np.float32), ValueError, r"pack: weight must have the 4 axes KCHW, got shape \(2, 2\)"),
        (np.ones((2, 2, 3, 3), np.int64), TypeError, "pack: weight must be float32 or float64"),
    ],
)
def test_what_pack_refuses(weight, error, match):
    with pytest.raises(error, match=match):
        kernels.pack(weight)


@settings(max_examples=60)
@given(st.integers(1, 3 * CHUNK), st.integers(0, 2**32 - 1))
def test_any_changed_byte_changes_the_fingerprint(size, seed):
    rng = np.random.default_rng(seed)
    memory = rng.integers(0, 256, size, np.uint8)
    before = fingerprint(memory)
    np.testing.assert_array_equal(fingerprint(memory.copy()), before)
    for at in {0, size - 1, size // 2, *rng.integers(0, size, 5)}:
        memory[at] ^= 1 << rng.integers(8)
        assert (fingerprint(memory) != before).any()
        before = fingerprint(memory)
    swapped = memory.copy()
    a, b = rng.integers(0, size, 2)
    swapped[[a, b]] = swapped[[b, a]]
    assert (fingerprint(swapped) != before).any() == (memory[a] != memory[b])


def layer(kind):
    return nn.ConvTranspose2d(24, 24, 2, stride=2, rng=0) if kind == "up" else nn.Conv2d(24, 24, 3, padding=1, rng=0)


@pytest.mark.parametrize("kind", ["conv", "up"])
def test_layers_rearrange_an_unchanged_weight_once(kind, monkeypatch):
    calls = []
    kept = packing.kept

    def watched(weight, name, make):
        return kept(weight, name, lambda: calls.append(name) or make())

    for module in ("packing", "winograd"):
        monkeypatch.setattr(f"upconv.kernels.cpu.{module}.kept", watched)
    module, x = layer(kind), rng.standard_normal((1, 24, 16, 16), dtype=np.float32)
    with nn.no_grad():
        first = module(x).data
        for _ in range(3):
            np.testing.assert_array_equal(module(x).data, first)
    assert len(calls) == 1


@pytest.mark.parametrize("kind", ["conv", "up"])
def test_layers_notice_every_change_of_their_weight(kind):
    module, x = layer(kind), rng.standard_normal((1, 24, 16, 16), dtype=np.float32)
    module.eval()

    def check():
        with nn.no_grad():
            result = module(x).data
        np.testing.assert_array_equal(result, module(x).data)  # recorded: not packed
        return result

    results = [check()]
    module.weight.data[3, 2, 1, 1] += 1
    results.append(check())
    module.weight.data = module.weight.data * 2
    results.append(check())
    module.load_state_dict({name: array + 1 for name, array in module.state_dict().items()})
    results.append(check())
    optimizer = nn.SGD(module.parameters(), lr=0.1)
    module(x).sum().backward()
    optimizer.step()
    results.append(check())
    again = copy.deepcopy(module)
    again.weight.data[0] = 0
    with nn.no_grad():
        np.testing.assert_array_equal(module(x).data, results[-1])
        assert (again(x).data != results[-1]).any()
    assert all((a != b).any() for a, b in itertools.pairwise(results))
    module.to(np.float64)
    with nn.no_grad():
        assert module(x.astype(np.float64)).dtype == np.float64


def test_in_inference_mode_a_weight_is_looked_at_once(monkeypatch):
    looked = []
    monkeypatch.setattr(nn.packed, "fingerprint", lambda array: looked.append(1) or fingerprint(array))
    layer, x, still = nn.Conv2d(32, 32, 3, rng=0), np.ones((1, 32, 16, 16), np.float32), nn.inference_mode()
    with nn.no_grad():
        first = layer(x).data
    looked.clear()
    for _ in range(3):
        with still:
            np.testing.assert_array_equal(layer(x).data, first)
    assert len(looked) == 1
    layer.weight.data *= 2
    with nn.inference_mode():  # another one looks again
        np.testing.assert_allclose(
            layer(x).data - layer.bias.data[:, None, None], 2 * (first - layer.bias.data[:, None, None]), rtol=1e-4
        )
    layer.weight.data = np.zeros_like(layer.weight.data)
    with still:  # and another array is another weight
        np.testing.assert_array_equal(layer(x).data, np.broadcast_to(layer.bias.data[:, None, None], first.shape))


def test_inference_mode_records_nothing_and_ends_even_by_an_error():
    layer, x = nn.Conv2d(1, 1, 1), np.ones((1, 1, 1, 1), np.float32)
    with pytest.raises(KeyError), nn.inference_mode(), nn.inference_mode():
        assert not nn.is_grad_enabled()
        assert not layer(x).requires_grad
        raise KeyError
    assert nn.is_grad_enabled()
    assert nn.inference_mode()(lambda: nn.is_grad_enabled())() is False
