"""U-Net: the paper's sizes, names, errors, and that it learns."""

import json
from itertools import pairwise

import numpy as np
import pytest
from network_cases import check_exchange, drawn

from upconv import nn


def test_the_papers_network():
    model = nn.UNet(in_channels=1, classes=2, width=64, depth=4, padded=False)
    # 3x3 pairs, encoder: 640 + 36928, 73856 + 147584, 295168 + 590080, 1180160 + 2359808, 4719616 + 9438208;
    # 2x2 up: 2097664 + 524544 + 131200 + 32832; decoder: 4719104 + 2359808, 1179904 + 590080, 295040 + 147584,
    # 73792 + 36928; head: 130
    assert sum(parameter.size for parameter in model.parameters()) == 31_030_658
    assert model.output_size(572, 572) == (388, 388)
    assert model.valid_input_size(388, 388) == (572, 572)
    assert model.margin == 92 and model.multiple == 16


def test_names_and_shapes():
    state = nn.UNet(in_channels=3, classes=5, width=2, depth=1).state_dict()
    assert {name: array.shape for name, array in state.items()} == {
        "enc.0.0.weight": (2, 3, 3, 3),
        "enc.0.0.bias": (2,),
        "enc.0.2.weight": (2, 2, 3, 3),
        "enc.0.2.bias": (2,),
        "enc.1.0.weight": (4, 2, 3, 3),
        "enc.1.0.bias": (4,),
        "enc.1.2.weight": (4, 4, 3, 3),
        "enc.1.2.bias": (4,),
        "up.0.weight": (4, 2, 2, 2),
        "up.0.bias": (2,),
        "dec.0.0.weight": (2, 4, 3, 3),
        "dec.0.0.bias": (2,),
        "dec.0.2.weight": (2, 2, 3, 3),
        "dec.0.2.bias": (2,),
        "head.weight": (5, 2, 1, 1),
        "head.bias": (5,),
    }


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_sizes_are_what_the_layers_make_of_them(depth, padded):
    model = nn.UNet(width=1, depth=depth, padded=padded, rng=0)
    smallest = model.valid_input_size(1, 1)
    for height, width in (smallest, (smallest[0] + model.multiple, smallest[1] + 2 * model.multiple)):
        expected = model.output_size(height, width)
        assert min(expected) >= 1
        assert model(np.zeros((1, 1, height, width), np.float32)).shape == (1, 2, *expected)
        assert model.valid_input_size(*expected) == (height, width)
    for step in range(1, model.multiple):
        with pytest.raises(ValueError, match=f"depth={depth} and padded={padded}"):
            model.output_size(smallest[0] + step, smallest[1])
    with pytest.raises(ValueError):
        model.output_size(smallest[0] - model.multiple, smallest[1])


def test_skips_are_cropped_in_the_middle():
    """A valid net sees what a padded one sees away from the border: its scores are the middle of the padded ones."""
    valid, padded = (nn.UNet(width=2, depth=2, padded=p, rng=0).to(np.float64) for p in (False, True))
    padded.load_state_dict(valid.state_dict())
    image = np.random.default_rng(0).standard_normal((1, 1, 48, 48))
    with nn.no_grad():  # 44 = 48 - 4 keeps the pooling grid: the valid net's first row is the padded one's third
        inner = valid(image[:, :, 2:-2, 2:-2]).data
        outer = padded(image).data
    assert inner.shape == (1, 1 + 1, 4, 4)
    np.testing.assert_allclose(inner, outer[:, :, 22:26, 22:26], rtol=1e-12, atol=1e-12)


def test_what_the_unet_refuses():
    model = nn.UNet(in_channels=3, width=2, depth=2)
    with pytest.raises(ValueError, match=r"UNet: images have shape \(1, 1, 8, 8\); N x 3 x H x W is needed"):
        model(np.zeros((1, 1, 8, 8), np.float32))
    with pytest.raises(ValueError, match=r"images are 9 x 8; .*multiples of 4, here at least 12 x 8"):
        model(np.zeros((1, 3, 9, 8), np.float32))
    with pytest.raises(ValueError, match=r"images are 572 x 570; .*multiples of 16 minus 4, here at least 572 x 572"):
        nn.UNet(width=1, padded=False).output_size(572, 570)
    with pytest.raises(TypeError, match="float64"):
        model(np.zeros((1, 3, 8, 8)))
    for name in ("in_channels", "classes", "width", "depth"):
        with pytest.raises(ValueError, match=f"UNet: {name} is 0"):
            nn.UNet(**{name: 0})
    with pytest.raises(ValueError, match=r"UNet: dropout is 1\.5; a probability"):
        nn.UNet(dropout=1.5)


def test_batch_norm_and_dropout():
    model = nn.UNet(in_channels=2, classes=3, width=2, depth=2, batch_norm=True, dropout=0.5, rng=0)
    names = list(model.state_dict())
    assert names[:2] == ["enc.0.0.weight", "enc.0.1.weight"] and "enc.0.3.weight" in names
    assert not any(name.startswith("enc.") and name.endswith((".0.bias", ".3.bias")) for name in names)
    plain = nn.UNet(in_channels=2, classes=3, width=2, depth=2)
    convolved = 4 * (2 + 4) + 2 * 8  # 3x3 convolutions' outputs: a bias each is exchanged for a weight and a bias
    sizes = [sum(parameter.size for parameter in each.parameters()) for each in (plain, model)]
    assert sizes[1] - sizes[0] == convolved
    x = np.random.default_rng(0).standard_normal((2, 2, 16, 16)).astype(np.float32)
    first, second = model(x), model(x)
    assert not np.array_equal(first.data, second.data)  # dropped at random
    nn.cross_entropy(first, np.zeros((2, 16, 16), np.uint8)).backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())
    model.eval()
    np.testing.assert_array_equal(model(x).data, model(x).data)
    for level, block in enumerate(model.enc):
        assert any(isinstance(layer, nn.Dropout) for layer in block) == (level == 2)


def torch_unet(channels, classes, width, depth, padding, batch_norm):
    import torch
    from torch import nn as tnn

    def double(first, last):
        layers = []
        for before in (first, last):
            layers.append(tnn.Conv2d(before, last, 3, padding=padding, bias=not batch_norm))
            layers += [tnn.BatchNorm2d(last)] * batch_norm + [tnn.ReLU()]
        return tnn.Sequential(*layers)

    class Plain(tnn.Module):
        def __init__(self):
            super().__init__()
            widths = [width * 2**level for level in range(depth + 1)]
            upward = range(depth - 1, -1, -1)
            self.enc = tnn.ModuleList(double(*pair) for pair in pairwise([channels, *widths]))
            self.up = tnn.ModuleList(tnn.ConvTranspose2d(widths[i + 1], widths[i], 2, stride=2) for i in upward)
            self.dec = tnn.ModuleList(double(widths[i + 1], widths[i]) for i in upward)
            self.head = tnn.Conv2d(width, classes, 1)

        def forward(self, x):
            skips = []
            for level in self.enc[:-1]:
                skips.append(level(x))
                x = tnn.functional.max_pool2d(skips[-1], 2)
            x = self.enc[-1](x)
            for up, dec in zip(self.up, self.dec, strict=True):
                x, skip = up(x), skips.pop()
                top, left = ((skip.shape[axis] - x.shape[axis]) // 2 for axis in (2, 3))
                skip = skip[:, :, top : top + x.shape[2], left : left + x.shape[3]]
                x = dec(torch.cat([skip, x], 1))
            return self.head(x)

    return Plain()


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_states_are_exchanged_with_a_plain_pytorch_unet(padded, batch_norm):
    pytest.importorskip("torch")
    ours = nn.UNet(2, 3, 2, 2, padded, batch_norm, rng=0)
    size = ours.valid_input_size(8, 12)
    check_exchange(ours, torch_unet(2, 3, 2, 2, int(padded), batch_norm), drawn(2, 2, *size))


def test_a_file_from_before_the_options_loads(tmp_path):
    numpy = pytest.importorskip("safetensors.numpy")
    model = nn.UNet(width=2, depth=1, rng=0)
    config = {name: value for name, value in model.config.items() if name not in ("batch_norm", "dropout")}
    metadata = {"upconv.format": "1", "upconv.model": "UNet", "upconv.config": json.dumps(config)}
    numpy.save_file(model.state_dict(), tmp_path / "old", metadata)
    assert nn.load(tmp_path / "old").config == model.config


def test_contiguous_and_channels_last_images_give_the_same_scores():
    model = nn.UNet(in_channels=3, width=2, depth=1, rng=0)
    image = np.random.default_rng(0).standard_normal((2, 8, 8, 3)).astype(np.float32).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(model(image).data, model(np.ascontiguousarray(image)).data)


def test_it_learns_a_tiny_image_by_heart():
    rng = np.random.default_rng(0)
    image = rng.standard_normal((1, 1, 16, 16)).astype(np.float32)
    labels = (np.add.outer(np.arange(16), np.arange(16)) // 5 % 2)[None]
    labels[0, 0, 0] = 255
    model = nn.UNet(width=4, depth=2, rng=0)
    optimizer = nn.Adam(model.parameters(), lr=1e-2)
    for _ in range(120):
        loss = nn.cross_entropy(model(image), labels, ignore_index=255)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with nn.no_grad():
        right = model(image).data.argmax(1) == labels
    assert loss.item() < 0.1 and right.mean() > 0.97
