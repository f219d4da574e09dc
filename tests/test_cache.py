"""Machine code kept on disk: never stale, never needed, never in the way. Each run is a process of its own."""

import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

import upconv
from upconv import kernels

RELU = "kernels.relu(np.array([[[[-1.0, 3.0]]]])).ravel().tolist()"
CONV = "kernels.conv2d(np.full((1, 1, 1, 2), 3.0), np.full((1, 1, 1, 1), 2.0), algorithm='direct').ravel().tolist()"
MESSAGE = "upconv: compiling kernels for this CPU"


class Installation:
    """A copy of the sources and a cache, both to be tampered with."""

    def __init__(self, folder):
        self.folder, self.cache = folder, folder / "cache"
        sources = folder / "upconv"
        ignored = shutil.ignore_patterns("__pycache__", "kernels", "nn")
        shutil.copytree(Path(upconv.__file__).parent, sources, ignore=ignored)
        shutil.copytree(Path(kernels.__file__).parent, sources / "kernels", ignore=ignored)
        self.kernels = sources / "kernels" / "cpu"

    def run(self, *expressions):
        """What the expressions give in a new process, and what is written to stderr."""
        lines = ["import numpy as np", "from upconv import kernels", "print(kernels.__file__)"]
        code = "\n".join(lines + [f"print({expression})" for expression in expressions])
        given = {
            "PYTHONPATH": str(self.folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            "UPCONV_CACHE_DIR": str(self.cache),
            "UPCONV_NUM_THREADS": "1",
        }
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | given,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        path, *results = done.stdout.splitlines()
        assert Path(path).is_relative_to(self.folder)
        return results, done.stderr

    def files(self):
        """The files of the cache and when they were written."""
        return {path.name: path.stat().st_mtime_ns for path in self.cache.glob("*")}

    def edit(self, name, *replacements, append=""):
        """Change a kernel's source."""
        path = self.kernels / name
        text = path.read_text()
        for before, after in replacements:
            assert before in text
            text = text.replace(before, after)
        path.write_text(text + append)


@pytest.fixture
def installation(tmp_path):
    return Installation(tmp_path)


def test_kernels_that_two_processes_compiled_go_together_in_a_third(installation):
    """Their forms for two dtypes have the same names, and without care the same numbers."""

    def shrink(dtype):
        return f"kernels.interpolate_input((1, 1, 5, 16), np.ones((1, 1, 10, 32), '{dtype}'), scale_factor=2).sum()"

    for dtypes in (["f4"], ["f8"], ["f4", "f8"]):
        results, text = installation.run(*map(shrink, dtypes))
        assert results == ["320.0"] * len(dtypes)
        assert (MESSAGE in text) == (len(dtypes) == 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_the_children_of_a_process_number_their_functions_apart():
    code = """
import os
from numba.core.bytecode import FunctionIdentity
import upconv.kernels
for _ in range(2):
    if not os.fork():
        print(FunctionIdentity.from_function(lambda: 0).unique_id, flush=True)
        os._exit(0)
    os.wait()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert len({*done.stdout.split()}) == 2


def test_an_edit_of_any_source_is_seen(installation):
    results, _ = installation.run(RELU, CONV)
    assert results == ["[0.0, 3.0]", "[6.0, 6.0]"]
    # the operator itself
    installation.edit("pointwise.py", ("return words.rectify(x)", "return x"))
    results, _ = installation.run(RELU)
    assert results == ["[-1.0, 3.0]"]
    # what the kernels in other files are made of
    doubled = """
_store = Words.store
Words.store = lambda self, value, *place: _store(self, self.builder.fadd(value, value), *place)
"""
    for name, expected in (("vector.py", "[12.0, 12.0]"), ("tile.py", "[24.0, 24.0]")):
        installation.edit(name, append=doubled)
        results, _ = installation.run(CONV)
        assert results == [expected]


def test_the_second_run_compiles_nothing(installation):
    _, messages = installation.run()
    assert messages == ""
    assert not installation.cache.exists()  # an import compiles nothing
    first, messages = installation.run(RELU, RELU.replace("3.0", "4.0"), CONV)
    assert messages.count(MESSAGE) == len(messages.splitlines()) == 1
    assert str(installation.cache) in messages
    files = installation.files()
    assert files
    assert all(name.endswith(".nbc") for name in files)  # nothing half-written
    assert installation.run(RELU, RELU.replace("3.0", "4.0"), CONV) == (first, "")
    assert installation.files() == files


def test_a_broken_cache_is_written_again(installation):
    expected, _ = installation.run(RELU)
    [path] = installation.cache.iterdir()
    whole = path.read_bytes()
    for broken in (
        b"",
        whole[:20],
        whole[:-1],
        whole[:100] + b"?" + whole[101:],
        b"garbage" * 1000,
        sha256(b"no code").digest() + b"no code",
    ):
        path.write_bytes(broken)
        results, messages = installation.run(RELU)
        assert results == expected
        assert MESSAGE in messages
        assert path.read_bytes() != broken
    assert installation.run(RELU) == (expected, "")


@pytest.mark.parametrize("place", ["below a file", "read-only"])
def test_a_cache_that_cannot_be_written_is_no_error(installation, place):
    if place == "below a file":
        (installation.folder / "file").touch()
        installation.cache = installation.folder / "file" / "cache"
    else:
        installation.cache.mkdir(mode=0o555)
        if os.access(installation.cache, os.W_OK):
            pytest.skip("this user may write anywhere")
    for _ in range(2):
        results, messages = installation.run(RELU)
        assert results == ["[0.0, 3.0]"]
        assert len(messages.splitlines()) == 1
