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


# Exchange with PyTorch: torchvision's classes, written out


def torch_vgg(plan, classes, channels, width, batch_norm, side):
    from torch import nn as tnn

    class Twin(tnn.Module):
        def __init__(self):
            super().__init__()
            layers, before = [], channels
            for item in plan:
                if item == "M":
                    layers.append(tnn.MaxPool2d(2, 2))
                    continue
                layers.append(tnn.Conv2d(before, item * width, 3, padding=1))
                before = item * width
                layers += [tnn.BatchNorm2d(before)] * batch_norm + [tnn.ReLU()]
            hidden = 64 * width
            self.features = tnn.Sequential(*layers)
            self.avgpool = tnn.AdaptiveAvgPool2d(side)
            self.classifier = tnn.Sequential(
                *(tnn.Linear(8 * width * side**2, hidden), tnn.ReLU(), tnn.Dropout()),
                *(tnn.Linear(hidden, hidden), tnn.ReLU(), tnn.Dropout()),
                tnn.Linear(hidden, classes),
            )

        def forward(self, x):
            return self.classifier(self.avgpool(self.features(x)).flatten(1))

    return Twin()


def torch_resnet(blocks, classes, channels, width):
    from torch import nn as tnn

    class Block(tnn.Module):
        def __init__(self, inside, outside, stride):
            super().__init__()
            self.conv1 = tnn.Conv2d(inside, outside, 3, stride, 1, bias=False)
            self.bn1 = tnn.BatchNorm2d(outside)
            self.relu = tnn.ReLU(inplace=True)
            self.conv2 = tnn.Conv2d(outside, outside, 3, 1, 1, bias=False)
            self.bn2 = tnn.BatchNorm2d(outside)
            self.downsample = None
            if stride != 1 or inside != outside:
                conv = tnn.Conv2d(inside, outside, 1, stride, bias=False)
                self.downsample = tnn.Sequential(conv, tnn.BatchNorm2d(outside))

        def forward(self, x):
            identity = x if self.downsample is None else self.downsample(x)
            return self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))) + identity)

    class Twin(tnn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = tnn.Conv2d(channels, width, 7, 2, 3, bias=False)
            self.bn1, self.relu = tnn.BatchNorm2d(width), tnn.ReLU()
            self.maxpool = tnn.MaxPool2d(3, 2, 1)
            inside = width
            for number, amount in enumerate(blocks):
                outside = width * 2**number
                stage = [Block(inside, outside, 2 if number else 1)]
                stage += [Block(outside, outside, 1) for _ in range(amount - 1)]
                setattr(self, f"layer{number + 1}", tnn.Sequential(*stage))
                inside = outside
            self.avgpool, self.fc = tnn.AdaptiveAvgPool2d(1), tnn.Linear(inside, classes)

        def forward(self, x):
            x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
            x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
            return self.fc(self.avgpool(x).flatten(1))

    return Twin()


VGG_11 = (1, "M", 2, "M", 4, 4, "M", 8, 8, "M", 8, 8, "M")
VGG_16 = (1, 1, "M", 2, 2, "M", 4, 4, 4, "M", 8, 8, 8, "M", 8, 8, 8, "M")


@pytest.mark.parametrize(("depth", "plan"), [(11, VGG_11), (16, VGG_16)])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_vgg_exchanges_states_with_pytorch(depth, plan, batch_norm):
    pytest.importorskip("torch")
    ours = nn.VGG(depth, 5, 3, 2, batch_norm=batch_norm, size=64, rng=0)
    assert {"features.0.weight", "classifier.0.weight", "classifier.6.bias"} <= {*ours.state_dict()}
    check_exchange(ours, torch_vgg(plan, 5, 3, 2, batch_norm, 2), drawn(2, 3, 64, 64))


@pytest.mark.parametrize(("depth", "blocks"), [(18, (2, 2, 2, 2)), (34, (3, 4, 6, 3))])
def test_resnet_exchanges_states_with_pytorch(depth, blocks):
    pytest.importorskip("torch")
    ours = nn.ResNet(depth, 5, 3, 2, rng=0)
    names = {"conv1.weight", "layer1.0.bn1.running_mean", "layer2.0.downsample.0.weight", "fc.weight"}
    assert names <= {*ours.state_dict()}
    check_exchange(ours, torch_resnet(blocks, 5, 3, 2), drawn(2, 3, 48, 33))


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
