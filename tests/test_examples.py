"""The recipes in examples/: each runs, leaves its figure and says what it measured."""

import importlib
import math
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RECIPES = sorted(path.stem for path in (ROOT / "examples").glob("*.py") if "def main(" in path.read_text())


@pytest.fixture
def recipe(request, monkeypatch):
    """The module of that name, imported as `python examples/NAME.py` would find it."""
    monkeypatch.syspath_prepend(ROOT / "examples")
    return importlib.import_module(request.param)


@pytest.mark.parametrize("recipe", RECIPES, indirect=True)
def test_recipe(recipe, tmp_path, capsys):
    results = recipe.main(["--quick", "--output", str(tmp_path / "new"), "--seed", "1"])
    assert results and all(isinstance(value, float) and math.isfinite(value) for value in results.values())
    assert (tmp_path / "new" / f"{recipe.__name__}.png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert any(f"{value:.3f}" in printed for value in results.values())


def test_there_are_recipes():
    assert len(RECIPES) >= 4
