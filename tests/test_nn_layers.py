"""The layers one by one: values, gradients, modes, state, what they refuse."""

import copy

import numpy as np
import pytest
from nn_cases import check, leaves, rand, slope, units

from upconv import kernels, nn

LAYERS = {
    "AvgPool2d": (lambda: nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True, count_include_pad=False), (2, 3, 6, 5)),
    "Conv2d": (lambda: nn.Conv2d(4, 6, 3, padding=1, groups=2, rng=0), (2, 4, 4, 3)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2, rng=0), (2, 4, 3, 2)),
    "Flatten": (nn.Flatten, (2, 3, 2, 2)),
    "GlobalAvgPool2d": (nn.GlobalAvgPool2d, (2, 3, 4, 5)),
    "LeakyReLU": (lambda: nn.LeakyReLU(0.2), (2, 3, 4, 5)),
    "Linear": (lambda: nn.Linear(5, 4, rng=0), (3, 5)),
    "Linear, ReLU": (lambda: nn.Sequential(nn.Linear(5, 4, rng=0), nn.ReLU()), (2, 3, 1, 5)),
    "MaxPool2d": (lambda: nn.MaxPool2d(2, stride=1), (2, 3, 4, 5)),
    "ReLU": (nn.ReLU, (2, 3, 4, 5)),
    "Sigmoid": (nn.Sigmoid, (2, 3, 4, 5)),
    "Softmax": (nn.Softmax, (3, 5)),
    "Tanh": (nn.Tanh, (2, 3)),
    "Unpool2d": (lambda: nn.Unpool2d((2, 3)), (2, 3, 2, 2)),
    "Upsample": (lambda: nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), (1, 2, 3, 4)),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(3), (2, 3, 2, 3)),
    "BatchNorm2d without parameters": (lambda: nn.BatchNorm2d(3, affine=False), (2, 3, 2, 3)),
    "BatchNorm2d in evaluation": (lambda: nn.BatchNorm2d(3).eval(), (2, 3, 2, 3)),
    "BatchNorm2d, ReLU": (lambda: nn.Sequential(nn.BatchNorm2d(3), nn.ReLU()), (2, 3, 2, 3)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_by_finite_differences(name):
    make, shape = LAYERS[name]
    layer = make().to(np.float64)
    for number, parameter in enumerate(layer.parameters()):
        parameter.data += 0.3 * rand(*parameter.shape, seed=number)
    (x,) = leaves(rand(*shape))
    check(layer, x)
    weights = rand(*layer(x).shape, seed=7)
    layer.zero_grad()
    (layer(x) * weights).sum().backward()
    for parameter in layer.parameters():
        for index, direction in units(parameter.shape):
            expected = slope(lambda: (layer(x) * weights).sum(), parameter.data, direction)
            assert abs(parameter.grad[index] - expected) < 1e-5


def test_layers_do_what_their_functions_do():
    x = rand(2, 3, 6, 8).astype(np.float32)
    pool = {"stride": (2, 1), "padding": 1, "ceil_mode": True, "count_include_pad": False, "divisor_override": 5}
    pairs = [
        (nn.AvgPool2d(3, (2, 1), 1, True, False, 5)(x), kernels.avg_pool2d(x, 3, **pool)),
        (nn.GlobalAvgPool2d()(x), kernels.global_avg_pool2d(x)),
        (nn.Unpool2d((2, 3))(x), kernels.unpool2d(x, (2, 3))),
        (nn.Upsample((7, 5), mode="bicubic")(x), kernels.interpolate(x, size=(7, 5), mode="bicubic")),
        (nn.Upsample(scale_factor=1.5)(x), kernels.interpolate(x, scale_factor=1.5)),
        (nn.LeakyReLU(0.3)(x), kernels.leaky_relu(x, negative_slope=0.3)),
        (nn.Sigmoid()(x), kernels.sigmoid(x)),
        (nn.Tanh()(x), kernels.tanh(x)),
        (nn.Softmax()(x), kernels.softmax(x)),
    ]
    for ours, theirs in pairs:
        np.testing.assert_array_equal(ours.data, theirs)


# Batch normalisation


def statistics(x):
    """The mean, the biased and the unbiased variance of each channel."""
    flat = x.transpose(1, 0, 2, 3).reshape(x.shape[1], -1)
    return flat.mean(1), flat.var(1), flat.var(1, ddof=1)


def normalised(x, mean, variance, eps=1e-5):
    return (x - mean[:, None, None]) / np.sqrt(variance + eps)[:, None, None]


def test_batch_norm_in_training_uses_the_batch_and_remembers():
    layer = nn.BatchNorm2d(3, momentum=0.3).to(np.float64)
    mean, variance = np.zeros(3), np.ones(3)
    for seed in range(3):
        x = 2 + 3 * rand(4, 3, 5, 6, seed=seed)
        now = statistics(x)
        np.testing.assert_allclose(layer(x).data, normalised(x, *now[:2]), atol=1e-12)
        mean, variance = 0.7 * mean + 0.3 * now[0], 0.7 * variance + 0.3 * now[2]
    np.testing.assert_allclose(layer.running_mean, mean, rtol=1e-12)
    np.testing.assert_allclose(layer.running_var, variance, rtol=1e-12)
    assert layer.num_batches_tracked == 3
    before = layer.state_dict()
    np.testing.assert_allclose(layer.eval()(x).data, normalised(x, mean, variance), atol=1e-12)
    assert all(np.array_equal(before[name], array) for name, array in layer.state_dict().items())


def test_batch_norm_without_momentum_averages_all_batches():
    layer, found = nn.BatchNorm2d(2, momentum=None).to(np.float64), []
    for seed in range(4):
        x = rand(2, 2, 3, 3, seed=seed)
        layer(x)
        found.append(statistics(x))
    np.testing.assert_allclose(layer.running_mean, np.mean([each[0] for each in found], 0), rtol=1e-12)
    np.testing.assert_allclose(layer.running_var, np.mean([each[2] for each in found], 0), rtol=1e-12)


def test_batch_norm_that_keeps_nothing_always_uses_the_batch():
    layer, x = nn.BatchNorm2d(2, affine=False, track_running_stats=False).eval(), rand(2, 2, 3, 3)
    assert layer.state_dict() == {} and not list(layer.parameters())
    np.testing.assert_allclose(layer(x).data, normalised(x, *statistics(x)[:2]), atol=1e-12)


def test_batch_norm_state_is_named_and_shaped_as_pytorchs():
    layer = nn.BatchNorm2d(3)
    expected = {
        **{"weight": ((3,), np.float32), "bias": ((3,), np.float32)},
        **{
            "running_mean": ((3,), np.float32),
            "running_var": ((3,), np.float32),
            "num_batches_tracked": ((), np.int64),
        },
    }
    state = layer.state_dict()
    assert list(state) == list(expected)
    assert {name: (array.shape, array.dtype) for name, array in state.items()} == expected
    layer(rand(2, 3, 4, 4).astype(np.float32))
    other = nn.BatchNorm2d(3)
    other.load_state_dict(layer.state_dict())
    assert other.num_batches_tracked == 1 and np.array_equal(other.running_mean, layer.running_mean)
    twin = copy.deepcopy(layer)
    twin(rand(2, 3, 4, 4).astype(np.float32))
    assert layer.num_batches_tracked == 1 and twin.num_batches_tracked == 2


def test_state_goes_to_pytorch_and_back():
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(2, 4, 3, bias=False),
        torch.nn.BatchNorm2d(4),
        torch.nn.ReLU(),
        torch.nn.AvgPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Dropout(0.5),
        torch.nn.Linear(16, 3),
    )
    ours = nn.Sequential(
        nn.Conv2d(2, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(16, 3),
    )
    x = rand(3, 2, 6, 6).astype(np.float32)
    theirs[:3](torch.from_numpy(x))  # moves the running statistics
    ours.load_state_dict(theirs.state_dict())
    assert list(ours.state_dict()) == list(theirs.state_dict())
    np.testing.assert_allclose(ours.eval()(x).data, theirs.eval()(torch.from_numpy(x)).detach(), atol=1e-5)
    ours[1].train()(ours[0](x))
    theirs[1].train()(theirs[0](torch.from_numpy(x)))
    for name, array in theirs.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[name], array, atol=1e-5, err_msg=name)
    theirs.load_state_dict({name: torch.from_numpy(array) for name, array in ours.state_dict().items()})


def test_relu_runs_in_the_same_pass(traced):
    x, layer = rand(2, 3, 4, 4).astype(np.float32), nn.BatchNorm2d(3)
    expected = nn.relu(layer(x)).data
    traced.clear()
    np.testing.assert_array_equal(nn.Sequential(layer, nn.ReLU())(x).data, expected)
    assert traced == ["batch_norm_training"]
    layer, x = nn.Linear(4, 3), rand(2, 4).astype(np.float32)
    expected = nn.relu(layer(x)).data
    traced.clear()
    np.testing.assert_array_equal(nn.Sequential(layer, nn.ReLU())(x).data, expected)
    assert traced == ["linear"]


# Dropout


def test_dropout_in_training_drops_and_scales():
    x = np.ones((4, 8, 16, 16), np.float32)
    y = nn.Dropout(0.25)(x).data
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs((y == 0).mean() - 0.25) < 0.03
    np.testing.assert_array_equal(nn.Dropout(0.25).eval()(x).data, x)


def test_dropout_draws_from_the_generator_of_manual_seed():
    x, layer = np.ones((1, 2, 8, 8), np.float32), nn.Dropout(0.5)
    nn.manual_seed(3)
    first, second = layer(x).data, layer(x).data
    nn.manual_seed(3)
    np.testing.assert_array_equal(layer(x).data, first)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(nn.dropout(x, seed=5).data, nn.dropout(x, seed=5).data)


def test_the_gradient_of_dropout_passes_what_was_kept():
    x = nn.Tensor(rand(2, 3, 4, 4), requires_grad=True)
    y = nn.Dropout(0.4)(x)
    y.backward(np.ones(y.shape))
    np.testing.assert_allclose(x.grad, np.where(y.data == 0, 0, 1 / 0.6))
    assert (y.data == 0).any()


# Fully connected layers


def test_linear():
    layer, x = nn.Linear(5, 3, rng=0), rand(4, 5).astype(np.float32)
    layer.bias.data += 1
    assert layer.weight.shape == (3, 5)
    np.testing.assert_allclose(layer(x).data, x @ layer.weight.data.T + layer.bias.data, rtol=1e-5)
    np.testing.assert_array_equal(layer(x.reshape(2, 1, 2, 5)).data.reshape(4, 3), layer(x).data)
    assert nn.Linear(5, 3, bias=False).bias is None
    np.testing.assert_allclose(nn.Linear(256, 512, rng=0).weight.data.std(), np.sqrt(2 / 256), rtol=0.02)


@pytest.mark.parametrize("bias", [True, False])
def test_a_convolutionalised_classifier_gives_the_same_scores(bias):
    classifier = nn.Sequential(
        nn.Flatten(), nn.Linear(3 * 4 * 5, 7, bias, rng=0), nn.ReLU(), nn.Linear(7, 2, bias, rng=1)
    )
    for parameter in classifier.parameters():
        parameter.data += 0.1
    dense = nn.Sequential(nn.convolutionalize(classifier[1], (4, 5)), nn.ReLU(), nn.convolutionalize(classifier[3]))
    image = rand(2, 3, 6, 9).astype(np.float32)
    scores = dense(image).data
    assert scores.shape == (2, 2, 3, 5)
    for i, j in np.ndindex(3, 5):  # every window of the image that the classifier was made for
        window = classifier(np.ascontiguousarray(image[:, :, i : i + 4, j : j + 5])).data
        np.testing.assert_allclose(scores[:, :, i, j], window, rtol=1e-4, atol=1e-5)
    dense[0].weight.data += 1
    assert not np.array_equal(dense[0].weight.data.ravel(), classifier[1].weight.data.ravel())
    with pytest.raises(ValueError, match="convolutionalize: 60 features are no whole number of 7 x 7 planes"):
        nn.convolutionalize(classifier[1], 7)


# What they say


@pytest.mark.parametrize(
    ("layer", "shape", "match"),
    [
        (nn.BatchNorm2d(3), (3, 4, 4), r"BatchNorm2d\(3\): the input has shape \(3, 4, 4\); N x 3 x H x W is needed"),
        (nn.BatchNorm2d(3), (2, 4, 4, 4), "N x 3 x H x W is needed"),
        (nn.BatchNorm2d(1), (1, 1, 1, 1), "more than one number"),
        (nn.Linear(4, 2), (2, 4, 1, 1), r"Linear\(4, 2\): the input has shape \(2, 4, 1, 1\); N x 4 is needed"),
        (nn.Linear(4, 2), (), "N x 4 is needed"),
    ],
)
def test_what_layers_refuse(layer, shape, match):
    with pytest.raises(ValueError, match=match):
        layer(np.zeros(shape, np.float32))


def test_constructors_refuse():
    for make in (
        lambda: nn.Dropout(1.5),
        lambda: nn.BatchNorm2d(0),
        lambda: nn.Linear(0, 1),
        lambda: nn.Dropout(np.nan),
    ):
        with pytest.raises(ValueError, match="needed"):
            make()
    with pytest.raises(TypeError, match="the input is float64, weight and bias are float32"):
        nn.Linear(2, 2)(np.zeros((1, 2)))
    with pytest.raises(ValueError, match="running_mean and running_var must be given"):
        nn.batch_norm(np.zeros((1, 1, 2, 2)), None, None)


@pytest.mark.parametrize(
    ("layer", "shown"),
    [
        (nn.MaxPool2d(2, return_indices=True), "MaxPool2d(2, return_indices=True)"),
        (nn.AvgPool2d((2, 3), padding=1), "AvgPool2d((2, 3), padding=1)"),
        (nn.MaxUnpool2d(2, 1), "MaxUnpool2d(2, stride=1)"),
        (nn.Upsample(scale_factor=2, mode="bilinear"), "Upsample(scale_factor=2, mode=bilinear)"),
        (nn.BatchNorm2d(4, momentum=None, affine=False), "BatchNorm2d(4, momentum=None, affine=False)"),
        (nn.Linear(3, 2, bias=False), "Linear(3, 2, bias=False)"),
        (nn.Flatten(), "Flatten()"),
        (nn.Dropout(0.1), "Dropout(0.1)"),
    ],
)
def test_repr(layer, shown):
    assert repr(layer) == shown
