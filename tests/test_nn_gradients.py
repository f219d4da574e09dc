"""Every functional, and whole small U-Nets, against finite differences in float64; what the gradients cost."""

from collections import Counter

import numpy as np
import pytest
from nn_cases import check, leaves, rand, slope, units

from upconv import nn

F = nn.functional


@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize(
    "window",
    [
        {},
        {"padding": 1},
        {"stride": (2, 1), "padding": ((1, 0), (2, 1)), "dilation": (1, 2)},
        {"padding": "same"},
        {"groups": 2},
    ],
)
def test_conv2d(window, activation):
    channels = 4 // window.get("groups", 1)
    x, w, b = leaves(rand(2, 4, 5, 6), rand(4, channels, 3, 2), rand(4))
    check(lambda x, w, b: F.conv2d(x, w, b, activation=activation, **window), x, w, b)


def test_conv2d_without_bias():
    check(F.conv2d, *leaves(rand(1, 2, 4, 4), rand(3, 2, 3, 3)))


@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize(
    "window",
    [{"stride": 2}, {"stride": (2, 3), "padding": 1, "output_padding": (1, 2)}, {"groups": 2, "dilation": 2}],
)
def test_conv_transpose2d(window, activation):
    x, w, b = leaves(rand(2, 4, 3, 3), rand(4, 2, 3, 2), rand(2 * window.get("groups", 1)))
    check(lambda x, w, b: F.conv_transpose2d(x, w, b, activation=activation, **window), x, w, b)


def test_conv_transpose2d_output_size():
    x, w = leaves(rand(1, 2, 3, 3), rand(2, 1, 2, 2))
    check(lambda x, w: F.conv_transpose2d(x, w, stride=2, output_size=(7, 6)), x, w)


@pytest.mark.parametrize("window", [{}, {"stride": 1}, {"stride": 2, "padding": 1, "ceil_mode": True}])
def test_max_pool2d(window):
    (x,) = leaves(rand(2, 3, 5, 6))
    check(lambda x: F.max_pool2d(x, 2, **window), x)
    y, indices = F.max_pool2d(x, 2, return_indices=True, **window)
    assert indices.dtype == np.int64
    np.testing.assert_array_equal(
        np.take_along_axis(x.data.reshape(2, 3, -1), indices.data.reshape(2, 3, -1), 2), y.data.reshape(2, 3, -1)
    )
    x.grad = None
    check(lambda x: F.max_pool2d(x, 2, return_indices=True, **window)[0], x)


def test_max_unpool2d():
    _, indices = F.max_pool2d(rand(2, 3, 5, 6), 2, return_indices=True)
    assert F.max_unpool2d(rand(2, 3, 2, 3), indices, 2, output_size=(5, 6)).shape == (2, 3, 5, 6)
    check(lambda x: F.max_unpool2d(x, indices, 2, output_size=(5, 6)), *leaves(rand(2, 3, 2, 3)))


def test_relu_softmax_crop_concatenate():
    x, y = leaves(rand(2, 3, 4, 5), rand(2, 2, 4, 5))
    check(F.relu, x)
    x.grad = None
    check(F.softmax, x)
    x.grad = None
    check(lambda x: F.crop(x, (2, 2)), x)
    x.grad = None
    check(lambda x: F.crop(x, (2, 3), 1), x)
    np.testing.assert_array_equal(F.crop(x, (2, 3), 1).data, x.data[:, :, 1:3, 1:4])
    with pytest.raises(ValueError, match=r"crop: \(9, 2\) at offset 1 does not fit into shape"):
        F.crop(x, (9, 2), 1)
    x.grad = None
    check(lambda x, y: F.concatenate([x, y, x]), x, y)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_cross_entropy(reduction):
    labels = np.random.default_rng(0).integers(0, 3, (2, 4, 5)).astype(np.uint8)
    labels[0, :2] = 255
    (x,) = leaves(rand(2, 3, 4, 5))
    check(lambda x: F.cross_entropy(x, labels, ignore_index=255, reduction=reduction), x)


def test_crop_takes_the_middle_and_refuses_what_is_larger():
    x = rand(1, 1, 5, 6)
    y = F.crop(x, (2, 4))
    np.testing.assert_array_equal(y.data, x[:, :, 1:3, 1:5])
    assert np.shares_memory(y.data, x)
    with pytest.raises(ValueError, match=r"crop: \(6, 6\) does not fit"):
        F.crop(x, (6, 6))


def test_an_array_and_a_tensor_give_the_same_result():
    x, w = rand(1, 2, 4, 4), rand(3, 2, 3, 3)
    np.testing.assert_array_equal(F.conv2d(x, w).data, F.conv2d(nn.Tensor(x), nn.Tensor(w)).data)


def unet_case(width, padded, size):
    model = nn.UNet(in_channels=2, classes=3, width=width, depth=2, padded=padded, rng=3).to(np.float64)
    rng = np.random.default_rng(5)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.data[...] = rng.normal(0, 0.1, parameter.shape)
    images = rng.standard_normal((1, 2, size, size))
    labels = rng.integers(0, 3, (1, *model.output_size(size, size)))
    labels[0, 0, 0] = 255
    return model, images, lambda: nn.cross_entropy(model(images), labels, ignore_index=255)


def test_every_parameter_of_a_padded_unet():
    model, _, loss = unet_case(2, True, 8)
    loss().backward()
    for name, parameter in model.named_parameters():
        scale = abs(parameter.grad).max()
        assert scale > 0, name
        for index, direction in units(parameter.shape):
            assert abs(slope(loss, parameter.data, direction) - parameter.grad[index]) < 1e-6, (name, index)


def test_every_parameter_of_a_valid_unet_along_random_directions():
    model, _, loss = unet_case(3, False, 44)
    loss().backward()
    rng = np.random.default_rng(11)
    for name, parameter in model.named_parameters():
        for _ in range(6):
            direction = rng.standard_normal(parameter.shape)
            direction /= np.linalg.norm(direction)
            assert abs(slope(loss, parameter.data, direction) - (parameter.grad * direction).sum()) < 1e-6, name


def test_the_gradient_of_the_image():
    model, images, _ = unet_case(2, True, 8)
    check(model, *leaves(images))


def test_no_more_is_computed_than_needed(traced):
    model, images, loss = unet_case(2, True, 8)
    loss().backward()
    # 10 convolutions of 3x3, each with its ReLU, and the head; two up-convolutions; the image needs no gradient; and
    # pooling keeps offsets alone
    assert Counter(traced) == {
        **{"conv2d": 11, "conv2d_input": 10, "conv2d_weight": 11, "bias_relu_input": 10, "channel_sum": 3},
        **{"conv_transpose2d": 2, "conv_transpose2d_input": 2, "conv_transpose2d_weight": 2},
        **{"max_pool2d_offsets": 2, "max_pool2d_input": 2, "add": 2, "cross_entropy": 1, "cross_entropy_input": 1},
    }
    traced.clear()
    with nn.no_grad():
        model(images)
    assert Counter(traced) == {"conv2d": 11, "conv_transpose2d": 2, "max_pool2d": 2}


def test_frozen_parameters_cost_nothing(traced):
    model, _, loss = unet_case(2, True, 8)
    for parameter in model.enc.parameters():
        parameter.requires_grad = False
    loss().backward()
    assert traced.count("conv2d_weight") == 5 and "max_pool2d_input" not in traced
    assert all(parameter.grad is None for parameter in model.enc.parameters())


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("grad", [True, False])
def test_the_skip_connections_copy_nothing(monkeypatch, padded, grad):
    model, images, loss = unet_case(2, padded, 16 if padded else 44)
    seen = []

    def spy(xs):
        result = F.concatenate(xs)
        seen.append(([x.data for x in xs], result.data))
        return result

    monkeypatch.setattr("upconv.nn.models.unet.concatenate", spy)
    if grad:
        loss().backward()
    else:
        with nn.no_grad():
            model(images)
    assert len(seen) == 2
    for (skip, up), joined in seen:
        assert np.shares_memory(joined, skip) and np.shares_memory(joined, up)
        assert joined.ctypes.data == skip.ctypes.data
        np.testing.assert_array_equal(joined, np.concatenate([skip, up], axis=1))


def test_the_gradient_of_concatenate_is_slices():
    x, y = leaves(rand(1, 2, 3, 3), rand(1, 4, 3, 3))
    grad = rand(1, 6, 3, 3)
    parts = F.concatenate([x, y])._node.backward(grad)
    assert all(np.shares_memory(part, grad) for part in parts)
    assert [part.shape[1] for part in parts] == [2, 4]
