"""Checkpoints and models, damaged or made to do harm: one clear sentence, nothing changed."""

import json
import random
import struct

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from training_cases import QUICK, data, model, same

from upconv import nn
from upconv.errors import InputError
from upconv.nn import checkpoint, io
from upconv.nn.trainer import Trainer
from upconv.settings import Settings

SETTINGS = Settings(**QUICK)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The content of a checkpoint after three steps."""
    folder = tmp_path_factory.mktemp("run")

    def end(step):
        if step.step == 3:
            raise KeyboardInterrupt

    nn.fit(model(), data(), folder, settings=SETTINGS, on_step=end)
    return (folder / "checkpoint.safetensors").read_bytes()


def refused(path, content, **others):
    """What is said of a checkpoint, which changes nothing."""
    path.write_bytes(content)
    network = others.pop("network", None) or model(rng=5)
    before = {name: array.copy() for name, array in network.state_dict().items()}
    trainer = Trainer(network, others.pop("dataset", None) or data(), others.pop("settings", SETTINGS))
    with pytest.raises(InputError) as error:
        checkpoint.restore(trainer, path)
    assert trainer.done == 0 and not trainer.optimizer.state_dict()["state"]
    assert all(np.array_equal(array, before[name]) for name, array in network.state_dict().items())
    (told,) = error.value.problems
    assert told.startswith(f"cannot resume: {path} ") and "\n" not in told
    return told


def opened(content):
    length = struct.unpack("<Q", content[:8])[0]
    metadata = json.loads(content[8 : 8 + length])["__metadata__"]
    return safetensors.numpy.load(content), metadata


def changed(content, tensors=(), state=(), drop=(), **metadata):
    """A checkpoint that was written so, its checksum and all."""
    held, told = opened(content)
    held = {name: array for name, array in {**held, **dict(tensors)}.items() if name not in drop}
    told["upconv.state"] = json.dumps({**json.loads(told["upconv.state"]), **dict(state)})
    told |= {f"upconv.{key}": value for key, value in metadata.items()}
    return io.content(held, {name: value for name, value in told.items() if name not in (*drop, io.CHECKSUM)})


def flipped(content, at):
    return content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :]


def lengthened(content):
    return struct.pack("<Q", 1 << 62) + content[8:]


BIAS = {"model.head.bias": np.zeros(3, np.float32)}
CLEAR = "is not a safetensors file, or is cut short"
MUTATIONS = {
    "empty": (lambda c: b"", CLEAR),
    "text": (lambda c: b"step = 3", CLEAR),
    "a pickle": (lambda c: b"\x80\x04cos\nsystem\n(S'true'\ntR.", CLEAR),
    "cut in the header": (lambda c: c[:100], CLEAR),
    "cut in the middle": (lambda c: c[: len(c) // 2], CLEAR),
    "cut by a byte": (lambda c: c[:-1], CLEAR),
    "a byte more": (lambda c: c + b"\0", CLEAR),
    "a header longer than the file": (lengthened, CLEAR),
    "a bit of a tensor": (lambda c: flipped(c, len(c) - 40), "is damaged: the checksum of what it holds is"),
    "no metadata": (lambda c: safetensors.numpy.save(opened(c)[0]), "is no checkpoint: its metadata lacks"),
    "a model": (lambda c: io.content({}, {"upconv.model": "UNet"}), "its metadata lacks upconv.checkpoint"),
    "of a later version": (lambda c: changed(c, checkpoint="2"), "of another training: its format is 2, here it is 1"),
    "of another model": (lambda c: changed(c, model="SegNet"), "its model is SegNet, here it is UNet"),
    "of other data": (lambda c: changed(c, data="arrays 0"), "its data is arrays 0, here it is arrays "),
    "settings that are no object": (lambda c: changed(c, settings="[]"), "has settings that cannot be read"),
    "settings that are no JSON": (lambda c: changed(c, settings="{"), "holds a state that cannot be used"),
    "settings nested without end": (lambda c: changed(c, settings="[" * 10**5), "holds a state that cannot be used"),
    "a missing tensor": (lambda c: changed(c, drop=["model.head.bias"]), "do not fit: missing: model.head.bias"),
    "a tensor too many": (lambda c: changed(c, {"x": np.zeros(2)}), "tensors that do not fit: unexpected: x"),
    "another shape": (lambda c: changed(c, BIAS), "model.head.bias is float32 (3,), here float32 (2,)"),
    "another dtype": (
        lambda c: changed(c, {"model.head.bias": np.zeros(2)}),
        "model.head.bias is float64 (2,), here float32 (2,)",
    ),
    "no state": (lambda c: changed(c, drop=["upconv.state"]), "its metadata lacks upconv.state"),
    "state of no parameter": (lambda c: changed(c, state={"optimizer": {"99": 1}}), "has a state of parameter 99"),
    "steps that are no number": (lambda c: changed(c, state={"optimizer": {"0": "x"}}), "invalid literal for int"),
    "steps below one": (lambda c: changed(c, state={"optimizer": {"0": 0}}), "was stepped 0 times"),
    "done after the end": (lambda c: changed(c, state={"done": 99}), "was written after step 99 of 6"),
    "done before the start": (lambda c: changed(c, state={"done": -1}), "was written after step -1 of 6"),
    "done nothing": (lambda c: changed(c, state={"done": None}), "holds a state that cannot be used (TypeError"),
    "endless time": (lambda c: changed(c, state={"done": float("inf")}), "holds a state that cannot be used (Overflow"),
    "another generator": (
        lambda c: changed(c, state={"random": {"bit_generator": "MT19937"}}),
        "holds a state of a random generator that cannot be used",
    ),
    "no generator": (lambda c: changed(c, state={"dropout": 7}), "holds a state of a random generator"),
    "a generator beyond its range": (
        lambda c: changed(c, state={"random": {**np.random.default_rng().bit_generator.state, "state": {"state": -1}}}),
        "holds a state of a random generator that cannot be used",
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_what_cannot_be_resumed_is_told_in_a_sentence(name, written, tmp_path):
    spoil, told = MUTATIONS[name]
    assert told in refused(tmp_path / "c.safetensors", spoil(written))


@pytest.mark.parametrize(
    ("others", "told"),
    [
        ({"settings": Settings(**QUICK | {"lr": 0.5})}, "its lr is 0.005, here it is 0.5"),
        ({"settings": Settings(**QUICK | {"optimizer": "sgd"})}, "its optimizer is adam, here it is sgd"),
        ({"network": model(width=4)}, "its model's arguments is"),
        ({"network": model().to(np.float64)}, "model.dec.0.0.bias is float32 (2,), here float64 (2,)"),
        ({"dataset": data(seed=1)}, "its data is arrays"),
    ],
)
def test_another_training_is_told_in_a_sentence(others, told, written, tmp_path):
    assert told in refused(tmp_path / "c.safetensors", written, **others)


def test_any_damage_is_told_in_a_sentence_or_does_nothing(written, tmp_path):
    """Bytes changed, cut out and put in at random."""
    chance, path = random.Random(0), tmp_path / "c.safetensors"
    header = 8 + struct.unpack("<Q", written[:8])[0]
    told = 0
    for _ in range(300):
        content = bytearray(written)
        for _ in range(chance.choice((1, 1, 3))):
            at = chance.randrange(chance.choice((8, header, len(content))))
            content[at : at + chance.choice((0, 1, 1, 8))] = chance.randbytes(chance.choice((0, 1, 1, 8)))
        if content == written:
            continue
        told += 1
        refused(path, bytes(content))
    assert told > 200


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(path.read_bytes()[:-1]), lambda path: path.unlink()])
def test_best_weights_that_are_needed_and_cannot_be_read(spoil, tmp_path):
    options = {**QUICK, "evaluate_every": 1, "early_stopping": 9}
    nn.fit(model(), data(), tmp_path, **options)
    spoil(tmp_path / "best.safetensors")
    with pytest.raises(InputError, match=r"cannot resume: .*best\.safetensors") as error:
        nn.fit(model(), data(), tmp_path, resume=True, **options)
    assert "\n" not in str(error.value)


def loading_fails(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError) as error:
        nn.load(path)
    assert str(error.value).startswith(f"load: {path}") and "\n" not in str(error.value)
    return str(error.value)


def test_any_damage_of_a_model_is_told_in_a_sentence(tmp_path):
    path, chance = tmp_path / "m.safetensors", random.Random(1)
    nn.save(model(), path)
    whole = path.read_bytes()
    assert same(nn.load(path), model())
    header = 8 + struct.unpack("<Q", whole[:8])[0]
    for _ in range(300):
        content = bytearray(whole)
        at = chance.randrange(chance.choice((8, header, len(content))))
        content[at : at + chance.choice((0, 1, 1, 8))] = chance.randbytes(chance.choice((0, 1, 1, 8)))
        if content != whole and b'"upconv.crc32"' in content:  # files of other hands have none
            loading_fails(path, bytes(content))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"width": 10**6}, "holds a UNet that cannot be built: it would have more weights than there are"),
        ({"width": 10**12}, "holds a UNet that cannot be built"),
        ({"width": 10**30}, "holds a UNet that cannot be built"),
        ({"depth": 10**9}, "depth is 1000000000; at most 64 is possible"),
        ({"depth": 30}, "holds a UNet that cannot be built"),
        ({"classes": 10**9}, "holds a UNet that cannot be built"),
        ({"in_channels": -1}, "in_channels"),
        ({"width": "2"}, "width"),
        ({"rng": 3}, "rng"),
        ({"__class__": "x"}, "cannot be built"),
    ],
)
def test_models_that_would_take_all_memory_are_refused(change, told, tmp_path):
    network = model()
    config = json.dumps({**network.config, **change})
    metadata = {"upconv.format": "1", "upconv.model": "UNet", "upconv.config": config}
    assert told in loading_fails(tmp_path / "m.safetensors", io.content(network.state_dict(), metadata))


def test_dtypes_that_numpy_lacks(tmp_path):
    header = json.dumps({"w": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}).encode()
    loading_fails(tmp_path / "m.safetensors", struct.pack("<Q", len(header)) + header + b"\0\0")
