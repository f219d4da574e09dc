"""Modules and layers: names, state, initialisation, errors."""

import copy

import numpy as np
import pytest

from upconv import kernels, nn


class Net(nn.Module):
    def __init__(self, rng=0):
        self.body = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, rng=rng), nn.ReLU(), nn.Conv2d(2, 2, 1, rng=rng))
        self.scale = nn.Parameter(np.ones(1, np.float32))
        self.register_buffer("count", np.zeros(2, np.float32))
        self.off = None

    def forward(self, x):
        return self.body(x) * self.scale


def image(*shape, dtype=np.float32):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def test_names_are_pytorchs():
    net = Net()
    assert list(net.state_dict()) == ["scale", "count", "body.0.weight", "body.0.bias", "body.2.weight", "body.2.bias"]
    assert [name for name, _ in net.named_parameters()] == [n for n in net.state_dict() if n != "count"]
    assert [name for name, _ in net.named_buffers()] == ["count"] and len(list(net.buffers())) == 1
    assert [name for name, _ in net.named_modules()] == ["", "body", "body.0", "body.1", "body.2"]


def test_state_dict_round_trip_is_exact_and_a_snapshot():
    net, other = Net(rng=1), Net(rng=2)
    state = net.state_dict()
    assert all(array.flags.c_contiguous and array.flags.writeable for array in state.values())
    net.body[0].weight.data += 1
    assert not np.array_equal(state["body.0.weight"], net.body[0].weight.data)
    held = other.body[0].weight.data
    assert other.load_state_dict(state) == ([], [])
    assert other.body[0].weight.data is held
    for name, array in other.state_dict().items():
        np.testing.assert_array_equal(array, state[name])


def test_load_state_dict_reports_everything_and_changes_nothing():
    net = Net()
    before = net.state_dict()
    state = {name: array + 1 for name, array in before.items()}
    del state["body.0.bias"], state["count"]
    state["extra"] = np.zeros(1)
    state["body.2.weight"] = np.zeros((2, 2, 3, 3))
    state["scale"] = np.zeros(1, complex)
    with pytest.raises(ValueError) as caught:
        net.load_state_dict(state)
    message = str(caught.value)
    assert "missing: count, body.0.bias" in message and "unexpected: extra" in message
    assert (
        "body.2.weight has shape (2, 2, 3, 3), the model (2, 2, 1, 1)" in message and "scale is complex128" in message
    )
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_load_state_dict_not_strict_takes_what_fits():
    net = Net()
    result = net.load_state_dict({"scale": [3.0], "extra": 0}, strict=False)
    assert result.unexpected == ["extra"] and "body.0.weight" in result.missing
    assert net.scale.data == 3
    with pytest.raises(ValueError, match="scale has shape"):
        net.load_state_dict({"scale": np.zeros(2)}, strict=False)


def test_shared_parameters_are_trained_once_and_saved_under_both_names():
    net = Net()
    net.again = net.body
    assert len(list(net.parameters())) == 5
    assert "again.0.weight" in net.state_dict()
    x = image(1, 1, 4, 4)
    (net.body(x) + net.again(x)).sum().backward()
    twice = net.body[0].weight.grad
    net.zero_grad()
    net.body(x).sum().backward()
    np.testing.assert_allclose(twice, 2 * net.body[0].weight.grad, rtol=1e-6)


def test_modes_dtype_and_zero_grad():
    net = Net()
    assert net.eval() is net and not any(module.training for module in net.modules())
    assert net.train() is net and all(module.training for module in net.modules())
    net(image(1, 1, 4, 4)).sum().backward()
    assert net.scale.grad is not None
    net.zero_grad()
    assert all(parameter.grad is None for parameter in net.parameters())
    assert net.to(np.float64) is net
    assert {array.dtype for array in net.state_dict().values()} == {np.dtype(np.float64)}
    assert kernels.channels_last(net.body[0].weight.data) is net.body[0].weight.data
    with pytest.raises(TypeError, match="float16"):
        net.to(np.float16)


def test_frozen_parameters_get_no_gradient_and_do_not_move(traced):
    model = nn.UNet(width=2, depth=1, rng=0)
    optimizer = nn.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def step():
        before = model.state_dict()
        model(image(1, 1, 8, 8)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        return {name for name, array in model.state_dict().items() if not np.array_equal(array, before[name])}

    everything = step()
    assert everything == {*model.state_dict()}
    assert model.freeze("enc.*") is model
    traced.clear()
    assert step() == {name for name in everything if not name.startswith("enc.")}  # although momentum would move them
    assert traced.count("conv2d_weight") == 3 and traced.count("conv_transpose2d_weight") == 1
    assert all(p.grad is None for name, p in model.named_parameters() if name.startswith("enc."))
    model.unfreeze("enc.1")
    assert step() == {name for name in everything if not name.startswith("enc.0.")}
    model.freeze().unfreeze("*.bias").freeze("dec.0.?.bias").unfreeze("head.weight")
    expected = {name for name in everything if name.endswith("bias") and not name.startswith("dec")} | {"head.weight"}
    assert step() == expected
    model.unfreeze()
    assert step() == everything


def test_a_shared_parameter_is_frozen_under_any_of_its_names():
    net = Net()
    net.again = net.body
    net.freeze("again.0")
    assert not net.body[0].weight.requires_grad and net.body[2].weight.requires_grad


@pytest.mark.parametrize("pattern", ["encoder.*", "body.1", "count", "bod", ""])
def test_freezing_what_is_not_there_is_an_error(pattern):
    with pytest.raises(
        ValueError, match=r"^freeze: no parameter of Net is named '.*'; names are scale, body\.0\.weight"
    ):
        Net().freeze(pattern)
    with pytest.raises(ValueError, match=r"^unfreeze: no parameter of Net"):
        Net().unfreeze(pattern)


def test_deepcopy_is_independent():
    net = Net()
    twin = copy.deepcopy(net)
    twin.scale.data += 1
    weight = twin.body[2].weight.data
    assert net.scale.data == 1 and not np.shares_memory(weight, net.body[2].weight.data)
    assert kernels.channels_last(weight) is weight


def test_weights_are_channels_last_with_pytorchs_shapes():
    conv = nn.Conv2d(6, 4, (3, 2), groups=2)
    up = nn.ConvTranspose2d(6, 4, 2, stride=2, groups=2)
    assert conv.weight.shape == (4, 3, 3, 2) and up.weight.shape == (6, 2, 2, 2)
    for layer in (conv, up):
        assert layer.bias.shape == (4,) and not layer.bias.data.any()
        assert layer.weight.data.transpose(0, 2, 3, 1).flags.c_contiguous
    assert nn.Conv2d(1, 1, 1, bias=False).bias is None
    assert list(nn.Conv2d(1, 1, 1, bias=False).state_dict()) == ["weight"]


def test_he_initialisation():
    conv = nn.Conv2d(64, 128, 3, rng=0)
    np.testing.assert_allclose(conv.weight.data.std(), np.sqrt(2 / (64 * 9)), rtol=0.02)
    up = nn.ConvTranspose2d(128, 64, 2, stride=2, rng=0)  # one tap of every input channel reaches an output
    np.testing.assert_allclose(up.weight.data.std(), np.sqrt(2 / 128), rtol=0.02)
    with pytest.raises(ValueError, match="fan_in"):
        nn.init.he_normal_(np.zeros((1, 0, 3, 3)))


def test_seeds():
    nn.manual_seed(5)
    first, second = nn.Conv2d(2, 2, 3), nn.Conv2d(2, 2, 3)
    nn.manual_seed(5)
    assert np.array_equal(nn.Conv2d(2, 2, 3).weight.data, first.weight.data)
    assert not np.array_equal(first.weight.data, second.weight.data)
    assert np.array_equal(nn.Conv2d(2, 2, 3, rng=5).weight.data, first.weight.data)
    generator = np.random.default_rng(5)
    assert np.array_equal(nn.Conv2d(2, 2, 3, rng=generator).weight.data, first.weight.data)
    assert np.array_equal(nn.Conv2d(2, 2, 3, rng=generator).weight.data, second.weight.data)


def test_a_convolution_with_relu_runs_as_one(traced):
    net = nn.Sequential(nn.Conv2d(1, 3, 3, rng=0), nn.ReLU(), nn.MaxPool2d(2), nn.ReLU(), nn.ConvTranspose2d(3, 1, 2))
    x = image(1, 1, 6, 6)
    by_hand = x
    for layer in net:
        by_hand = layer(by_hand)
    traced.clear()
    np.testing.assert_allclose(net(x).data, by_hand.data, rtol=1e-5)
    assert traced == ["conv2d", "max_pool2d_offsets", "relu", "conv_transpose2d"]


def test_pooling_layers_round_trip():
    x = image(1, 2, 5, 5)
    y, indices = nn.MaxPool2d(2, return_indices=True)(x)
    back = nn.MaxUnpool2d(2)(y, indices, output_size=(5, 5))
    np.testing.assert_array_equal(back.data, np.where(np.isin(x, y.data), x, 0))


def test_the_output_follows_the_arguments():
    x = image(1, 4, 9, 9)
    assert nn.Conv2d(4, 2, 3, stride=2, padding=1, dilation=2, groups=2)(x).shape == (1, 2, 4, 4)
    assert nn.Conv2d(4, 2, 3, padding="same")(x).shape == (1, 2, 9, 9)
    assert nn.ConvTranspose2d(4, 2, 3, stride=2, padding=1, output_padding=1)(x).shape == (1, 2, 18, 18)
    assert nn.MaxPool2d(3, stride=2, padding=1)(x).shape == (1, 4, 5, 5)
    assert nn.MaxPool2d(2, ceil_mode=True)(x).shape == (1, 4, 5, 5)


def test_layers_say_what_is_wrong_with_their_input():
    layer = nn.Conv2d(3, 8, 3, padding=1)
    with pytest.raises(
        ValueError, match=r"Conv2d\(3, 8, kernel_size=\(3, 3\), padding=1\).*\(1, 1, 4, 4\).*N x 3 x H x W"
    ):
        layer(image(1, 1, 4, 4))
    with pytest.raises(ValueError, match="N x 3 x H x W or 3 x H x W is needed"):
        layer(image(4, 3, 4))
    np.testing.assert_array_equal(layer(image(3, 4, 4)).data, layer(image(1, 3, 4, 4)).data[0])
    with pytest.raises(TypeError, match="the input is float64, weight and bias are float32"):
        layer(image(1, 3, 4, 4, dtype=np.float64))
    with pytest.raises(TypeError, match="uint8"):
        layer(np.zeros((1, 3, 4, 4), np.uint8))


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: nn.Conv2d(0, 1, 3), ValueError, "Conv2d: in_channels is 0"),
        (lambda: nn.Conv2d(1, 1.5, 3), TypeError, r"out_channels is 1\.5"),
        (lambda: nn.Conv2d(3, 4, 3, groups=2), ValueError, "groups=2 must divide in_channels=3"),
        (lambda: nn.Conv2d(1, 1, (3, 3, 3)), ValueError, "kernel_size is"),
        (lambda: nn.ConvTranspose2d(1, 1, 0), ValueError, "ConvTranspose2d: kernel_size is 0"),
        (lambda: nn.ConvTranspose2d(1, 1, 2, stride=0), ValueError, "stride is 0"),
        (lambda: nn.Sequential(nn.ReLU(), np.tanh), TypeError, "Sequential: modules are needed, got ufunc"),
        (lambda: nn.Module()(1), NotImplementedError, "no forward"),
    ],
)
def test_what_constructors_refuse(make, error, match):
    with pytest.raises(error, match=match):
        make()


def test_repr_shows_the_tree():
    assert repr(nn.ConvTranspose2d(2, 1, 2, stride=2, bias=False)) == (
        "ConvTranspose2d(2, 1, kernel_size=(2, 2), stride=2, bias=False)"
    )
    assert repr(Net()).splitlines()[1:3] == [
        "  (body): Sequential(",
        "    (0): Conv2d(1, 2, kernel_size=(3, 3), padding=1)",
    ]


def test_module_list():
    layers = nn.ModuleList([nn.ReLU()]).append(nn.MaxPool2d(2))
    assert len(layers) == 2 and layers[-1] is list(layers)[1]
    with pytest.raises(TypeError, match="modules are needed"):
        layers.append(1)
