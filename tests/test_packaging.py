"""What the distribution holds: the folders kernels/ and nn/ are upconv.kernels and upconv.nn."""

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import upconv
from upconv import kernels, nn

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS = {"upconv": "upconv", "kernels": "upconv.kernels", "nn": "upconv.nn"}


def test_every_folder_is_a_package_and_listed():
    sources = {path.parent.relative_to(ROOT) for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")}
    assert all((ROOT / folder / "__init__.py").is_file() for folder in sources)
    names = {".".join((FOLDERS[folder.parts[0]], *folder.parts[1:])) for folder in sources}
    assert names == set(PROJECT["tool"]["setuptools"]["packages"])
    mapping = PROJECT["tool"]["setuptools"]["package-dir"]
    assert mapping == {package: folder for folder, package in FOLDERS.items()}


def test_nothing_else_is_imported_under_those_names():
    assert kernels.__name__ == "upconv.kernels" and nn.__name__ == "upconv.nn"
    installed = metadata.distribution("upconv").read_text("top_level.txt")
    assert installed is None or installed.split() == ["upconv"]


def test_version():
    assert upconv.__version__ == PROJECT["project"]["version"]
    assert f"## [{upconv.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_hard_dependencies_are_numba_and_numpy():
    assert {re.split(r"\W", line)[0] for line in PROJECT["project"]["dependencies"]} == {"numba", "numpy"}


def test_importing_needs_no_extra():
    """The kernels and the networks import, and a network trains, where no optional package is there."""
    optional = [
        "PIL",
        "tifffile",
        "rich",
        "safetensors",
        "matplotlib",
        "tomli_w",
        "tensorboardX",
        "torch",
        "scipy",
        "onnx",
        "dask",
        "zarr",
        "sklearn",
        "cupy",
    ]
    code = f"""
import sys
for name in {optional}:
    sys.modules[name] = None
import numpy as np
from upconv import cli, nn
from upconv.nn import curves, data, datasets, folder, images, inference, lazy, metrics
from upconv.nn import overlay, prediction, preview, progress, training
model = nn.UNet(width=2, depth=1)
nn.cross_entropy(model(np.ones((1, 1, 4, 4), np.float32)), np.ones((1, 4, 4), np.uint8)).backward()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_notices_are_shipped():
    files = PROJECT["project"]["license-files"]
    assert files == ["LICENSE", "nn/assets/NOTICE.md"] and all((ROOT / file).is_file() for file in files)
    assert (ROOT / "upconv" / "py.typed").is_file()


def test_a_wheel_holds_every_source_of_cuda(tmp_path):
    code = "from setuptools import setup; setup()"
    command = [sys.executable, "-c", code, "--quiet", "build", "--build-base", str(tmp_path / "base")]
    command += ["egg_info", "--egg-base", str(tmp_path), "build_py", "--build-lib", str(tmp_path / "lib")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    built = {path.name for path in (tmp_path / "lib" / "upconv" / "kernels" / "cuda").glob("*.cu*")}
    assert built == {path.name for path in (ROOT / "kernels" / "cuda").glob("*.cu*")} != set()
