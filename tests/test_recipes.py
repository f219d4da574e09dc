"""docs/recipes/README.md shows every recipe in examples/, and no other; what their command lines refuse."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "recipes"
PAGE = (FOLDER / "README.md").read_text()
RECIPES = sorted(path.stem for path in (ROOT / "examples").glob("*.py") if "def main(" in path.read_text())


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_has_a_section_with_its_figure(name):
    sections = [part for part in PAGE.split("\n## ") if f"(../../examples/{name}.py)" in part]
    assert len(sections) == 1 and f"]({name}.png)" in sections[0]
    assert (FOLDER / f"{name}.png").stat().st_size < 150_000


def test_nothing_else_is_shown():
    assert set(re.findall(r"examples/(\w+)\.py", PAGE)) == set(RECIPES)
    assert set(re.findall(r"\]\((\w+)\.png\)", PAGE)) == {path.stem for path in FOLDER.glob("*.png")}


@pytest.mark.parametrize("wrong", ["--seed=-1", "--steps=0", "--steps=many"])
def test_wrong_numbers_are_told(wrong, monkeypatch, capsys):
    monkeypatch.syspath_prepend(ROOT / "examples")
    with pytest.raises(SystemExit):
        importlib.import_module("_recipe").options("name", "text", [wrong], steps=3)
    assert "or more is needed" in capsys.readouterr().err
