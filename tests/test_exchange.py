"""PyTorch's state dicts: what they are read as, what is refused, and the commands that exchange models."""

import numpy as np
import pytest
from network_cases import NETWORKS, drawn, randomised

from upconv import nn
from upconv.cli import main
from upconv.nn.exchange import pytorch
from upconv.options import BROUGHT

load_file = pytest.importorskip("safetensors.numpy").load_file
MODELS = {
    "unet": lambda: nn.UNet(2, 3, 4, 3, rng=0),
    "unet, batch normalisation": lambda: nn.UNet(1, 2, 2, 1, batch_norm=True, rng=0),
    "vgg 11": lambda: nn.VGG(11, 5, 3, 2, size=64, rng=0),
    "vgg 19, batch normalisation": lambda: nn.VGG(19, 5, 1, 1, True, 32, rng=0),
    "resnet 18": lambda: nn.ResNet(18, 7, 2, 4, rng=0),
    "resnet 34": lambda: nn.ResNet(34, 5, 3, 2, rng=0),
}


@pytest.mark.parametrize("name", MODELS)
def test_there_and_back(name):
    model = randomised(MODELS[name]())
    state = nn.to_pytorch(model)
    for given in (state, {f"module.{key}": value for key, value in state.items()}, model.state_dict()):
        back = nn.from_pytorch(given, name.split()[0].rstrip(","))
        assert type(back) is type(model) and back.config == model.config and back.training
        np.testing.assert_equal(back.state_dict(), model.state_dict())


def test_names_of_a_u_net():
    names = list(nn.to_pytorch(nn.UNet(1, 2, 2, 2, rng=0)))
    blocks = ("inc", "down1.maxpool_conv.1", "down2.maxpool_conv.1", "up1.conv", "up2.conv")
    expected = {f"{block}.double_conv.{i}.{kind}" for block in blocks for i in (0, 2) for kind in ("weight", "bias")}
    expected |= {f"{up}.{kind}" for up in ("up1.up", "up2.up", "outc.conv") for kind in ("weight", "bias")}
    assert len(names) == len(expected) and {*names} == expected


def test_networks_without_a_counterpart_keep_their_names():
    model = nn.SegNet(1, 2, 2, depth=1, rng=0)
    assert nn.to_pytorch(model).keys() == model.state_dict().keys()


def test_dtypes_and_the_form_of_a_u_net():
    model = nn.UNet(1, 2, 2, 1, rng=0)
    state = nn.to_pytorch(model.to("float64"))
    assert nn.from_pytorch(state, "unet").head.weight.dtype == np.float64
    half = nn.from_pytorch({key: value.astype(np.float16) for key, value in state.items()}, "unet", padded=False)
    assert half.head.weight.dtype == np.float32 and not half.padded


def test_what_does_not_fit_is_listed_in_the_words_of_the_state():
    state = nn.to_pytorch(nn.UNet(1, 2, 2, 1, rng=0))
    wrong = {**state, "extra": np.ones(1), "up1.up.weight": np.ones((4, 2, 3, 2), np.float32)}
    del wrong["up1.conv.double_conv.2.bias"]
    with pytest.raises(ValueError) as caught:
        nn.from_pytorch(wrong, "unet")
    assert str(caught.value) == (
        "from_pytorch: the state does not fit UNet: missing: up1.conv.double_conv.2.bias; unexpected: extra;"
        " up1.up.weight has shape (4, 2, 3, 2), the model (4, 2, 2, 2)"
    )


@pytest.mark.parametrize(
    ("state", "network", "match"),
    [
        ({}, "unet", r"the state is of no unet: inc\.double_conv\.0\.weight is missing"),
        ({"a": np.ones(1)}, "vgg", r"of no vgg: features\.0\.weight is missing; it has a, "),
        ({}, "vnet", "network is 'vnet'; resnet, unet, vgg are known"),
        ({"conv1.weight": np.ones((2, 3, 7, 7)), "fc.weight": np.ones((5, 8))}, "resnet", "depth is 0"),
        ({"inc.double_conv.0.weight": np.ones(3), "outc.conv.weight": np.ones(3)}, "unet", "^from_pytorch: "),
        (
            {f"down{i}.maxpool_conv.1.double_conv.0.weight": np.ones(1) for i in range(25)}
            | {"inc.double_conv.0.weight": np.ones((64, 1, 3, 3)), "outc.conv.weight": np.ones((2, 64, 1, 1))},
            "unet",
            "more weights than there are",
        ),
    ],
)
def test_what_is_refused(state, network, match):
    with pytest.raises(ValueError, match=match):
        nn.from_pytorch(state, network)


def test_a_u_net_that_enlarges_by_interpolation_is_refused_and_told_why():
    state = nn.to_pytorch(nn.UNet(1, 2, 2, 2, rng=0))
    bilinear = {key: value for key, value in state.items() if ".up." not in key}
    with pytest.raises(ValueError, match=r"missing: up1\.up\.weight, up1\.up\.bias, up2\.up\.weight, up2\.up\.bias$"):
        nn.from_pytorch(bilinear, "unet")


# The commands


@pytest.fixture(autouse=True)
def there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(capsys, *arguments):
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    return line


def test_import_and_export(capsys):
    model = randomised(nn.UNet(1, 2, 2, 1, padded=False, batch_norm=True, rng=0))
    nn.save(model, "model.safetensors")
    assert main(["export", "model.safetensors", "theirs.safetensors"]) == 0
    assert capsys.readouterr().out == "theirs.safetensors: 40 arrays, named as in PyTorch\n"
    np.testing.assert_equal(load_file("theirs.safetensors"), nn.to_pytorch(model))
    assert main(["import", "theirs.safetensors", "back.safetensors", "--network", "unet", "--unpadded"]) == 0
    assert "back.safetensors: UNet(in_channels=1, classes=2, width=2, depth=1, padded=False" in capsys.readouterr().out
    back = nn.load("back.safetensors")
    assert back.config == model.config
    np.testing.assert_equal(back.state_dict(), model.state_dict())


def test_export_to_onnx(capsys):
    onnxruntime = pytest.importorskip("onnxruntime")
    model = NETWORKS["SegNet"][0]()
    nn.save(model, "model.safetensors")
    x = drawn(1, 2, 40, 33)
    with nn.no_grad():
        expected = model.eval()(x).data
    for options, shape in ([], (40, 64)), (["--fixed"], (40, 33)):
        size = [str(side) for side in shape]
        assert main(["export", "model.safetensors", "model.onnx", "--size", *size, *options]) == 0
        assert capsys.readouterr().out == f"model.onnx: SegNet for 1 x 2 x {' x '.join(size)}, checked\n"
        (found,) = onnxruntime.InferenceSession("model.onnx").run(None, {"input": x})
        np.testing.assert_allclose(found, expected, atol=1e-4 * abs(expected).max())


def test_what_the_commands_refuse(capsys, there):
    nn.save(nn.UNet(1, 2, 2, 1, rng=0), "model.safetensors")
    (there / "bad.safetensors").write_bytes(b"PK\x03\x04")
    before = {path.name for path in there.iterdir()}
    back = ("--network", "unet")
    model, onnx = "model.safetensors", "o.onnx"
    other = "o.safetensors"
    for line, *arguments in (
        ("there is no file none", "import", "none", other, *back),
        ("o.pt must be named .safetensors", "import", model, "o.pt", *back),
        ("--unpadded is for --network unet, not vgg", "import", model, other, "--network", "vgg", "--unpadded"),
        ("model.safetensors would overwrite what is read; give another name", "import", model, model, *back),
        ("there is no folder x to write o.onnx to", "export", model, "x/o.onnx"),
        ("o.pt must be named .onnx or .safetensors", "export", model, "o.pt"),
        ("none cannot be used as a model: there is no file none", "export", "none", onnx),
        ("--size HEIGHT WIDTH is needed: pixels of an image that the network takes", "export", model, onnx),
        ("--size and --fixed are for ONNX files; weights have no size of images", "export", model, other, "--fixed"),
    ):
        assert refused(capsys, *arguments) == f"upconv: {line}"
    line = refused(capsys, "import", "bad.safetensors", "o.safetensors", *back)
    assert "bad.safetensors is not a safetensors file" in line and "safetensors.torch.save_file(" in line
    line = refused(capsys, "import", "model.safetensors", "o.safetensors", "--network", "resnet")
    assert line.startswith("upconv: model.safetensors: the state is of no resnet: conv1.weight is missing; it has ")
    line = refused(capsys, "export", "model.safetensors", "o.onnx", "--size", "7", "8")
    assert line.startswith("upconv: UNet: images are 7 x 8; ")
    assert {path.name for path in there.iterdir()} == before


def test_the_help_names_every_network():
    assert sorted(pytorch.NETWORKS) == list(BROUGHT)
