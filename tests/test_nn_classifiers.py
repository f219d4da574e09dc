"""LeNet, VGG, ResNet: the papers' sizes, torchvision's names, and that they learn."""

import numpy as np
import pytest
from network_cases import check_exchange, check_gradients, check_round_trip, count, drawn

from upconv import nn


@pytest.fixture
def undrawn(monkeypatch):
    """Weights stay as memory came: large networks are only counted."""
    monkeypatch.setattr(nn.init, "he_normal_", lambda *_, **__: None)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: nn.VGG(11), 132_863_336),  # torchvision's numbers
        (lambda: nn.VGG(13), 133_047_848),
        (lambda: nn.VGG(16), 138_357_544),
        (lambda: nn.VGG(19), 143_667_240),
        (lambda: nn.VGG(11, batch_norm=True), 132_868_840),
        (lambda: nn.VGG(16, batch_norm=True), 138_365_992),
        (lambda: nn.ResNet(18), 11_689_512),
        (lambda: nn.ResNet(34), 21_797_672),
        (lambda: nn.LeNet(), 61_706),  # 156 + 2416 + 48120 + 10164 + 850
    ],
)
def test_parameter_counts(make, expected, undrawn):
    assert count(make()) == expected


def test_lenets_maps_are_the_papers():
    model, x, shapes = nn.LeNet(rng=0), drawn(1, 1, 32, 32), []
    for layer in [*model.features, *model.classifier]:
        x = layer(x)
        shapes.append(x.shape[1:])
    assert shapes[0] == (6, 28, 28) and shapes[2] == (6, 14, 14) and shapes[3] == (16, 10, 10)
    assert shapes[5] == (16, 5, 5) and shapes[6] == (120, 1, 1) and shapes[-3:] == [(84,), (84,), (10,)]
    assert nn.LeNet(classes=7, padding=2)(drawn(2, 1, 28, 28)).shape == (2, 7)


SMALL = {
    "LeNet": (lambda: nn.LeNet(rng=0), (2, 1, 32, 32)),
    "VGG-11": (lambda: nn.VGG(11, 5, 2, 2, size=64, dropout=0, rng=0), (2, 2, 64, 64)),
    "VGG-16": (lambda: nn.VGG(16, 5, 2, 2, size=32, rng=0), (2, 2, 32, 32)),
    "ResNet-18": (lambda: nn.ResNet(18, 5, 2, 2, rng=0), (2, 2, 40, 33)),
    "ResNet-34": (lambda: nn.ResNet(34, 5, 2, 2, rng=0), (2, 2, 33, 40)),
}


@pytest.mark.parametrize("name", SMALL)
def test_gradients_reach_every_parameter(name):
    make, shape = SMALL[name]
    check_gradients(make(), drawn(*shape))


@pytest.mark.parametrize("name", SMALL)
def test_round_trip(name, tmp_path):
    pytest.importorskip("safetensors")
    make, shape = SMALL[name]
    check_round_trip(make(), drawn(*shape), tmp_path / "model")


# Exchange with PyTorch: torchvision's classes


@pytest.mark.parametrize("depth", [11, 16])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_vgg_exchanges_states_with_pytorch(depth, batch_norm):
    pytest.importorskip("torch")
    from pytorch_networks import PLANS, torch_vgg

    ours = nn.VGG(depth, 5, 3, 2, batch_norm=batch_norm, size=64, rng=0)
    assert {"features.0.weight", "classifier.0.weight", "classifier.6.bias"} <= {*ours.state_dict()}
    check_exchange(ours, torch_vgg(PLANS[depth], 5, 3, 2, batch_norm, 2), drawn(2, 3, 64, 64))


@pytest.mark.parametrize("depth", [18, 34])
def test_resnet_exchanges_states_with_pytorch(depth):
    pytest.importorskip("torch")
    from pytorch_networks import BLOCKS, torch_resnet

    ours = nn.ResNet(depth, 5, 3, 2, rng=0)
    names = {"conv1.weight", "layer1.0.bn1.running_mean", "layer2.0.downsample.0.weight", "fc.weight"}
    assert names <= {*ours.state_dict()}
    check_exchange(ours, torch_resnet(BLOCKS[depth], 5, 3, 2), drawn(2, 3, 48, 33))


def test_states_without_batch_counts_load_too():
    """PyTorch before 0.4.1, and files that were stripped, have no num_batches_tracked."""
    model = nn.ResNet(18, 5, 3, 2, rng=0)
    state = {name: array for name, array in model.state_dict().items() if not name.endswith("num_batches_tracked")}
    model.load_state_dict(state)
    del state["bn1.running_var"]
    with pytest.raises(ValueError, match=r"missing: bn1\.running_var$"):
        model.load_state_dict(state)


# Errors and learning


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: nn.VGG(12), ValueError, "VGG: depth is 12; 11 or 13 or 16 or 19 is needed"),
        (lambda: nn.VGG(size=100), ValueError, "VGG: size is 100; a multiple of 32 is needed"),
        (lambda: nn.VGG(classes=0), ValueError, "VGG: classes is 0; a positive integer is needed"),
        (lambda: nn.VGG(width="64"), TypeError, "VGG: width is '64'; a positive integer is needed"),
        (lambda: nn.VGG(dropout="half"), ValueError, "VGG: dropout is 'half'; a probability"),
        (lambda: nn.ResNet(50), ValueError, "ResNet: depth is 50; 18 or 34 is needed"),
        (lambda: nn.ResNet(width=1.5), TypeError, r"ResNet: width is 1\.5; a positive integer is needed"),
        (lambda: nn.LeNet(padding=1), ValueError, "LeNet: padding is 1; 0 or 2 is needed"),
        (lambda: nn.LeNet()(drawn(1, 1, 28, 28)), ValueError, r"LeNet: .*\(1, 1, 28, 28\); N x 1 x 32 x 32 is needed"),
        (lambda: nn.ResNet(width=1)(drawn(1, 1, 28, 28)), ValueError, r"ResNet: .*N x 3 x H x W is needed"),
    ],
)
def test_what_they_refuse(make, error, match):
    with pytest.raises(error, match=match):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.LeNet(2, rng=0),
        lambda: nn.VGG(11, 2, 1, 4, batch_norm=True, size=32, dropout=0, rng=0),
        lambda: nn.ResNet(18, 2, 1, 4, rng=0),
    ],
)
def test_they_tell_horizontal_from_vertical_stripes(make):
    x = 0.5 * drawn(16, 1, 32, 32)
    labels = np.arange(16) % 2
    stripes = np.sin(np.arange(32, dtype=np.float32))
    x[labels == 0] += stripes
    x[labels == 1] += stripes[:, None]
    model = make()
    optimizer = nn.Adam(model.parameters(), lr=3e-3)
    for _ in range(15):
        loss = nn.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.2
