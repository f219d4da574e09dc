"""What the sources use of CuPy, CuPy has, and so has its double in tests; without a GPU it changes nothing."""

import ast
import inspect
import subprocess
import sys
from functools import reduce
from pathlib import Path
from platform import machine

import numpy as np
import pytest
from emulation import cupy_double, device_array, device_cuda, device_kernels

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for folder in ("kernels", "nn", "upconv") for path in (ROOT / folder).rglob("*.py"))
BASE = ROOT / "kernels" / "base"

pytestmark = pytest.mark.skipif(sys.platform != "linux" or machine() != "x86_64", reason="the test extra has no CuPy")


@pytest.fixture(scope="module")
def cupy():
    import cupy

    return cupy


RESULTS = {("cuda", "get_current_stream"): ("cuda", "Stream")}  # of what class a function's result is


class Uses(ast.NodeVisitor):
    """What a source takes from CuPy's module: dotted names with their lines, and the keywords of calls."""

    def __init__(self, cupy, path):
        """path: the source."""
        self.names, self.keywords, self._cupy = [], [], cupy
        self._aliases = {"xp": (), "cupy": ()}
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
                found = self._dotted(node.value)
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                if found is not None:
                    self._aliases |= {ast.unparse(target): found for target in targets}
        self.visit(tree)

    def _dotted(self, node):
        """("lib", "stride_tricks") of `xp.lib.stride_tricks`; None of what is not CuPy's."""
        text = ast.unparse(node)
        if text in self._aliases:
            return self._aliases[text]
        if isinstance(node, ast.Attribute):
            inside = self._dotted(node.value)
            return None if inside is None else (*inside, node.attr)
        if not isinstance(node, ast.Call):
            return None
        if ast.unparse(node.func) in ("cupy", "namespace") or text.startswith(
            ("require('cupy'", "sys.modules.get('cupy'")
        ):
            return ()
        called = self._dotted(node.func)
        if called is None:
            return None
        return called if isinstance(resolved(self._cupy, called), type) else RESULTS.get(called)

    def visit_Attribute(self, node):
        found = self._dotted(node)
        if found:
            self.names.append((found, node.lineno))
        self.generic_visit(node)

    def visit_Call(self, node):
        found = self._dotted(node.func)
        if found:
            self.keywords.append((found, [each.arg for each in node.keywords if each.arg], node.lineno))
        self.generic_visit(node)


def resolved(module, names):
    """The object of that dotted name; None where there is none."""
    return reduce(lambda inside, name: getattr(inside, name, None), names, module)


def parameters(function):
    """The names of its parameters; None where they are not known."""
    try:
        found = inspect.signature(function).parameters
    except (ValueError, TypeError):
        return None
    return None if any(each.kind is each.VAR_KEYWORD for each in found.values()) else {*found}


@pytest.fixture(scope="module")
def uses(cupy):
    found = {path: Uses(cupy, path) for path in SOURCES}
    assert sum(len(each.names) for each in found.values()) > 100
    return found


def test_cupy_and_its_double_have_what_the_sources_use(cupy, uses):
    double, missing = cupy_double.make(), []
    for path, found in uses.items():
        for names, line in found.names:
            modules = {"CuPy": cupy, "its double": double} | ({"NumPy": np} if path.parent == BASE else {})
            for title, module in modules.items():
                if resolved(module, names) is None:
                    missing.append(f"{path.relative_to(ROOT)}:{line}: {title} has no {'.'.join(names)}")
    assert not missing, "\n".join(missing)


def test_cupy_and_its_double_take_the_keywords_that_the_sources_give(cupy, uses):
    double, wrong = cupy_double.make(), []
    for path, found in uses.items():
        for names, keywords, line in found.keywords:
            for title, module in {"CuPy": cupy, "its double": double}.items():
                known = parameters(resolved(module, names))
                if known is not None and not {*keywords} <= known:
                    wrong.append(f"{path.relative_to(ROOT)}:{line}: {title}'s {'.'.join(names)} takes {sorted(known)}")
    assert not wrong, "\n".join(wrong)


def public(thing):
    return {name for name in vars(thing) if not name.startswith("_")}


def test_the_double_has_nothing_that_cupy_lacks(cupy):
    double = cupy_double.make()
    assert public(double) <= {*dir(cupy)}
    assert public(double.cuda) <= {*dir(cupy.cuda)}
    assert {f"cudaDevAttr{name}" for name in double.cuda.Device().attributes} <= {*dir(cupy.cuda.runtime)}
    assert public(double.cuda.runtime) <= {*dir(cupy.cuda.runtime)}
    pairs = [(device_array.ndarray, cupy.ndarray), (double.ufunc, cupy.ufunc)]
    pairs += [(getattr(device_kernels, name), getattr(cupy, name)) for name in ("RawModule", "RawKernel")]
    named = ("Stream", "Event", "Graph", "Device", "MemoryPool", "MemoryPointer")
    pairs += [(device_cuda.functions[name], getattr(cupy.cuda, name)) for name in named]
    for ours, theirs in pairs:
        assert public(ours) <= {*dir(theirs)}, ours
        for name in public(ours):
            ask, have = parameters(getattr(ours, name)), parameters(getattr(theirs, name))
            assert ask is None or have is None or ask <= have, (ours, name)


def test_a_name_that_cupy_lacks_is_found(cupy, tmp_path):
    source = tmp_path / "source.py"
    source.write_text(
        '"""."""\nxp.lib.stride_tricks.sliding(x)\ncuda = require("cupy", extra="x").cuda\ncuda.Strom().use()\n'
    )
    found = Uses(cupy, source)
    lacking = [".".join(names) for names, _ in found.names if resolved(cupy, names) is None]
    assert lacking == ["lib.stride_tricks.sliding", "cuda.Strom"]


WITHOUT_GPU = """
import sys
from upconv import cli, kernels, nn
assert "cupy" not in sys.modules
import cupy, numpy as np
assert not cupy.cuda.is_available()
x = np.ones((1, 3, 8, 8), np.float32)
y = kernels.conv2d(x, np.ones((4, 3, 3, 3), np.float32))
y, indices = kernels.max_pool2d(y, kernel_size=2, return_indices=True)
assert y.shape == (1, 4, 3, 3) and (y == 27).all()
kernels.max_unpool2d(y, indices, kernel_size=2)
model = nn.UNet(in_channels=3, width=2, depth=1)
nn.cross_entropy(model(x), np.ones((1, 8, 8), np.uint8)).backward()
"""


def test_without_a_gpu_cupy_changes_nothing():
    done = subprocess.run([sys.executable, "-c", WITHOUT_GPU], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
