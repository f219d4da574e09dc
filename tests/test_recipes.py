"""The recipes in examples/: each runs, leaves its figure, says what it measured, and keeps what its page promises."""

import importlib
import math
import re
from pathlib import Path

import dataset_cases
import numpy as np
import pytest

from upconv.errors import InputError
from upconv.nn import datasets

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "recipes"
PAGE = (FOLDER / "README.md").read_text()
RECIPES = sorted(path.stem for path in (ROOT / "examples").glob("[a-z]*.py"))


@pytest.fixture
def imported(monkeypatch):
    """Imports a recipe as `python examples/NAME.py` would find it."""
    monkeypatch.syspath_prepend(ROOT / "examples")
    return importlib.import_module


@pytest.mark.parametrize("name", RECIPES)
def test_recipe(name, imported, tmp_path, capsys):
    results = imported(name).main(["--quick", "--output", str(tmp_path / "new"), "--seed", "1"])
    assert results and all(isinstance(value, float) and math.isfinite(value) for value in results.values())
    assert (tmp_path / "new" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert any(f"{value:.3f}" in printed for value in results.values())


def test_there_are_recipes():
    assert len(RECIPES) == 9


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_has_a_section_with_its_figure(name):
    sections = [part for part in PAGE.split("\n## ") if f"(../../examples/{name}.py)" in part]
    assert len(sections) == 1 and f"]({name}.png)" in sections[0]
    assert (FOLDER / f"{name}.png").stat().st_size < 150_000


def test_nothing_else_is_shown():
    assert set(re.findall(r"examples/(\w+)\.py", PAGE)) == set(RECIPES)
    assert set(re.findall(r"\]\((\w+)\.png\)", PAGE)) == {path.stem for path in FOLDER.glob("*.png")}


@pytest.mark.parametrize("wrong", ["--seed=-1", "--steps=0", "--steps=many"])
def test_wrong_numbers_are_told(wrong, imported, capsys):
    with pytest.raises(SystemExit):
        imported("_recipe").options("name", "text", [wrong], steps=3)
    assert "or more is needed" in capsys.readouterr().err


def test_fashion_mnist_from_files(imported, tmp_path, monkeypatch, capsys):
    """Three classes that are bright in one third each: read from IDX files, learnt in a few steps."""
    recipe, rng = imported("fashion_mnist"), np.random.default_rng(0)
    labels = (np.arange(96) % 3).astype(np.uint8)
    images = rng.integers(0, 60, (96, 28, 28)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:, 9 * label : 9 * label + 9] += 180
    dataset_cases.write(tmp_path, images, labels, 30, compressed=True)
    monkeypatch.setenv(datasets.FOLDER, str(tmp_path))
    results = recipe.main(["--steps", "40", "--output", str(tmp_path / "new")])
    assert results == {"LeNet": 1, "nearest mean image": 1, "most frequent class": pytest.approx(1 / 3)}
    printed = capsys.readouterr().out
    assert "digits" not in printed and "| trousers | 1.000 |" in printed
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(InputError, match="has no file t10k-labels-idx1-ubyte"):  # no digits in its place
        recipe.main(["--quick"])


def test_without_files_the_recipe_says_that_it_takes_digits(imported, monkeypatch, capsys):
    monkeypatch.delenv(datasets.FOLDER, raising=False)
    data, names = imported("fashion_mnist").pictures()
    assert data.train_images.shape == (1438, 1, 28, 28) and names[3] == "3"
    assert "names no folder of Fashion-MNIST: these are scikit-learn's digits instead" in capsys.readouterr().out


def test_filters_are_convolutions_and_the_median_is_none(imported, tmp_path):
    recipe = imported("classical_filters")
    expected = recipe.lecture_example()[[0, 3]]
    np.testing.assert_allclose(expected, [[0, 10, 20, 30, 30, 30, 20, 10], [0, 30, 50, 80, 80, 90, 60, 30]])
    results = recipe.main(["--output", str(tmp_path)])
    assert results["difference from SciPy"] < 1e-6
    sums = {name: value for name, value in results.items() if "of a sum" in name}
    assert sums.pop("median of a sum, less the sum of both") > 0.05
    assert len(sums) == 6 and max(sums.values()) < 3e-6
    convolutions = ("mean, PSNR", "Gaussian, PSNR")
    assert results["median, PSNR"] > results["best 5x5 convolution, PSNR"] > max(map(results.get, convolutions))


def test_the_pattern_of_a_checkerboard(imported):
    recipe = imported("checkerboard")
    board = np.tile(np.float32([[1, -1], [-1, 1]]), (1, 1, 32, 32))
    assert recipe.pattern(board) == 1
    assert recipe.pattern(np.random.default_rng(0).standard_normal((1, 1, 64, 64))) < 0.05
    assert recipe.untrained("resized, then 3x3", 4).std() < 1e-6  # each place is treated alike
    uneven = recipe.untrained("transposed, 3x3", 40)
    assert uneven.max() / uneven.min() > 2
