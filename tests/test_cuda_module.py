"""What CuPy is given to compile: by it CuPy knows machine code again, and must not know what has changed."""

import logging
import shutil

import pytest

from upconv import kernels
from upconv.kernels.cuda import module
from upconv.kernels.cuda.module import Kernel, kernel

HEADERS = sorted(path.name for path in module.FOLDER.glob("*.cuh"))


@pytest.fixture
def tampered(tmp_path, monkeypatch):
    """Kernels of a copy of the sources, to be tampered with."""
    folder = tmp_path / "cuda"
    shutil.copytree(module.FOLDER, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    monkeypatch.setattr(module, "FOLDER", folder)
    module._sources.cache_clear()
    yield folder
    module._sources.cache_clear()


def given():
    """The options of a kernel in a new process."""
    module._sources.cache_clear()
    return Kernel("pointwise.cu", "apply", (("KIND", 3),)).options


@pytest.mark.parametrize("name", ["pointwise.cu", *HEADERS])
def test_a_change_of_any_source_is_another_kernel_to_cupy(tampered, name):
    """Of headers too, whose text CuPy does not see."""
    before = given()
    assert given() == before
    with (tampered / name).open("a") as file:
        file.write("//\n")
    assert given() != before


def test_a_renamed_source_is_another_kernel_to_cupy(tampered):
    before = given()
    (tampered / "vector.cuh").rename(tampered / "vectors.cuh")
    assert given() != before


def test_definitions_are_options_and_one_form_is_one_kernel():
    assert "-DKIND=3" in given() and "-std=c++17" in given() and f"-I{module.FOLDER}" in given()
    one = kernel("pointwise.cu", "apply", KIND=3)
    assert one is kernel("pointwise.cu", "apply", KIND=3) and one is not kernel("pointwise.cu", "apply", KIND=4)


def test_a_form_is_compiled_once(gpu, monkeypatch):
    x, compiled = gpu.ones((1, 5, 3, 2)), []
    kernels.unpool2d(x, 2)
    monkeypatch.setattr(module, "_took", compiled.append)
    kernels.unpool2d(2 * x, 2)
    assert not compiled


def test_long_compiling_is_told_once(monkeypatch, caplog):
    monkeypatch.setattr(module, "_spent", [0.0])
    with caplog.at_level(logging.WARNING, "upconv"):
        for seconds in (0.6 * module.LONG, 0.3 * module.LONG):
            module._took(seconds)
        assert not caplog.messages
        for _ in range(3):
            module._took(module.LONG)
    assert len(caplog.messages) == 1 and caplog.messages[0].startswith("upconv: compiling kernels for this GPU")
