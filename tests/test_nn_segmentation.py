"""FCN, SegNet, DeconvNet: sizes counted by hand, PyTorch's numbers from the same weights, and that they learn."""

import copy

import numpy as np
import pytest
from network_cases import check_gradients, check_round_trip, count, drawn, torch_state

from upconv import kernels, nn

VGG_16 = 14_714_688  # its convolutions: torchvision's features
VGG_16_NORMS = 2 * (2 * 64 + 2 * 128 + 3 * 256 + 6 * 512)  # a weight and a bias for each of the maps


@pytest.fixture
def undrawn(monkeypatch):
    """Weights stay as memory came: large networks are only counted."""
    monkeypatch.setattr(nn.init, "he_normal_", lambda *_, **__: None)


def conv(first, last, side=3):
    """The parameters of a convolution."""
    return first * last * side**2 + last


def trained_heads(model):
    """With scores of the skips that are not 0."""
    for name in {"score_pool3", "score_pool4"} & {*vars(model)}:
        getattr(model, name).weight.data += 0.1
    return model


# SegNet


def test_segnet_parameters(undrawn):
    up = 3 * conv(512, 512) + 2 * conv(512, 512) + conv(512, 256) + 2 * conv(256, 256) + conv(256, 128)
    up += conv(128, 128) + conv(128, 64) + conv(64, 64)
    norms = 2 * (512 * 3 + 512 * 2 + 256 + 256 * 2 + 128 + 128 + 64 + 64)
    assert count(nn.SegNet(3, 11)) == VGG_16 + VGG_16_NORMS + up + norms + conv(64, 11) == 29_449_355
    plain = nn.SegNet(3, 11, batch_norm=False)
    assert count(plain) == VGG_16 + up + conv(64, 11)
    assert count(nn.SegNet(1, 2, width=4, depth=1)) == conv(1, 4) + 2 * conv(4, 4) + conv(4, 2) + 3 * 8


@pytest.mark.parametrize("batch_norm", [False, True])
def test_segnet_is_what_pytorch_makes_of_its_weights(batch_norm):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    model = nn.SegNet(2, 3, 2, depth=3, batch_norm=batch_norm, rng=0)
    with nn.no_grad():
        model(drawn(2, 2, 22, 17, seed=5))
    state = torch_state(model.eval())

    def stage(name, x):
        numbers = sorted({int(key.split(".")[2]) for key in state if key.startswith(name)})
        for number in numbers:
            get = {k.rpartition(".")[2]: v for k, v in state.items() if k.startswith(f"{name}.{number}.")}
            if "running_mean" in get:
                x = functional.batch_norm(x, get["running_mean"], get["running_var"], get["weight"], get["bias"])
                x = functional.relu(x)
            else:
                x = functional.conv2d(x, get["weight"], get["bias"], padding=1)
                x = x if batch_norm else functional.relu(x)
        return x

    image = drawn(2, 2, 22, 17)  # odd sizes: 22 x 17, 11 x 8, 5 x 4, 2 x 2
    x, remembered = torch.from_numpy(image), []
    for i in range(3):
        x = stage(f"enc.{i}", x)
        size = x.shape[2:]
        x, indices = functional.max_pool2d(x, 2, return_indices=True)
        remembered.append((indices, size))
    for i in range(3):
        indices, size = remembered.pop()
        x = stage(f"dec.{i}", functional.max_unpool2d(x, indices, 2, output_size=size))
    expected = functional.conv2d(x, state["head.weight"], state["head.bias"], padding=1)
    ours = model(image).data
    assert ours.shape == (2, 3, 22, 17)
    np.testing.assert_allclose(ours, expected.numpy(), atol=1e-4)


# FCN


def test_fcn_parameters(undrawn):
    common = VGG_16 + conv(512, 4096, 7) + conv(4096, 4096, 1) + conv(4096, 21, 1)
    up = {stride: (2 * stride) ** 2 * 21 * 21 for stride in (2, 8, 16, 32)}  # no biases
    pool4, pool3 = conv(512, 21, 1), conv(256, 21, 1)
    assert common == 134_346_581  # the paper's table 1: 134 million
    assert count(nn.FCN32s()) == common + up[32]
    assert count(nn.FCN16s()) == common + up[2] + pool4 + up[16]
    assert count(nn.FCN8s()) == common + 2 * up[2] + pool4 + pool3 + up[8]


@pytest.mark.parametrize("padding", ["same", 100])
@pytest.mark.parametrize("name", ["FCN32s", "FCN16s", "FCN8s"])
def test_fcn_is_what_pytorch_makes_of_its_weights(name, padding):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    model = getattr(nn, name)(2, 3, 1, padding, rng=0).eval()
    rng = np.random.default_rng(0)
    for head in {"score_pool3", "score_pool4", "upscore2", "upscore_pool4"} & {*vars(model)}:
        weight = getattr(model, head).weight.data
        weight += rng.standard_normal(weight.shape) / 5
    state, same = torch_state(model), padding == "same"
    image = drawn(1, 2, 35, 70)

    def convolved(name, x, padding=0):
        return functional.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=padding)

    def enlarged(name, x, stride):
        return functional.conv_transpose2d(x, state[f"{name}.weight"], stride=stride, padding=stride // 2 * same)

    def joined(x, skip, offset):
        rows, columns = skip.shape[2:] if same else x.shape[2:]
        if same:
            return x[:, :, :rows, :columns] + skip
        return x + skip[:, :, offset : offset + rows, offset : offset + columns]

    x, pools, number = torch.from_numpy(image), [], 0
    for stage in (2, 2, 3, 3, 3):
        for _ in range(stage):
            pad = 100 if number == 0 and not same else 1
            x = functional.relu(convolved(f"features.{number}", x, pad))
            number += 2
        x = functional.max_pool2d(x, 2, ceil_mode=True)
        pools.append(x)
        number += 1
    x = functional.relu(convolved("fc6", x, 3 * same))
    x = convolved("score_fr", functional.relu(convolved("fc7", x)))
    last, stride, offset = {"FCN32s": ("upscore", 32, 19), "FCN16s": ("upscore16", 16, 27)}.get(
        name, ("upscore8", 8, 31)
    )
    if stride < 32:
        x = joined(enlarged("upscore2", x, 2), convolved("score_pool4", pools[3]), 5)
    if stride < 16:
        x = joined(enlarged("upscore_pool4", x, 2), convolved("score_pool3", pools[2]), 9)
    offset = 0 if same else offset
    expected = enlarged(last, x, stride)[:, :, offset : offset + 35, offset : offset + 70].numpy()
    ours = model(image).data
    assert ours.shape == (1, 3, 35, 70)
    np.testing.assert_allclose(ours, expected, atol=1e-4 * max(1, abs(expected).max()))


@pytest.mark.parametrize(("name", "factors"), [("FCN32s", [32]), ("FCN16s", [2, 16]), ("FCN8s", [2, 2, 8])])
def test_fcn_starts_as_bilinear_enlargement_of_the_coarse_scores(name, factors):
    model = getattr(nn, name)(2, 3, 1, rng=0).eval()
    image = drawn(1, 2, 224, 256)
    with nn.no_grad():
        features = model.features(image)
        coarse = model.score_fr(model.fc7(model.fc6(features, activation="relu"), activation="relu"))
        found, expected = model(image).data, coarse.data
    assert coarse.shape == (1, 3, 7, 8)
    for factor in factors:
        expected = kernels.interpolate(expected, scale_factor=factor, mode="bilinear")
    middle = np.s_[:, :, 80:144, 80:176]  # away from the border, where interpolation repeats the last pixel
    assert np.ptp(expected[middle]) > 0
    np.testing.assert_allclose(found[middle], expected[middle], atol=1e-5 * np.ptp(expected))


def test_fcn_takes_over_a_classifier():
    classifier = nn.VGG(16, 5, 3, 1, rng=0).eval()
    model = nn.FCN32s(3, 2, 1, padding=100, rng=1).eval().start_from(classifier)
    image = drawn(1, 3, 224, 224)
    with nn.no_grad():
        features = classifier.features(image)
        expected = classifier.classifier[:5](nn.flatten(features)).data
        found = model.fc7(model.fc6(features, activation="relu"), activation="relu").data
    assert expected.any()
    np.testing.assert_allclose(found[:, :, 0, 0], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(model.features[28].weight.data, classifier.features[28].weight.data)
    with pytest.raises(ValueError, match=r"start_from: classifier has depth=11, size=32; a VGG with .*'depth': 16"):
        model.start_from(nn.VGG(11, 5, 3, 1, size=32))


# DeconvNet


def test_deconvnet_parameters(undrawn):
    fc6, fc7, back = conv(512, 4096, 7), conv(4096, 4096, 1), conv(4096, 512, 7)
    up = 3 * conv(512, 512) + 2 * conv(512, 512) + conv(512, 256) + 2 * conv(256, 256) + conv(256, 128)
    up += conv(128, 128) + conv(128, 64) + conv(64, 64) + conv(64, 64)
    biases = 512 * 5 + 256 + 256 * 2 + 128 + 128 + 64 + 64
    norms = VGG_16_NORMS + 2 * (4096 + 4096 + 512) + 2 * (biases + 64)
    head = conv(64, 21, 1)
    untied = VGG_16 + fc6 + fc7 + back + up + norms + head
    assert count(nn.DeconvNet()) == untied
    tied = VGG_16 + fc6 + fc7 + 512 + biases + conv(64, 64) + norms + head
    assert count(nn.DeconvNet(tied=True)) == tied


@pytest.mark.parametrize("tied", [False, True])
def test_deconvnet_is_what_pytorch_makes_of_its_weights(tied):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    model = nn.DeconvNet(2, 3, 1, depth=2, window=3, tied=tied, batch_norm=False, rng=0).eval()
    state, image = torch_state(model), drawn(1, 2, 14, 17)
    conv, up = functional.conv2d, functional.conv_transpose2d

    def run(function, names, x, padding):
        for name in names:
            x = functional.relu(function(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=padding))
        return x

    x, remembered = torch.from_numpy(image), []
    for stage in ("enc.0", "enc.1"):
        x = run(conv, [f"{stage}.0", f"{stage}.2"], x, 1)
        size = x.shape[2:]
        x, indices = functional.max_pool2d(x, 2, return_indices=True)
        remembered.append((indices, size))
    x = run(up, ["middle.4"], run(conv, ["middle.0", "middle.2"], x, 0), 0)
    for number, stage in enumerate(("dec.0", "dec.1")):
        indices, size = remembered[1 - number]
        x = functional.max_unpool2d(x, indices, 2, output_size=size)
        x = run(up, [f"{stage}.0", f"{stage}.2"], x, 1)
    expected = conv(x, state["head.weight"], state["head.bias"]).numpy()
    np.testing.assert_allclose(model(image).data, expected, atol=1e-4 * max(1, abs(expected).max()))


def test_tied_filters_are_one_parameter():
    model = nn.DeconvNet(1, 2, 2, depth=2, window=2, tied=True, rng=0)
    partner = {"dec.0.0": "enc.1.3", "dec.0.3": "enc.1.0", "dec.1.0": "enc.0.3", "middle.6": "middle.0"}
    modules = dict(model.named_modules())
    for up, down in partner.items():
        assert modules[up].weight is modules[down].weight
        assert modules[up].bias is not modules[down].bias
    assert modules["dec.1.3"].weight is not modules["enc.0.0"].weight
    optimizer = nn.SGD(model.parameters(), lr=1e-2)
    before = model.state_dict()
    model(drawn(1, 1, 16, 16)).sum().backward()
    optimizer.step()
    after = model.state_dict()
    for up, down in partner.items():
        np.testing.assert_array_equal(after[f"{up}.weight"], after[f"{down}.weight"])
        assert not np.array_equal(after[f"{up}.weight"], before[f"{up}.weight"])
    untied = nn.DeconvNet(1, 2, 2, depth=2, window=2, rng=0)
    assert {*untied.state_dict()} == {*model.state_dict()} and count(untied) > count(model)
    twin = copy.deepcopy(model)
    assert twin.dec[0][0].weight is twin.enc[1][3].weight is not model.enc[1][3].weight


# All of them

SMALL = {
    "FCN-32s": (lambda: trained_heads(nn.FCN32s(2, 3, 2, dropout=0, rng=0)), (1, 2, 64, 47)),
    "FCN-16s": (lambda: trained_heads(nn.FCN16s(2, 3, 2, dropout=0, rng=0)), (1, 2, 33, 64)),
    "FCN-8s": (lambda: trained_heads(nn.FCN8s(2, 3, 2, dropout=0, rng=0)), (1, 2, 40, 70)),
    "FCN-8s, padding 100": (lambda: trained_heads(nn.FCN8s(2, 3, 1, 100, dropout=0, rng=0)), (1, 2, 5, 1)),
    "DeconvNet": (lambda: nn.DeconvNet(2, 3, 1, window=1, rng=0), (2, 2, 64, 96)),
    "DeconvNet, tied": (lambda: nn.DeconvNet(2, 3, 2, depth=2, window=3, tied=True, rng=0), (2, 2, 15, 12)),
    "SegNet": (lambda: nn.SegNet(2, 3, 2, rng=0), (2, 2, 37, 64)),
    "SegNet, two stages": (lambda: nn.SegNet(1, 3, 4, depth=2, batch_norm=False, rng=0), (1, 1, 5, 4)),
}


@pytest.mark.parametrize("name", SMALL)
def test_gradients_reach_every_parameter(name):
    make, shape = SMALL[name]
    check_gradients(make(), drawn(*shape))


@pytest.mark.parametrize("name", SMALL)
def test_the_scores_have_the_size_of_the_image_and_survive_a_round_trip(name, tmp_path):
    pytest.importorskip("safetensors")
    make, shape = SMALL[name]
    model = make()
    check_round_trip(model, drawn(*shape), tmp_path / "model")
    assert model(drawn(*shape)).shape == (shape[0], model.config["classes"], *shape[2:])


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: nn.FCN8s(padding=1), "FCN8s: padding is 1; 'same' or 100 is needed"),
        (lambda: nn.FCN16s(width=0), "FCN16s: width is 0; a positive integer is needed"),
        (lambda: nn.FCN32s(width=1)(drawn(3, 40, 40)), r"FCN32s: .*\(3, 40, 40\); N x 3 x H x W is needed"),
        (lambda: nn.DeconvNet(window=0), "DeconvNet: window is 0; a positive integer is needed"),
        (lambda: nn.DeconvNet(width=1)(drawn(1, 3, 223, 224)), "images are 223 x 224; at least 224 x 224 pixels"),
        (lambda: nn.SegNet(depth=6), "SegNet: depth is 6; 1 or 2 or 3 or 4 or 5 is needed"),
        (lambda: nn.SegNet(width=2)(drawn(1, 3, 31, 40)), "SegNet: images are 31 x 40; at least 32 x 32 pixels"),
        (lambda: nn.SegNet(width=2)(drawn(1, 1, 32, 32)), r"SegNet: .*\(1, 1, 32, 32\); N x 3 x H x W is needed"),
    ],
)
def test_what_they_refuse(make, match):
    with pytest.raises(ValueError, match=match):
        make()


LEARNING = {
    "DeconvNet": lambda: nn.DeconvNet(1, 2, 4, depth=2, window=3, rng=0),
    "DeconvNet, tied": lambda: nn.DeconvNet(1, 2, 4, depth=2, window=3, tied=True, rng=0),
    "FCN-8s": lambda: nn.FCN8s(1, 2, 8, dropout=0, rng=0),
    "SegNet": lambda: nn.SegNet(1, 2, 8, depth=2, rng=0),
}


@pytest.mark.parametrize("name", LEARNING)
def test_they_learn_where_it_is_bright(name):
    x = drawn(2, 1, 64, 64)
    blocks = np.random.default_rng(0).integers(0, 2, (2, 4, 4))
    labels = np.kron(blocks, np.ones((16, 16), int))
    x[:, 0] += 3 * labels
    model = LEARNING[name]()
    optimizer = nn.Adam(model.parameters(), lr=5e-3)
    for _ in range(50):
        loss = nn.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.3  # knowing nothing: 0.69
