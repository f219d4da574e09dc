"""ONNX files: ONNX Runtime gives what the network gave, at sizes it was not exported with too."""

import itertools
import sys

import numpy as np
import pytest
from network_cases import NETWORKS, drawn, randomised

from upconv import nn
from upconv.nn.exchange import onnx as onnx_file
from upconv.nn.exchange.nodes import OPERATORS

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


class Function(nn.Module):
    """A function of tensors as a module, with what it reads as parameters."""

    def __init__(self, function, **parameters):
        self.function = function
        for name, shape in parameters.items():
            setattr(self, name, nn.Parameter(drawn(*shape, seed=7)))

    def forward(self, x):
        return self.function(self, x if isinstance(x, nn.Tensor) else nn.Tensor(x))


@pytest.fixture
def exported(tmp_path):
    """What exports a model for a shape and runs the file: images -> its outputs."""

    def export(model, shape, **options):
        path = tmp_path / "model.onnx"
        nn.export_onnx(model, path, shape, **options)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return lambda x: session.run(None, {"input": x})

    return export


def compare(model, run, shape, low=1e-4):
    """As far as 1e-4 of the largest output; indices exactly."""
    x = drawn(*shape, seed=3)
    with nn.no_grad():
        expected = model.eval()(x)
    expected = expected if isinstance(expected, tuple) else (expected,)
    found = run(x)
    assert len(found) == len(expected)
    for ours, theirs in zip(expected, found, strict=True):
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
        np.testing.assert_allclose(theirs, ours.data, rtol=0, atol=low * abs(ours.data).max(initial=0))
    return expected


# Whole networks


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name, exported):
    make, *shapes = NETWORKS[name]
    model = randomised(make())
    run = exported(model, shapes[0])
    for shape in shapes:
        (y,) = compare(model, run, shape)
        assert np.ptp(y.data) > 0
    fixed = exported(model, shapes[-1], dynamic=False)
    compare(model, fixed, shapes[-1])
    with pytest.raises(Exception, match=r"Got invalid dimensions|INVALID_ARGUMENT"):
        fixed(drawn(shapes[-1][0] + 1, *shapes[-1][1:]))


ANY_SIZE = [name for name in NETWORKS if name.partition(",")[0] not in ("Autoencoder", "LeNet", "VGG")]


@pytest.mark.parametrize("name", ANY_SIZE)
@pytest.mark.parametrize("start", [0, 1])
def test_sizes_of_every_remainder(name, start, exported):
    make, *shapes = NETWORKS[name]
    model, (_, channels, height, width) = randomised(make()), shapes[start]
    run = exported(model, shapes[start])
    for more in range(4, 33, 4):  # U-Net takes multiples of 4
        compare(model, run, (1, channels, height + more, width + 36 - more))


def test_the_file(tmp_path):
    model = nn.DeconvNet(1, 2, 2, depth=2, window=2, tied=True, rng=0)
    before = model.state_dict()
    nn.export_onnx(model.train(), tmp_path / "model.onnx", (1, 1, 16, 16), opset=20)
    assert all(module.training for module in model.modules())
    np.testing.assert_equal(model.state_dict(), before)
    file = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(file, full_check=True)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert file.producer_name == "upconv" and file.opset_import[0].version == 20
    about = {each.key: each.value for each in file.metadata_props}
    assert about["upconv.model"] == "DeconvNet" and '"tied": true' in about["upconv.config"]
    weights = {each.name: onnx.numpy_helper.to_array(each) for each in file.graph.initializer}
    named = {name for name in weights if not name.startswith("/")}
    shared = {"dec.0.0.weight", "dec.0.3.weight", "dec.1.0.weight", "middle.6.weight"}  # once, under the first name
    assert named == {name for name in before if not name.endswith("num_batches_tracked")} - shared
    for name in named:
        np.testing.assert_array_equal(weights[name], before[name])


# Single operators

SHAPE, OTHER = (2, 4, 9, 12), (3, 4, 13, 7)
SIDES = ((0, 1), (2, 0))


def options(**choices):
    """Every combination, as dictionaries."""
    return [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]


POOLING = {
    "kernel_size": (2, (2, 3)),
    "stride": (None, 1, (3, 2)),
    "padding": (0, 1, ((0, 1), (1, 0))),
    "ceil_mode": (False, True),
}
SCALES, MODES = (2, 1.5, 0.5, (0.75, 2.3)), ("nearest", "bilinear", "bicubic")
CONVOLUTION = {"stride": (1, 2, (2, 3)), "dilation": (1, (1, 2)), "groups": (1, 2)}
CALLS = {
    "conv2d": [
        *options(padding=(0, (1, 2), SIDES, "same", "valid"), **CONVOLUTION),
        {"activation": "relu"},
    ],
    "conv_transpose2d": [
        *options(padding=(0, 1, SIDES), **CONVOLUTION),
        {"stride": (2, 3), "output_padding": (1, 2)},
        {"activation": "relu"},
    ],
    "max_pool2d": [
        *options(**POOLING),
        {"kernel_size": 3, "dilation": 2},
        {"kernel_size": (3, 2), "stride": 2, "dilation": (1, 3)},
    ],
    "avg_pool2d": options(**POOLING, count_include_pad=(False, True), divisor_override=(None, 5)),
    "interpolate": [
        *options(size=((5, 7), 20), mode=MODES[1:], align_corners=(False, True)),
        *options(scale_factor=SCALES, mode=MODES[1:], align_corners=(False, True)),
        *options(size=((5, 7), 20), mode=MODES[:1]),
        *options(scale_factor=SCALES, mode=MODES[:1]),
    ],
    "unpool2d": options(kernel_size=(1, 2, (3, 2))),
    "leaky_relu": [{}, {"negative_slope": 0.3}],
    "global_avg_pool2d": [{}],
    "global_max_pool2d": [{}, {"return_indices": False}],
    "relu": [{}],
    "sigmoid": [{}],
    "tanh": [{}],
    "softmax": [{}],
    "log_softmax": [{}],
}
WEIGHTS = {"conv2d": lambda groups: (6, 4 // groups, 3, 2), "conv_transpose2d": lambda groups: (4, 6 // groups, 3, 2)}
CASES = [(name, each) for name, several in CALLS.items() for each in several]


@pytest.mark.parametrize(("name", "arguments"), CASES, ids=lambda value: str(value).replace(" ", ""))
def test_operators(name, arguments, exported):
    function = getattr(nn, name)
    if name in WEIGHTS:
        shape = WEIGHTS[name](arguments.get("groups", 1))
        model = Function(lambda self, x: function(x, self.weight, self.bias, **arguments), weight=shape, bias=(6,))
    else:
        model = Function(lambda self, x: function(x, **arguments))
    run = exported(model, SHAPE)
    for shape in (SHAPE, OTHER):
        compare(model, run, shape)


def unpooled(kernel, stride=None, padding=0, output_size=None):
    """Means back to the places of maxima: where windows share one, the last must win."""

    def forward(self, x):
        y, indices = nn.max_pool2d(x, kernel, stride=stride, padding=padding, return_indices=True)
        options = {"stride": stride, "padding": padding}
        mean = nn.avg_pool2d(x, kernel, **options)
        size = x.shape[2:] if output_size == "given" else output_size
        back = nn.max_unpool2d(mean, indices, kernel, output_size=size, **options)
        return y, indices, back

    return Function(forward)


@pytest.mark.parametrize(
    ("model", "shapes"),
    [
        (unpooled(2, output_size="given"), [(2, 3, 14, 18), (1, 3, 15, 19), (2, 3, 14, 18)]),
        (unpooled((3, 2)), [(2, 2, 9, 8), (3, 2, 9, 8)]),
        (unpooled(3, 1, 0), [(2, 3, 9, 11)]),
        (unpooled(3, 1, 1), [(2, 3, 7, 9)]),
        (unpooled((2, 3), (1, 2), output_size="given"), [(2, 3, 8, 20), (1, 3, 8, 19)]),
    ],
    ids=["apart", "apart, smaller", "overlapping", "overlapping, padded", "overlapping, given a size"],
)  # fmt: skip
def test_unpooling(model, shapes, exported):
    run = exported(model, shapes[0])
    for shape in shapes:
        compare(model, run, shape, low=1e-6)


@pytest.mark.parametrize(
    ("forward", "parameters", "shapes"),
    [
        (lambda self, x: nn.linear(x, self.w, self.b), {"w": (3, 5), "b": (3,)}, [(2, 5), (7, 5)]),
        (lambda self, x: nn.linear(x, self.w, activation="relu"), {"w": (3, 5)}, [(2, 5), (1, 5)]),
        (lambda self, x: nn.linear(x, self.w, self.b), {"w": (3, 5), "b": (3,)}, [(2, 3, 4, 5), (1, 3, 4, 5)]),
        (lambda self, x: nn.concatenate([x, nn.relu(x), -x]) + x.shape[1], {}, [SHAPE, OTHER]),
        (lambda self, x: 3 - x * self.w / 2, {"w": (4, 1, 1)}, [SHAPE, OTHER]),
        (lambda self, x: (x * x).mean(), {}, [SHAPE]),
        (lambda self, x: x.sum(), {}, [SHAPE, OTHER]),
        (lambda self, x: nn.crop(x, (5, 6), 1), {}, [SHAPE, OTHER]),
        (lambda self, x: nn.crop(x, (x.shape[2] - 3, x.shape[3] - 2)), {}, [SHAPE, OTHER]),
        (lambda self, x: nn.crop(nn.interpolate(x, scale_factor=2), x.shape[2:], 1), {}, [SHAPE, OTHER]),
        (lambda self, x: nn.crop(x, x.shape[2:]), {}, [SHAPE, OTHER]),
        (lambda self, x: nn.flatten(x, 1, 2), {}, [SHAPE, (1, 4, 9, 12), OTHER]),
        (lambda self, x: nn.flatten(x, 0, 2), {}, [SHAPE]),
        (lambda self, x: nn.unflatten(nn.flatten(x, 2), 2, x.shape[2:]), {}, [SHAPE]),
        (lambda self, x: nn.unflatten(x, 1, (2, 2)), {}, [SHAPE, OTHER]),
        (lambda self, x: nn.interpolate(nn.max_pool2d(x, 2), size=x.shape[2:], mode="bilinear"), {}, [SHAPE, OTHER]),
        (
            lambda self, x: nn.conv_transpose2d(nn.conv2d(x, self.w, stride=2), self.w, stride=2, output_size=(9, 12)),
            {"w": (4, 4, 3, 3)},
            [SHAPE],
        ),
        (lambda self, x: nn.dropout(x, training=False), {}, [SHAPE, OTHER]),
    ],
)  # fmt: skip
def test_what_has_no_window(forward, parameters, shapes, exported):
    model = Function(forward, **parameters)
    run = exported(model, shapes[0])
    for shape in shapes:
        compare(model, run, shape)


def test_numbers_of_one_size_and_of_two_axes(exported):
    model = nn.Sequential(nn.Linear(5, 7, rng=0), nn.Tanh(), nn.Linear(7, 2, rng=1), nn.Softmax())
    run = exported(model, (1, 5))
    compare(model, run, (4, 5))


def test_batch_normalisation_without_weights(exported):
    model = randomised(nn.Sequential(nn.BatchNorm2d(4, eps=0.1, affine=False), nn.ReLU(), nn.BatchNorm2d(4)))
    run = exported(model, SHAPE)
    compare(model, run, OTHER)


@pytest.mark.parametrize("opset", [19, 21, 22])
def test_later_operator_sets(opset, exported):
    model = nn.SegNet(1, 2, 2, depth=2, rng=0)
    run = exported(model, (1, 1, 8, 9), opset=opset)
    compare(model, run, (2, 1, 13, 16))


def test_without_onnx_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"this needs onnx, .*pip install 'upconv\[onnx\]'"):
        nn.export_onnx(nn.ReLU(), tmp_path / "model.onnx", (1, 1))


def test_what_it_refuses(tmp_path, monkeypatch):
    def refused(function, match, shape=SHAPE, **options):
        with pytest.raises(ValueError, match=f"^export_onnx: .*{match}"):
            nn.export_onnx(Function(function), tmp_path / "model.onnx", shape, **options)
        assert not list(tmp_path.iterdir())

    def more_and_more(self, x):
        self.times = getattr(self, "times", 0) + 1
        for _ in range(self.times):
            x = nn.relu(x)
        return x

    refused(lambda self, x: nn.dropout(x, p=0.5), "dropout cannot be exported")
    refused(lambda self, x: nn.batch_norm(x, None, None, training=True), "batch_norm_training cannot be exported")
    refused(lambda self, x: nn.mse_loss(x, x), "mse_loss cannot be exported")
    refused(lambda self, x: nn.global_max_pool2d(x, return_indices=True), "with the indices that it returns")
    refused(lambda self, x: nn.unpool2d(x, 2), r"image without N, of shape \(4, 18, 24\)", SHAPE[1:])
    refused(lambda self, x: nn.relu(x.data * 2), "relu is given numbers that depend on the input")
    refused(more_and_more, "it calls more functions for some")
    refused(lambda self, x: x.data + 1, "gives what no function of upconv.nn computed")
    refused(lambda self, x: nn.linear(x, x), r"linear: ")
    refused(lambda self, x: nn.interpolate(x, scale_factor=2.1), "mode='nearest' and scale_factor=2.1 is", (1, 1, 3, 8))
    refused(lambda self, x: x, "opset is 17; 18 to [0-9]+ are possible", opset=17)
    refused(lambda self, x: x, r"input_shape\[1\] is 0; a positive integer is needed", (1, 0, 4, 4))
    monkeypatch.setattr(onnx_file, "LARGEST", 3 << 10)
    refused(
        lambda self, x: x * np.ones((16, 48), np.float32),
        "weights take 3072 bytes; an ONNX file holds fewer than 3072",
        (1, 48),
    )
    with pytest.raises(FileNotFoundError, match="export_onnx: there is no folder"):
        nn.export_onnx(Function(lambda self, x: x), tmp_path / "none" / "model.onnx", SHAPE)


NOT_EXPORTED = {"binary_cross_entropy_with_logits", "cross_entropy", "dice_loss", "l1_loss", "mse_loss", "nll_loss"} | {
    "batch_norm_training",
    "dropout",
    "max_pool2d_offsets",
}


def test_every_function_is_exported_here_or_not_at_all():
    tested = {*CALLS, "batch_norm", "concatenate", "crop", "flatten", "linear", "max_unpool2d", "unflatten"}
    assert {*nn.functional.__all__} == tested | NOT_EXPORTED
    assert {*OPERATORS} == tested | {"add", "mul", "neg", "sum"}
