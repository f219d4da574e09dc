import io
import os
import re
import signal
import subprocess
import sys
import tomllib
from dataclasses import fields

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from training_cases import same

import upconv
from upconv import kernels, nn
from upconv.cli import main
from upconv.nn.images import read_image
from upconv.nn.progress import Tiles
from upconv.settings import Network, Settings

QUICK = ["--steps", "3", "--width", "2", "--depth", "1", "--crop", "16", "--batch", "1"]


@pytest.fixture(autouse=True)
def there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with kernels.num_threads(kernels.get_num_threads()):
        yield tmp_path


def folder(root, names="ab", classes=2):
    for kind, values in (("images", 256), ("masks", classes)):
        (root / kind).mkdir(parents=True)
        for i, name in enumerate(names):
            array = np.random.default_rng(i).integers(0, values, (20, 24)).astype(np.uint8)
            Image.fromarray(array).save(root / kind / f"{name}.png")
    return str(root)


def refused(capsys, *arguments):
    """The lines on stderr of a command that must end with 2."""
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()


def test_train_then_predict(capsys, there):
    assert main(["train", *QUICK, "--quadrant", "1", "--threads", "2"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for text in (
        "CPU, 2 threads",
        "quadrant 1 for the test",
        "network   UNet(in_channels=1, classes=2, width=2, depth=1, padded=True, ",
        "3 steps of 1 crops, 16 x 16 pixels",
        "step 3/3 · loss ",
        "best threshold (intensity >= ",
        "0.8707",
        "next:    upconv predict runs/nuclei/model.safetensors runs/nuclei/test_image.png",
    ):
        assert text in out
    assert main(["predict", "runs/nuclei/model.safetensors", "runs/nuclei/test_image.png"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("runs/nuclei/test_image_mask.png: 256 x 256 pixels, ")
    assert set(np.unique(read_image("runs/nuclei/test_image_mask.png"))) <= {0, 255}
    assert main(["predict", "runs/nuclei/model.safetensors", "runs/nuclei/test_image.png",
                 "--output", "m.png", "--probability", "p.png", "--threads", "1"]) == 0  # fmt: skip
    assert read_image("p.png").shape == (256, 256, 1)
    assert np.array_equal(read_image("m.png"), read_image("runs/nuclei/test_image_mask.png"))


def test_train_on_a_folder(capsys, there):
    assert main(["train", folder(there / "cells"), *QUICK]) == 0
    assert "1 images to train, 1 for the test; 2 classes" in capsys.readouterr().out
    assert (there / "runs" / "cells" / "model.safetensors").is_file()
    assert main(["train", folder(there / "more", "abcd", 3), *QUICK, "--validation", "0.5", "--output", "o"]) == 0
    out = capsys.readouterr().out
    assert "2 images to train, 2 for the test; 3 classes" in out
    assert [word in out for word in ("class 0", "class 2", "class 3", "mean", "threshold")] == [
        True,
        True,
        False,
        True,
        False,
    ]
    assert (there / "o" / "preview.png").is_file()


def test_train_on_scenes(capsys, there):
    assert main(["train", "--data", "scenes", *QUICK, "--classes", "3", "--test", "0.1"]) == 0
    out = capsys.readouterr().out
    assert "40 drawn scenes: 28 images to train, 8 for validation, 4 for the test; 3 classes" in out
    assert tomllib.loads((there / "runs" / "scenes" / "config.toml").read_text())["data"] == "scenes"
    assert (there / "runs" / "scenes" / "preview.png").is_file()
    command = out.rsplit("next:", 1)[1].split()
    assert command[0] == "upconv" and main(command[1:]) == 0
    assert main(["train", "--resume", "runs/scenes"]) == 0
    for arguments, told in (
        (["--data", "scenes", "--quadrant", "1"], "quadrant is for training on the embedded nuclei"),
        (["--data", "scenes", "--classes", "9"], "scenes: classes is 9; it must be 2 to 7"),
        (["--data", "cells"], "data is 'cells'; it must be nuclei or scenes"),
        (["x", "--data", "scenes"], "data is scenes; leave it out to train on a folder"),
    ):
        capsys.readouterr()
        assert refused(capsys, "train", *arguments) == [f"upconv: {told}"]


@pytest.mark.parametrize(
    ("arguments", "kind", "settings"),
    [
        (["unet", "--no-padded", "--crop", "20", "--depth", "1"], "UNet", {"padded": False, "depth": 1}),
        (["fcn32s", "--dropout", "0.2"], "FCN32s", {"dropout": 0.2}),
        (["fcn16s"], "FCN16s", {"dropout": 0.5}),
        (["fcn8s"], "FCN8s", {"dropout": 0.5}),
        (["segnet"], "SegNet", {"depth": 3, "batch_norm": True}),
        (["deconvnet", "--depth", "2", "--tied"], "DeconvNet", {"depth": 2, "window": 3, "tied": True}),
    ],
)
def test_every_network_is_trained_resumed_scored_used_and_exported(arguments, kind, settings, capsys, there):
    folder(there / "cells", "abcd")
    quick = ["--steps", "2", "--width", "2", "--crop", "16", "--batch", "1"]
    assert main(["train", "cells", *quick, "--network", *arguments]) == 0
    assert f"network   {kind}(in_channels=1, classes=2, width=2, " in capsys.readouterr().out
    model = nn.load("runs/cells/model.safetensors")
    assert type(model).__name__ == kind and settings.items() <= model.config.items()
    written = tomllib.loads((there / "runs" / "cells" / "config.toml").read_text())
    assert {"network": arguments[0], "width": 2, **settings}.items() <= written.items()
    assert main(["train", "--config", "runs/cells/config.toml", "--output", "again", "--steps", "1"]) == 0
    assert type(nn.load("again/model.safetensors")) is type(model)
    (there / "runs" / "cells" / "model.safetensors").unlink()
    assert main(["train", "--resume", "runs/cells"]) == 0
    assert same(nn.load("runs/cells/model.safetensors"), model)
    assert main(["evaluate", "runs/cells/model.safetensors"]) == 0
    assert main(["predict", "runs/cells/model.safetensors", "cells/images/a.png", "--output", "mask.png"]) == 0
    assert read_image("mask.png").shape == (20, 24, 1)
    assert main(["export", "runs/cells/model.safetensors", "weights.safetensors"]) == 0


def test_what_does_not_fit_a_network_is_one_line(capsys, there):
    for arguments, told in (
        (["fcn8s", "--depth", "3"], "depth is not for fcn8s, which has width, dropout"),
        (["segnet", "--dropout", "0.5"], "dropout is not for segnet, which has width, depth, batch_norm"),
        (["unet", "--window", "7"], "window is not for unet, which has width, depth, padded, batch_norm, dropout"),
        (["segment"], "network is 'segment'; it must be unet, fcn32s, fcn16s, fcn8s, segnet or deconvnet"),
        (
            ["unet", "--no-padded"],
            "crop is 128; with depth 3 it must be a multiple of 2^3, less 4 where it is not padded",
        ),
        (["deconvnet", "--depth", "6"], "there is no deconvnet of width 16 and depth 6: DeconvNet: depth is 6; 1"),
    ):
        (line,) = refused(capsys, "train", "--network", *arguments)
        assert line.startswith(f"upconv: {told}")
    for arguments, told in (
        (["unet", "--no-padded", "--crop", "20", "--depth", "2"], "images are 20 x 20; with depth=2 and padded=False"),
        (["deconvnet", "--crop", "23"], "DeconvNet: images are 23 x 23; at least 24 x 24 pixels are needed"),
        (["segnet", "--crop", "7"], "SegNet: images are 7 x 7; at least 8 x 8 pixels are needed"),
    ):
        assert main(["train", "--network", *arguments, "--width", "2"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("upconv: crop is ") and told in line
    assert not (there / "runs").exists()


def test_evaluate(capsys, there):
    folder(there / "cells", "abcdef", 3)
    assert main(["train", "cells", *QUICK, "--validation", "0.5"]) == 0
    at_the_end = capsys.readouterr().out.partition("test: every class")[2].partition("done in")[0]
    assert main(["evaluate", "runs/cells/model.safetensors", "--output", "scores.csv", "--threads", "1"]) == 0
    out = capsys.readouterr().out
    assert "3 images to train, 3 for the test: scored on those for the test" in out
    assert out.partition("test: every class")[2] == at_the_end
    assert (there / "scores.csv").read_text() == (there / "runs" / "cells" / "evaluation.csv").read_text()
    assert main(["evaluate", "runs/cells/model.safetensors", "cells", "--output", "scores.csv"]) == 0
    out = capsys.readouterr().out
    assert "cells: 6 images, all of them" in out and "trained on most of these" in out
    counted = (there / "scores.csv").read_text().splitlines()[-1].split(",")[1]
    assert int(counted) == 6 * 20 * 24


def test_what_cannot_be_evaluated_gets_a_line(capsys, there):
    def told(*arguments):
        assert main(["evaluate", *arguments]) == 2
        return capsys.readouterr().err.splitlines()

    folder(there / "cells", "abcd", 3)
    assert main(["train", "cells", *QUICK]) == 0
    nn.save(nn.Autoencoder(size=8), "auto.safetensors")
    nn.save(nn.UNet(3, 3, 2, 1), "colour.safetensors")
    nn.save(nn.UNet(1, 2, 2, 1), "two.safetensors")
    capsys.readouterr()
    assert told("none.safetensors")[0].endswith("there is no file none.safetensors")
    assert told("auto.safetensors") == ["upconv: auto.safetensors labels no pixels: it holds Autoencoder"]
    assert "the image has 1 channel" in told("colour.safetensors", "cells")[0]
    assert told("two.safetensors")[0].startswith("upconv: there is no config.toml to tell which images were held out")
    assert told("two.safetensors", "none") == ["upconv: there is no folder none"]
    lines = told("two.safetensors", "cells")
    assert len(lines) == 4 and all("holds 2; labels are 0 to 1" in line for line in lines)
    assert told("two.safetensors", "cells", "--output", "no/x.csv")[0].startswith("upconv: there is no folder no")
    (there / "cells" / "images" / "a.png").rename(there / "cells" / "images" / "z.png")
    (there / "cells" / "masks" / "a.png").rename(there / "cells" / "masks" / "z.png")
    assert told("runs/cells/model.safetensors")[0].startswith("upconv: cells: these are not the images of the training")


def test_problems_are_one_line_each(capsys, there):
    data = there / "data"
    folder(data)
    (data / "masks" / "a.png").unlink()
    (data / "images" / "b.png").write_text("")
    lines = refused(capsys, "train", str(data), *QUICK)
    assert len(lines) == 2
    assert lines[0].startswith("upconv: ")
    assert lines[0].endswith("a.png (or .tif, .npy) is missing")
    assert "b.png cannot be read as an image" in lines[1]
    assert refused(capsys, "train", "none") == ["upconv: there is no folder none"]
    assert refused(capsys, "train", "--steps", "0", "--crop", "5") == ["upconv: steps is 0; it must be 1 or more"]
    assert refused(capsys, "train", "--classes", "3") == ["upconv: classes is for training on a folder or scenes"]
    assert refused(capsys, "train", "x", "--quadrant", "3") == [
        "upconv: quadrant is for training on the embedded nuclei"
    ]
    assert refused(capsys, "train", "--threads", "0") == ["upconv: threads is 0; it must be 1 to 1024"]
    (line,) = refused(capsys, "predict", "none.safetensors", "none.png")
    assert line == "upconv: none.safetensors cannot be used as a model: there is no file none.safetensors"


def test_a_folder_full_of_problems_is_cut_short(capsys, there):
    folder(there / "data", [f"{i:03}" for i in range(120)])
    for path in (there / "data" / "masks").iterdir():
        path.unlink()
    lines = refused(capsys, "train", "data")
    assert len(lines) == 51
    assert lines[-1] == "upconv: and 70 more"


def test_a_loss_that_is_no_number(capsys, there):
    assert main(["train", *QUICK, "--steps", "20", "--lr", "1e30"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "try a smaller learning rate, lr 1e+29" in line


def test_a_configuration_and_options_before_it(capsys, there):
    (there / "mine.toml").write_text(
        f'folder = "{folder(there / "cells", "abcdef")}"\nsteps = 2\nwidth = 3\ndepth = 1\ncrop = 16\nbatch = 1\n'
        'test = 0.2\nclass_weights = "balanced"\nbetas = [0.8, 0.9]\nevaluate_every = 1\n'
    )
    assert main(["train", "--config", "mine.toml", "--width", "2", "--no-nesterov", "--schedule", "step"]) == 0
    assert "4 images to train, 1 for validation, 1 for the test" in capsys.readouterr().out
    written = tomllib.loads((there / "runs" / "cells" / "config.toml").read_text())
    given = {"steps": 2, "width": 2, "class_weights": "balanced", "betas": [0.8, 0.9], "schedule": "step", "test": 0.2}
    assert given.items() <= written.items()
    again = ["train", "--config", "runs/cells/config.toml", "--output", "again"]
    assert main(again) == 0
    assert tomllib.loads((there / "again" / "config.toml").read_text()) == written
    assert same(*(nn.load(there / place / "model.safetensors") for place in ("runs/cells", "again")))
    assert "chose the weights" not in capsys.readouterr().out
    assert main(["train", *QUICK, "--early-stopping", "1"]) == 0
    assert "note      these very images chose the weights" in capsys.readouterr().out
    assert main([*again, "--class-weights", "1", "2.5", "--steps", "1"]) == 0
    assert tomllib.loads((there / "again" / "config.toml").read_text())["class_weights"] == [1.0, 2.5]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"steps = ", "mine.toml is not TOML: Invalid value (at end of document)"),
        (b"\xff\xfe", "mine.toml is not TOML: 'utf-8' codec can't decode byte 0xff"),
        (b"steps = 1\nsteps = 2", "mine.toml is not TOML: Cannot overwrite a value"),
        (b"a = " + b"[" * 100_000, "mine.toml is not TOML: "),
        (b"#" * (1 << 20) + b"#", "mine.toml has 1048577 bytes; a configuration has 1048576 at most"),
        (b"learning_rate = 1", "mine.toml: there is no setting 'learning_rate'"),
        (b"step = 1", "mine.toml: there is no setting 'step'; do you mean steps?"),
        (b"[training]\nsteps = 1", "mine.toml: there is no setting 'training'"),
        (b"steps = 1.5", "steps is 1.5; it must be 1 or more"),
        (b"steps = true", "steps is True; it must be 1 or more"),
        (b"steps = [1]", "steps is [1]; it must be 1 or more"),
        (b"lr = 'fast'", "lr is 'fast'; it must be a positive number"),
        (b"lr = nan", "lr is nan; it must be a positive number"),
        (b"lr = 1979-05-27", "lr is datetime.date(1979, 5, 27); it must be a positive number"),
        (b"nesterov = 1", "nesterov is 1; it must be true or false"),
        (b"betas = [0.9]", "betas is [0.9]; it must be two numbers from 0 to below 1"),
        (b"optimizer = 'Adam'", "optimizer is 'Adam'; it must be sgd, adagrad, rmsprop, adam or adamw"),
        (b"class_weights = ['x']", "class_weights is ['x']; it must be balanced or"),
        (b"optimizer = 'sgd'\nnesterov = true\nmomentum = 0", "momentum is 0.0; with nesterov it must be above 0"),
        (b"width = 0", "width is 0; it must be 1 or more"),
        (b"folder = 3", "folder is 3; it must be a path"),
        (b"quadrant = 4", "quadrant is 4; it must be 0, 1, 2 or 3"),
        (b'folder = "a\\u0000b"', "folder is 'a\\x00b'; it must be a path"),
        (b"gamma = 10", "gamma is 10; it must be above 0 and up to 1"),
        (b"depth = 1000000000", "crop is 128; with depth 1000000000 it must be a multiple of 2^1000000000"),
        (b"crop = 100", "crop is 100; with depth 3 it must be a multiple of 2^3"),
        (b"width = 1000000000000000000", "there is no unet of width 1000000000000000000 and depth 3: "),
    ],
)
def test_configurations_that_cannot_be_used_get_a_sentence(capsys, there, text, told):
    (there / "mine.toml").write_bytes(text)
    (line,) = refused(capsys, "train", "--config", "mine.toml")
    assert line.startswith(f"upconv: {told}")
    assert not (there / "runs").exists()


def test_configurations_that_cannot_be_read(capsys, there):
    assert refused(capsys, "train", "--config", "none.toml") == [
        "upconv: cannot read none.toml: No such file or directory"
    ]
    assert refused(capsys, "train", "--config", ".") == ["upconv: cannot read .: Is a directory"]


def test_resuming(capsys, there):
    whole = [*QUICK, "--steps", "4", "--seed", "3", "--dropout", "0.5"]
    assert main(["train", *whole, "--output", "whole"]) == 0
    assert main(["train", *whole, "--output", "parts", "--checkpoint-every", "2"]) == 0
    (there / "parts" / "model.safetensors").unlink()
    capsys.readouterr()
    assert main(["train", "--resume", "parts"]) == 0  # done already: what is missing is written again
    _, _, told = capsys.readouterr().out.partition("resume    ")
    assert told.startswith("parts, from its last checkpoint") and "step " not in told.partition("test:")[0]
    assert same(*(nn.load(there / place / "model.safetensors") for place in ("whole", "parts")))
    assert refused(capsys, "train", "--resume", "none") == [
        "upconv: there is no training to resume in none: config.toml is missing"
    ]
    assert refused(capsys, "train", "--resume", "parts", "--lr", "1", "--output", "x") == [
        "upconv: --resume goes on with the settings of the training; leave out lr, output"
    ]


@pytest.mark.parametrize("package", ["rich", "matplotlib", "safetensors", "PIL", "tomli_w"])
def test_a_missing_package_is_told_before_training(capsys, there, monkeypatch, package):
    for module in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["train", *QUICK]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"upconv: this needs {package}, which is not installed: pip install 'upconv[train]'"
    assert not (there / "runs").exists()


def test_what_the_parser_refuses_is_one_line(capsys):
    for arguments, message in (
        (
            [],
            "upconv: the following arguments are required: train | evaluate | predict | import | export (help: upconv",
        ),
        (["train", "--steps", "x"], "argument --steps: invalid int value: 'x' (help: upconv train --help)"),
        (["predict", "model"], "upconv: the following arguments are required: image (help: upconv predict --help)"),
    ):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 2
        assert message in capsys.readouterr().err


def test_help_and_version(capsys):
    for arguments, texts in (
        (["--version"], [f"upconv {upconv.__version__}"]),
        (["--help"], ["train", "predict"]),
        (["train", "--help"], ["examples:", "upconv train --quadrant 0", "255 is void"]),
        (["evaluate", "--help"], ["examples:", "held out"]),
        (["predict", "--help"], ["examples:", "--probability"]),
    ):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 0
        out = capsys.readouterr().out
        assert all(text in out for text in texts)
        assert max(map(len, out.splitlines())) <= 120


def test_help_tells_the_defaults(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    options = " ".join(capsys.readouterr().out.partition("options:")[2].split())
    for each in (*fields(Settings), *fields(Network)):
        name, value = each.name, each.default
        option = f"--{name.replace('_', '-')}"
        shown = " ".join(map(str, value)) if isinstance(value, tuple) else value
        default = "" if value is None else rf"[^()]*\({shown}\)"
        assert re.search(rf"{option}( [NX]|, --no| NAME){default}", options), name


def test_help_is_quick():
    """Asking for help imports neither NumPy nor the kernels."""
    code = (
        "import sys; from upconv.cli import parser; parser().format_help();"
        " sys.exit(any(m in sys.modules for m in ('numpy', 'numba', 'rich')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_predicting_in_tiles_with_an_overlay(capsys, there):
    nn.save(nn.UNet(1, 2, 2, 1, rng=0), there / "model.safetensors")
    np.save(there / "image.npy", np.random.default_rng(0).random((70, 90)))
    command = ["predict", "model.safetensors", "image.npy", "--probability", "all.npy"]
    assert main([*command, "--overlay", "overlay.png", "--tile", "32"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("image_mask.png: 70 x 90 pixels") and not err
    assert Image.open("overlay.png").size == (90, 70)
    expected = nn.probabilities(nn.load("model.safetensors"), np.load("image.npy"), tile=32)
    np.testing.assert_array_equal(np.load("all.npy"), expected)
    assert refused(capsys, *command, "--tile", "0") == ["upconv: tile is 0; it must be 1 or more"]


def test_tiles_are_shown_where_there_are_several():
    for terminal, shown in ((True, "100%"), (False, "tile 2/2")):
        text = io.StringIO()
        with Tiles(Console(file=text, force_terminal=terminal, width=60)) as tiles:
            tiles.show(1, 1)
            assert not text.getvalue()
            tiles.show(1, 2)
            tiles.last -= 60
            tiles.show(2, 2)
        assert shown in text.getvalue()


@pytest.mark.skipif(os.name == "nt", reason="signals differ")
def test_ctrl_c_saves_and_exits_with_130(there):
    command = [sys.executable, "-m", "upconv", "train", *QUICK, "--steps", "1000000", "--output", "out"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.startswith("step 1/"):
                break
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "interrupted after" in err.splitlines()[-1]
    assert err.rstrip().endswith("the model so far is out/model.safetensors; to go on: upconv train --resume out")
    assert (there / "out" / "model.safetensors").is_file()
    steps = (there / "out" / "metrics.csv").read_text().splitlines()[1:]
    assert [int(row.split(",")[0]) for row in steps] == list(range(1, len(steps) + 1))
