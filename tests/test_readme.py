"""What README.md shows works as shown."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from upconv import cli, kernels
from upconv.kernels import op

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def commands(start):
    """The arguments of every shell line that begins with `start`."""
    lines = [shlex.split(line, comments=True) for block in blocks("sh") for line in block.splitlines()]
    return [line[len(start) :] for line in lines if line[: len(start)] == start]


@pytest.mark.parametrize("code", blocks("python"), ids=lambda code: next(filter(None, code.splitlines()[2:])))
def test_python(code, tmp_path, monkeypatch, request):
    for package in ("torch", "safetensors", "onnxruntime", "dask"):
        if f"import {package}" in code or (package == "safetensors" and ("nn.save" in code or "nn.load" in code)):
            pytest.importorskip(package)
    if '"cuda"' in code:
        request.getfixturevalue("without_kernels"), request.getfixturevalue("gpu")
    if "nn.digits" in code:
        pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    with kernels.num_threads(kernels.get_num_threads()):
        exec(compile(code, "README.md", "exec"), {"__name__": "readme"})


def test_upconv_commands():
    assert len(commands(["upconv"])) >= 3
    for arguments in commands(["upconv"]):
        cli.parser().parse_args(arguments)


def test_make_targets():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    mentioned = re.findall(r"`make ([a-z-]+)`", README)
    assert {target for arguments in commands(["make"]) for target in arguments} | set(mentioned) <= targets
    assert {"demo", "test"} <= set(mentioned) | {target for arguments in commands(["make"]) for target in arguments}


def test_benchmark_commands():
    from benchmarks import __main__

    for arguments in commands([".venv/bin/python", "-m", "benchmarks"]):
        __main__.parser().parse_args(arguments)


def test_every_operator_is_listed():
    table = README.partition("## What there is")[2].partition("## Figures")[0]
    names = {name for name in op.OPERATORS if not name.startswith("_")} | {"concatenate"}
    assert names <= set(re.findall(r"`(\w+)`", table))


def test_commands_of_the_page_on_gpus():
    from benchmarks import __main__

    page = (ROOT / "docs" / "gpu.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([./a-z-]+):", makefile, flags=re.MULTILINE))
    assert {"test-gpu", "bench-gpu"} <= set(re.findall(r"^make ([./a-z-]+)", page, flags=re.MULTILINE)) <= targets
    assert set(re.findall(r"`make ([./a-z-]+)`", page)) <= targets
    (measure,) = re.findall(r"-m benchmarks (.*?)`", page)
    __main__.parser().parse_args(shlex.split(measure))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = set(re.findall(r"pip install [^\[\n]*\[(\w+)\]", page + README))
    assert {"cuda12"} <= named <= {*project["optional-dependencies"]}


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", README):
        assert (ROOT / target).is_file(), target
