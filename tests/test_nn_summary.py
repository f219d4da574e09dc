"""`nn.summary`: the papers' numbers, what a pixel really sees, and that the model is left as it was."""

import numpy as np
import pytest
from network_cases import drawn

from upconv import nn


@pytest.fixture
def undrawn(monkeypatch):
    """Weights stay zeros: large networks are only counted."""
    monkeypatch.setattr(nn.init, "he_normal_", lambda weight, *_, **__: weight.fill(0))


def by_name(found):
    return {row.name: row for row in found.rows}


def test_the_u_net_paper(undrawn):
    found = nn.summary(nn.UNet(1, 2, 64, 4, padded=False), (1, 1, 572, 572))
    sides = {row.output_shape[2] for row in found.rows}
    # every number of figure 1
    assert sides == {570, 568, 284, 282, 280, 140, 138, 136, 68, 66, 64, 32, 30, 28, 56, 54, 52, 104, 102, 100} | {
        *(200, 198, 196, 392, 390, 388)
    }
    assert by_name(found)["head"].output_shape == (1, 2, 388, 388)
    assert found.parameters == found.trainable == 31_030_658
    macs = 0
    for row in found.rows:
        _, channels, height, width = row.output_shape
        if row.layer == "Conv2d":
            macs += height * width * (row.parameters - channels)
        elif row.layer == "ConvTranspose2d":
            macs += height * width * (row.parameters - channels) // 4
    assert found.macs == macs


def test_vgg_16(undrawn):
    found = nn.summary(nn.VGG(16), (1, 3, 224, 224))
    assert found.parameters == 138_357_544
    assert found.macs == 15_470_264_320  # 15.5 billion
    rows = by_name(found)
    assert rows["features.30"].output_shape == (1, 512, 7, 7) and rows["features.30"].receptive_field == (212, 212)
    assert rows["classifier.0"].receptive_field == (404, 404)  # Long et al. 2015, table 1
    assert rows["features.0"].activation_bytes == 64 * 224 * 224 * 4


def test_fcn_with_the_papers_padding():
    found = nn.summary(nn.FCN8s(3, 21, 1, padding=100), (1, 3, 500, 500))
    sides = {name: row.output_shape[2] for name, row in by_name(found).items()}
    expected = {"features.0": 698, "features.16": 88, "features.23": 44, "features.30": 22, "fc6": 16, "upscore2": 34}
    expected |= {"score_pool4": 44, "upscore_pool4": 70, "score_pool3": 88, "upscore8": 568}
    assert expected.items() <= sides.items()
    assert by_name(found)["score_fr"].receptive_field == (404, 404)  # table 1 of the paper


def test_resnet_18(undrawn):
    found = nn.summary(nn.ResNet(18), (1, 3, 224, 224))
    assert found.parameters == 11_689_512
    assert found.macs == 1_814_073_344  # 1.8 billion: table 1 of the paper
    rows = by_name(found)
    assert rows["layer4.1.bn2"].receptive_field == (435, 435)  # Araujo et al. 2019, of the last features
    assert rows["layer4.1.bn2"].output_shape == (1, 512, 7, 7)
    assert rows["layer2.0.downsample.0"].receptive_field == (43, 43)
    assert rows["avgpool"].receptive_field == rows["fc"].receptive_field == (435 + 6 * 32,) * 2


class Branches(nn.Module):
    """What a sequence does not have: two inputs, sums, crops, what is shared, what gives two results."""

    def __init__(self):
        self.narrow, self.wide = nn.Conv2d(1, 2, 1, rng=0), nn.Conv2d(1, 2, 5, padding=2, rng=0)
        self.pool, self.unpool = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)
        self.again, self.flat = nn.Conv2d(4, 4, 3, padding=1, rng=0), nn.Flatten()

    def forward(self, x):
        both = nn.concatenate([nn.relu(self.narrow(x)), self.wide(x)])
        pooled, indices = self.pool(both)
        y = self.unpool(self.again(self.again(pooled)), indices)
        return self.flat(nn.crop(y, (4, 4)) + nn.crop(both, (4, 4)))


def test_branches_and_shared_layers():
    model = Branches()
    found = nn.summary(model, (2, 1, 8, 8))
    assert [row.name for row in found.rows] == ["narrow", "wide", "pool", "again", "again", "unpool", "flat"]
    assert [row.receptive_field[0] for row in found.rows] == [1, 5, 6, 10, 14, 14, 14 + 3]
    assert [row.parameters for row in found.rows] == [4, 52, 0, 148, 0, 0, 0]
    assert [row.macs for row in found.rows] == [2 * 64 * 2, 2 * 64 * 50, 0, *[2 * 16 * 4 * 36] * 2, 0, 0]
    assert found.rows[2].activation_bytes == 2 * 4 * 16 * (4 + 8)  # the indices too
    assert found.parameters == 204 and found.macs == sum(row.macs for row in found.rows)
    model.freeze("again")
    assert nn.summary(model, (2, 1, 8, 8)).trainable == 56
    tied = nn.summary(nn.DeconvNet(1, 2, 2, depth=1, window=1, tied=True), (1, 1, 4, 4))
    assert sum(row.parameters for row in tied.rows) == tied.parameters


SEEN = {
    "convolutions": lambda: [nn.Conv2d(1, 1, (3, 5), (2, 1)), nn.Conv2d(1, 1, 3, dilation=(2, 3)), nn.AvgPool2d(2, 1)],
    "pooling": lambda: [nn.AvgPool2d(2), nn.Conv2d(1, 1, 3), nn.AvgPool2d((3, 2), stride=2)],
    "enlarged": lambda: [nn.AvgPool2d(2), nn.ConvTranspose2d(1, 1, 4, 2)],
    "enlarged and smoothed": lambda: [nn.ConvTranspose2d(1, 1, 6, 2), nn.Conv2d(1, 1, 3)],
    "unpooled": lambda: [nn.AvgPool2d(2), nn.Unpool2d(2)],
    "nearest": lambda: [nn.Conv2d(1, 1, 3), nn.Upsample(scale_factor=2)],
    "bilinear": lambda: [nn.AvgPool2d(3), nn.Upsample(scale_factor=2, mode="bilinear")],
    "bicubic": lambda: [nn.AvgPool2d(2), nn.Upsample(scale_factor=3, mode="bicubic")],
    "global": lambda: [nn.Conv2d(1, 1, 3, padding=1), nn.GlobalAvgPool2d(), nn.Upsample(scale_factor=4)],
}


@pytest.mark.parametrize("name", SEEN)
def test_the_receptive_field_is_what_a_pixel_sees(name):
    """The input's pixels whose gradient is not 0, for the pixels in the middle of the result."""
    model = nn.Sequential(*SEEN[name]()).to(np.float64)
    for parameter in model.parameters():
        parameter.data[...] = 1 + drawn(*parameter.shape) ** 2
    side = 42
    middle = model(np.ones((1, 1, side, side))).shape[2:]
    seen = [0, 0]
    for place in np.ndindex(6, 6):  # more than a period of the enlargements
        x = nn.Tensor(np.ones((1, 1, side, side)), requires_grad=True)
        y = model(x)
        weights = np.zeros(y.shape)
        weights[0, 0, min(middle[0] // 2 + place[0], middle[0] - 1), min(middle[1] // 2 + place[1], middle[1] - 1)] = 1
        (y * weights).sum().backward()
        for axis in (0, 1):
            rows = np.flatnonzero(x.grad[0, 0].any(axis=1 - axis))
            seen[axis] = max(seen[axis], rows[-1] - rows[0] + 1 if rows.size else 0)
    field = nn.summary(model, (1, 1, side, side)).receptive_field
    assert tuple(seen) == tuple(min(each, side) for each in field)


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Conv2d(1, 2, 3, rng=0), nn.BatchNorm2d(2), nn.Dropout(0.5)).to(np.float64)
    model[1].eval()
    before = model.state_dict()
    with nn.no_grad():
        found = nn.summary(model, (1, 1, 5, 5))
        assert not nn.is_grad_enabled()
    assert found.receptive_field == (3, 3) and found.rows[0].activation_bytes == 2 * 9 * 8
    assert [module.training for module in model.modules()] == [True, True, False, True]
    assert all(parameter.grad is None for parameter in model.parameters())
    with pytest.raises(ValueError, match=r"\(1, 3, 5, 5\); N x 1 x H x W"):
        nn.summary(model, (1, 3, 5, 5))
    assert [module.training for module in model.modules()] == [True, True, False, True]
    assert not any("forward" in vars(module) for module in model.modules())
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_the_table():
    model = nn.UNet(width=2, depth=1).freeze("enc")
    lines = str(nn.summary(model, (1, 1, 8, 8))).splitlines()
    assert lines[0].split() == ["layer", "output", "parameters", "MACs", "bytes", "sees"]
    assert " ".join(lines[2].split()) == "enc.0.2 Conv2d 1 x 2 x 8 x 8 38 2,304 512 5 x 5"
    assert len({len(line) for line in lines[:-2]}) == 1
    assert lines[-1].startswith("434 parameters (282 frozen), 14,592 MACs, 3,712 bytes")
