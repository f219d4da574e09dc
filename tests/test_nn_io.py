"""Models on disk: exact, complete or absent, and clear about what is wrong."""

import json
import os

import numpy as np
import pytest

from upconv import nn

safetensors = pytest.importorskip("safetensors")
safetensors_numpy = pytest.importorskip("safetensors.numpy")


@pytest.fixture
def model():
    return nn.UNet(in_channels=2, classes=3, width=2, depth=1, padded=False, rng=4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_round_trip(model, tmp_path, dtype):
    path = tmp_path / "model.safetensors"
    nn.save(model.to(dtype), path)
    loaded = nn.load(str(path))
    assert type(loaded) is nn.UNet and loaded.config == model.config
    for (name, a), (other, b) in zip(model.named_parameters(), loaded.named_parameters(), strict=True):
        assert name == other and a.dtype == b.dtype == dtype
        np.testing.assert_array_equal(a.data, b.data)
    assert os.listdir(tmp_path) == ["model.safetensors"]


def test_the_file_is_plain_safetensors(model, tmp_path):
    nn.save(model, tmp_path / "model")
    tensors = safetensors_numpy.load_file(tmp_path / "model")
    assert set(tensors) == set(model.state_dict())
    np.testing.assert_array_equal(tensors["up.0.weight"], model.up[0].weight.data)


def test_metadata_of_ones_own(model, tmp_path):
    path = tmp_path / "model"
    nn.save(model, path, {"from": "here", "upconv.model": "cannot be replaced"})
    with safetensors.safe_open(path, "numpy") as file:
        assert file.metadata()["from"] == "here"
    assert nn.load(path).config == model.config


def test_loading_leaves_the_global_generator_alone(model, tmp_path):
    nn.save(model, tmp_path / "model")
    nn.manual_seed(1)
    expected = nn.Conv2d(1, 1, 3).weight.data
    nn.manual_seed(1)
    nn.load(tmp_path / "model")
    np.testing.assert_array_equal(nn.Conv2d(1, 1, 3).weight.data, expected)


@pytest.mark.parametrize("failing", ["replace", "fsync"])
def test_a_failed_save_keeps_the_old_file_and_leaves_nothing(model, tmp_path, monkeypatch, failing):
    path = tmp_path / "model.safetensors"
    nn.save(model, path)
    old = path.read_bytes()
    model.head.bias.data += 1

    def full(*args):
        raise OSError("disk full")

    monkeypatch.setattr(os, failing, full)
    with pytest.raises(OSError, match="disk full"):
        nn.save(model, path)
    assert path.read_bytes() == old and os.listdir(tmp_path) == ["model.safetensors"]


def test_files_get_ordinary_permissions(model, tmp_path):
    (tmp_path / "other").touch()
    nn.save(model, tmp_path / "model")
    assert (tmp_path / "model").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_what_save_refuses(tmp_path, model):
    with pytest.raises(ValueError, match="Conv2d cannot be rebuilt by load"):
        nn.save(nn.Conv2d(1, 1, 1), tmp_path / "model")
    with pytest.raises(FileNotFoundError, match="save: there is no folder"):
        nn.save(model, tmp_path / "missing" / "model")
    with pytest.raises(OSError):
        nn.save(model, tmp_path)
    assert os.listdir(tmp_path) == []


def write(path, state, **metadata):
    content = safetensors_numpy.save(state, {f"upconv.{key}": value for key, value in metadata.items()} or None)
    path.write_bytes(content)
    return path


def test_what_load_refuses(tmp_path, model):
    path, state, config = tmp_path / "model", model.state_dict(), json.dumps(model.config)
    with pytest.raises(FileNotFoundError, match="load: there is no file"):
        nn.load(path)
    with pytest.raises(FileNotFoundError, match="load: there is no file"):
        nn.load(tmp_path)
    nn.save(model, path)
    content = path.read_bytes()
    for damaged in (b"", b"\x89PNG....", content[:20], content[:-1]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="is not a safetensors file, or is cut short"):
            nn.load(path)
    with pytest.raises(ValueError, match=r"not written by upconv\.nn\.save"):
        nn.load(write(path, state))
    with pytest.raises(ValueError, match="has format 9"):
        nn.load(write(path, state, format="9", model="UNet", config=config))
    with pytest.raises(ValueError, match=r"holds a VNet; known models are .*UNet"):
        nn.load(write(path, state, format="1", model="VNet", config=config))
    for bad in ("{", "[]", '{"depth": 0}', '{"colour": 1}'):
        with pytest.raises(ValueError, match="holds a UNet that cannot be built"):
            nn.load(write(path, state, format="1", model="UNet", config=bad))
    del state["head.bias"]
    with pytest.raises(ValueError, match=r"model: load_state_dict: .*missing: head\.bias"):
        nn.load(write(path, state, format="1", model="UNet", config=config))


def test_own_models_can_be_registered(tmp_path):
    @nn.register_model
    class Tiny(nn.Module):
        def __init__(self, width, *, rng=None):
            self.config = {"width": width}
            self.conv = nn.Conv2d(1, width, 1, rng=rng)

    tiny = Tiny(3)
    nn.save(tiny, tmp_path / "tiny")
    np.testing.assert_array_equal(nn.load(tmp_path / "tiny").conv.weight.data, tiny.conv.weight.data)
