"""A training that goes on equals one that never ended, bit for bit; killed, it loses little and ruins nothing."""

import csv
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image
from training_cases import QUICK, data, model, rows, same

from upconv import kernels, nn
from upconv.nn.record import Record

WAYS = {
    "adam, dropout, batch normalisation": ({}, {"dropout": 0.5, "batch_norm": True}),
    "sgd, every augmentation": (
        {"optimizer": "sgd", "rotate": 20, "scale": 0.2, "elastic": 3, "intensity": 0.2, "noise": 0.1},
        {},
    ),
    "rmsprop, accumulation, clipping": ({"optimizer": "rmsprop", "accumulate": 2, "clip_grad_norm": 0.1}, {}),
    "adagrad, weights, one cycle": ({"optimizer": "adagrad", "class_weights": "balanced", "schedule": "one_cycle"}, {}),
    "adamw, frozen": ({"optimizer": "adamw", "weight_decay": 0.1}, {"frozen": "enc"}),
}


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """They take most of the time here, and are looked at elsewhere."""
    monkeypatch.setattr("upconv.nn.record.progress", lambda *_: None)
    monkeypatch.setattr("upconv.nn.training.preview", lambda *_, **options: None)


def network(frozen=None, **options):
    made = model(**options)
    return made.freeze(frozen) if frozen else made


def ending(after):
    def on_step(step):
        if step.step == after:
            raise KeyboardInterrupt

    return on_step


@pytest.mark.parametrize("way", WAYS)
def test_ended_after_any_step_it_goes_on_bit_for_bit(way, tmp_path):
    options, kind = WAYS[way]
    options = {**QUICK, "evaluate_every": 2} | options
    whole = network(**kind)
    expected = nn.fit(whole, data(), tmp_path / "whole", **options)
    for after in range(1, 6):
        folder = tmp_path / str(after)
        ended = nn.fit(network(**kind), data(), folder, on_step=ending(after), **options)
        assert (ended.interrupted, ended.steps) == (True, after)
        with kernels.num_threads(1 + after % 3):
            on = network(**{**kind, "rng": 7})  # other weights: those of the checkpoint replace them
            result = nn.fit(on, data(), folder, resume=True, **options)
        assert same(on, whole) and rows(folder) == rows(tmp_path / "whole")
        assert result.best == expected.best and (result.counts == expected.counts).all()
        for name in ("model.safetensors", "best.safetensors"):
            assert same(nn.load(folder / name), nn.load(tmp_path / "whole" / name))
        files = [safetensors.numpy.load_file(each / "checkpoint.safetensors") for each in (folder, tmp_path / "whole")]
        assert files[0].keys() == files[1].keys()
        assert all(files[0][name].tobytes() == files[1][name].tobytes() for name in files[0])


def test_early_stopping_goes_on_where_it_was(tmp_path):
    options = {"steps": 200, "crop": 16, "batch": 1, "lr": 0.05, "evaluate_every": 1, "early_stopping": 5}
    whole = model(width=4)
    expected = nn.fit(whole, data(), tmp_path / "whole", **options)
    assert 5 < expected.steps < 200
    for after in (expected.steps - 3, expected.steps - 1):
        folder = tmp_path / str(after)
        nn.fit(model(width=4), data(), folder, on_step=ending(after), **options)
        on = model(width=4, rng=7)
        result = nn.fit(on, data(), folder, resume=True, **options)
        assert (result.steps, result.best) == (expected.steps, expected.best) and same(on, whole)
    again = nn.fit(model(width=4), data(), tmp_path / "whole", resume=True, **options)  # it had ended
    assert (again.steps, again.best) == (expected.steps, expected.best) and same(again.model, whole)


def test_without_a_checkpoint_it_begins_at_the_beginning(tmp_path):
    whole, fresh = model(), model()
    nn.fit(whole, data(), **QUICK)
    nn.fit(fresh, data(), tmp_path, resume=True, **QUICK)
    assert same(whole, fresh)


def test_a_new_training_in_the_same_folder_forgets_the_old_one(tmp_path):
    nn.fit(model(), data(), tmp_path, **QUICK)
    nn.fit(model(), data(), tmp_path, on_step=ending(1), **{**QUICK, "seed": 5})
    assert len(rows(tmp_path)) == 2
    nn.fit(model(), data(), tmp_path, resume=True, **{**QUICK, "seed": 5})
    assert len(rows(tmp_path)) == 7


def test_what_a_kill_leaves_lying_is_swept_up(tmp_path):
    litter = tmp_path / f".model.safetensors.{'0a' * 16}.tmp"
    for path in (litter, tmp_path / ".other.tmp"):
        path.write_text("half")
    nn.fit(model(), data(), tmp_path, **QUICK)
    assert not litter.exists() and (tmp_path / ".other.tmp").exists()


def test_rows_after_the_checkpoint_and_half_rows_come_again(tmp_path):
    nn.fit(model(), data(), tmp_path / "whole", **QUICK)
    nn.fit(model(), data(), tmp_path / "parts", on_step=ending(3), **QUICK)
    with (tmp_path / "parts" / "metrics.csv").open("a") as file:
        file.write("4,9.9,0.1,,0.1,1.0\n5,9.")
    nn.fit(model(), data(), tmp_path / "parts", resume=True, **QUICK)
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")


@pytest.mark.parametrize("failing", ["checkpoint.safetensors", "model.safetensors", "best.safetensors"])
def test_a_disk_that_is_full_ends_it_and_keeps_the_old_files(tmp_path, monkeypatch, failing):
    nn.fit(model(), data(), tmp_path, on_step=ending(3), **{**QUICK, "evaluate_every": 1})
    kept, replace = {path: path.read_bytes() for path in tmp_path.glob("*.safetensors")}, os.replace

    def full(source, target):
        if Path(target).name == failing:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    options = {**QUICK, "evaluate_every": 1, "lr": 0.3, "seed": 4}
    with pytest.raises(OSError, match="No space left"):
        nn.fit(model(), data(), tmp_path / "new", on_step=None, **options)
    monkeypatch.undo()
    assert all(path.read_bytes() == content for path, content in kept.items())
    assert not (tmp_path / "new" / failing).exists() and not list((tmp_path / "new").glob(".*.tmp"))


CHILD = """
import sys
from training_cases import data, model
from upconv import nn
nn.fit(model(batch_norm=True, dropout=0.2), data(), sys.argv[1], resume=True, steps=int(sys.argv[2]), crop=16, batch=1,
       evaluate_every=2, checkpoint_every=1, on_step=lambda step: print(step.step, flush=True))
"""


def start(folder, steps):
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    command = [sys.executable, "-c", CHILD, str(folder), str(steps)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": path})


def readable(folder):
    """Every file that is there can be read, whole."""
    for path in folder.iterdir():
        if path.name.endswith(".tmp"):
            continue  # a file in the making, which nobody reads
        if path.suffix == ".png":
            with Image.open(path) as image:
                image.load()
        elif path.name == "checkpoint.safetensors":
            assert "recent" in safetensors.numpy.load_file(path)
        elif path.suffix == ".safetensors":
            nn.load(path)
        elif path.name == "metrics.csv":
            assert all(len(row) == 6 for row in csv.reader(path.read_text().splitlines()))
        else:
            assert path.read_text()


def killed_and_resumed(folder, kills, steps):
    chance, last = random.Random(kills), 0
    for _ in range(kills):
        with start(folder, steps) as child:
            first = int(child.stdout.readline())
            assert first >= last, "more was lost than the step after the last checkpoint"
            time.sleep(chance.uniform(0, 0.15))
            child.send_signal(signal.SIGKILL)
            seen = [first, *map(int, child.stdout.read().split())]
        last = seen[-1]
        assert child.returncode == -signal.SIGKILL, "it had ended before it was killed: more steps are needed"
        readable(folder)
    with start(folder, steps) as child:
        assert int(child.stdout.readline()) >= last
        child.stdout.read()
    assert child.returncode == 0
    readable(folder)
    assert not list(folder.glob(".*.tmp"))


@pytest.mark.skipif(os.name == "nt", reason="signals differ")
@pytest.mark.parametrize(("kills", "steps"), [(3, 300), pytest.param(20, 1500, marks=pytest.mark.slow, id="20 kills")])
def test_killed_at_any_moment_it_goes_on_bit_for_bit(kills, steps, tmp_path):
    killed_and_resumed(tmp_path / "killed", kills, steps)
    with start(tmp_path / "whole", steps) as child:
        child.stdout.read()
    assert child.returncode == 0
    for name in ("model.safetensors", "best.safetensors"):
        assert same(nn.load(tmp_path / "killed" / name), nn.load(tmp_path / "whole" / name))
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")


def test_curves_are_drawn_now_and_then_and_take_little_time(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(Record, "draw", lambda self: drawn.append(self.trainer.done) or time.sleep(0.01))
    nn.fit(model(), data(), tmp_path, **{**QUICK, "evaluate_every": 1})
    assert drawn == [6]  # so short a training is drawn at its end
    clock = time.perf_counter
    monkeypatch.setattr("upconv.nn.record.perf_counter", lambda: 100 * clock())
    nn.fit(model(), data(), tmp_path, **{**QUICK, "evaluate_every": 1, "steps": 40})
    assert len(drawn) > 2


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import Event

    nn.fit(model(), data(), tmp_path, on_step=ending(3), tensorboard=True, **QUICK)
    nn.fit(model(), data(), tmp_path, resume=True, tensorboard=True, **QUICK)
    found = {}
    for path in sorted((tmp_path / "tensorboard").iterdir(), key=lambda path: path.stat().st_mtime_ns):
        content = path.read_bytes()
        while content:  # length, checksum, event, checksum
            length = int.from_bytes(content[:8], "little")
            event = Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = value.simple_value
    with (tmp_path / "metrics.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert set(found) == {"loss", "dice", "validation_dice", "learning_rate"}
    np.testing.assert_allclose(
        [found["loss"][int(row["step"])] for row in table], [float(r["loss"]) for r in table], 1e-6
    )


def test_a_missing_tensorboard_names_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"this needs tensorboardX, .* pip install 'upconv\[tensorboard\]'"):
        nn.fit(model(), data(), tmp_path / "run", tensorboard=True, **QUICK)
    assert not (tmp_path / "run").exists()
