"""The API reference and CONTRIBUTING.md: examples run, operators are listed, excerpts are those of the sources."""

import doctest
import html
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

from upconv import kernels, nn
from upconv.kernels.op import OPERATORS

ROOT = Path(__file__).parents[1]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
MODULES = [nn.__name__, *(module.name for module in pkgutil.walk_packages(nn.__path__, f"{nn.__name__}."))]


# Examples; those of the kernels run in test_frame.py


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_the_networks(name):
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert not failed


def test_the_networks_have_examples():
    finder = doctest.DocTestFinder()
    assert sum(len(test.examples) for name in MODULES for test in finder.find(importlib.import_module(name))) > 15


@pytest.mark.parametrize("name", [name for name, op in OPERATORS.items() if op.gradients])
def test_every_operator_shows_an_example_of_itself(name):
    text = inspect.getdoc(getattr(kernels, name))
    if re.search(r" as in `\w+`", text):
        return  # and that one has it
    assert any(f"{name}(" in example.source for example in doctest.DocTestParser().get_examples(text))


# The reference


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The text of each page, as a browser shows it, by module."""
    pytest.importorskip("pdoc")
    folder = tmp_path_factory.mktemp("reference")
    command = [sys.executable, "-W", "error", ROOT / "docs" / "reference.py", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (folder / "index.html").is_file() and (folder / "search.js").is_file()
    found = {}
    for page in folder.rglob("*.html"):
        source = page.read_text()
        name = ".".join(page.relative_to(folder).with_suffix("").parts)
        found[name] = source, " ".join(html.unescape(re.sub(r"<[^>]*>", "", source)).split())
    return found


@pytest.mark.parametrize("package", [kernels, nn])
def test_the_reference_lists_every_public_name(pages, package):
    source, text = pages[package.__name__]
    for name in set(package.__all__) - {"functional", "init", "metrics", "schedules"}:  # modules
        assert f'<section id="{name}">' in source, name
        first = inspect.getdoc(getattr(package, name)).splitlines()[0]
        assert " ".join(first.replace("`", "").split()) in text, name


def test_equations_are_set_as_code(pages):
    for name in OPERATORS:
        equation = inspect.getdoc(getattr(kernels, name)).splitlines()[0].replace("`", "")
        assert f"<p><code>{html.escape(equation, quote=False)}</code></p>" in pages[kernels.__name__][0], name


def test_the_reference_shows_no_inner_thing(pages):
    assert set(pages) == {
        "index",
        "upconv.kernels",
        "upconv.nn",
        "upconv.nn.init",
        "upconv.nn.metrics",
        "upconv.nn.schedules",
    }
    for _, text in pages.values():
        assert "case.Case" not in text and "@operator" not in text and "typing.Any, ..." not in text


# CONTRIBUTING.md

EXCERPTS = re.findall(r"^`([\w/]+\.py)`:\n\n```python\n(.*?)^```", CONTRIBUTING, flags=re.MULTILINE | re.DOTALL)


def test_excerpts_are_verbatim():
    assert len(EXCERPTS) >= 3
    assert CONTRIBUTING.count("```python") == len(EXCERPTS)
    for path, excerpt in EXCERPTS:
        assert excerpt in (ROOT / path).read_text(), path


def test_files_and_targets_that_it_names_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)(?:`| +#)", CONTRIBUTING, flags=re.MULTILINE)) <= targets
    for path in re.findall(r"`((?:kernels|nn|tests|benchmarks|docs)/[\w/]+\.\w+)`", CONTRIBUTING):
        assert (ROOT / path).is_file(), path
    listing = CONTRIBUTING.partition("## Where things are")[2].partition("```\n")[2].partition("```")[0]
    folder = ROOT
    for line in listing.splitlines():
        if line[0] != " ":
            folder = ROOT / line.split("/")[0]
        for name in re.findall(r"\w+\.py", line):
            assert list(folder.rglob(name)), (folder, name)
