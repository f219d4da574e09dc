"""The benchmarks of the GPU run, on the double of CuPy. What they measure is not tested."""

import json
import re
import sys
from contextlib import nullcontext
from time import sleep
from types import SimpleNamespace

import pytest

from benchmarks import cases, peers, shapes
from benchmarks import gpu as command
from benchmarks.__main__ import main
from benchmarks.cases import first
from benchmarks.device import Gpu
from benchmarks.gpu_results import Row
from upconv.kernels import get_precision

pytestmark = pytest.mark.usefixtures("without_kernels")  # which take seconds each

FEW = (
    shapes.Group("networks", "", ()),
    shapes.Group("unet", "", (shapes.LAYERS[0], shapes.UPSAMPLING[0])),
    shapes.Group("maps", "", (cases.Maps(shapes.LARGE, ("add", "relu", "tanh", "unpool2d"), {"kernel_size": 2}),)),
)


@pytest.fixture
def measured(gpu, tmp_path, monkeypatch, capsys):
    """A function that measures a section of FEW and gives the status and what was found."""
    monkeypatch.setattr(command, "GROUPS", FEW)
    monkeypatch.setattr(Gpu, "products", lambda self, precision: nullcontext())  # by a part of CuPy with no double

    def run(section, alone=True):
        status = main(["gpu", "--smoke", *["--alone"] * alone, "--only", section, "--output", str(tmp_path)])
        assert (tmp_path / "table.md").read_text() in capsys.readouterr().out
        return status, json.loads((tmp_path / "results.json").read_text())

    return run


@pytest.mark.parametrize("section", ("networks", "unet", "maps"))
def test_a_section_runs(measured, section):
    status, found = measured(section)
    assert [row["wrong"] for row in found["rows"] if row["wrong"]] == []
    assert status == 0 and found["failures"] == []
    assert {*found["ceilings"]} == {"copy", "fp32", "tf32"}
    assert len({(row["operator"], row["case"], row["precision"]) for row in found["rows"]}) == len(found["rows"]) > 1
    assert all(row["ceiling"] > 0 and "upconv" in row["seconds"] for row in found["rows"])


def test_a_case_that_fails_is_a_line_and_the_rest_goes_on(measured, monkeypatch):
    def check(self, result, whose="upconv", tolerance=None):
        assert self.operator != "unpool2d", "wrong on purpose"
        return 0.0

    monkeypatch.setattr(cases.Call, "check", check)
    status, found = measured("maps")
    failed = [row for row in found["rows"] if not row["seconds"]]
    assert status == 1 and {row["operator"] for row in failed} == {"unpool2d"}
    assert len(found["rows"]) > len(failed) and all("wrong on purpose" in row["wrong"][0] for row in failed)
    assert all(cells[4] == "failed" for row in failed for cells in Row(**row).lines())


def test_a_fault_ends_the_run_and_is_told(gpu, measured, monkeypatch):
    def synchronize(self):
        raise gpu.cuda.runtime.CUDARuntimeError("cudaErrorIllegalAddress")

    def fill(call, gpu, row, *rest):
        if row.operator == "relu":
            monkeypatch.setattr(type(gpu.cupy.cuda.Device()), "synchronize", synchronize)
            gpu.cupy.cuda.Device().synchronize()
        row.seconds = {"upconv": 1.0}

    monkeypatch.setattr(command, "measure", fill)
    status, found = measured("maps")
    assert status == 1 and found["rows"][-1]["operator"] == "relu" and "IllegalAddress" in found["rows"][-1]["wrong"][0]
    assert len(found["rows"]) == 2 and "answers no more after relu; 2 cases are left" in found["failures"][0]


class Peer:
    """What stands for PyTorch: upconv's own results, wrong ones of `relu`, none of `tanh`."""

    TITLE, VERSION = "a peer", "1"
    torch = SimpleNamespace(
        cuda=SimpleNamespace(is_available=lambda: True),
        backends=SimpleNamespace(
            cuda=SimpleNamespace(matmul=SimpleNamespace(allow_tf32="as before")),
            cudnn=SimpleNamespace(allow_tf32="same"),
        ),
    )

    def __init__(self, gpu):
        self.gpu, self.precisions = gpu, set()

    def candidates(self, call, device, entrants):
        if call.operator == "tanh":
            raise RuntimeError("no tanh")
        y = self.gpu.asarray(first(call())) * (2 if call.operator == "relu" else 1)
        self.precisions.add((call.operator, self.torch.backends.cudnn.allow_tf32, get_precision()))
        return {entrant: lambda: y for entrant in entrants}


def test_a_peer_is_timed_beside_unless_it_is_wrong(gpu, measured, monkeypatch):
    peer = Peer(gpu)
    monkeypatch.setattr(peers, "installed", lambda names: ([peer], []))
    status, found = measured("maps", alone=False)
    assert status == 0
    entrants = {row["operator"]: (set(row["seconds"]), row["wrong"]) for row in found["rows"]}
    assert entrants["add"] == ({"upconv", "PyTorch NHWC"}, [])
    for name, why in (("relu", "relu of 2 x 5, .* is wrong by"), ("tanh", "RuntimeError: no tanh")):
        timed, (wrong,) = entrants[name]
        assert timed == {"upconv"} and re.search(why, wrong)
    measured("unet", alone=False)
    assert {(tf32, ours) for name, tf32, ours in peer.precisions if name == "conv2d"} == {
        (True, "tf32"),
        (False, "fp32"),
    }
    assert (Peer.torch.backends.cuda.matmul.allow_tf32, Peer.torch.backends.cudnn.allow_tf32) == ("as before", "same")


def test_a_pytorch_that_sees_no_gpu_is_not_asked(gpu, measured, monkeypatch):
    peer = Peer(gpu)
    monkeypatch.setattr(peer.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(peers, "installed", lambda names: ([peer], []))
    status, found = measured("maps", alone=False)
    assert status == 0 and found["environment"]["not installed"] == "PyTorch 1 sees no GPU"
    assert all({*row["seconds"]} == {"upconv"} for row in found["rows"])


def test_the_l2_holds_no_case_whole(gpu):
    device = Gpu(smoke=True)
    device.facts["l2CacheSize"] = 50 * 2**20
    assert [device.sets(size) for size in (0, 2**20, 30 * 2**20, 2**30)] == [64, 64, 4, 1]


def test_the_host_gets_ahead_of_the_device(gpu):
    device, done = Gpu(smoke=True), []
    device._seconds, device._copy = 1e-3, (lambda: done.append("copy"),)

    def slow(name):
        return lambda: (done.append(name), sleep(2e-3))

    device.times([[slow("a"), slow("b")]], rounds=1)
    assert done[:4] == ["a", "b"] * 2 and done[-2:] == ["a", "b"] and 4 <= done.count("copy") <= 200


def test_without_a_gpu_it_says_so(gpu, monkeypatch, capsys):
    def nothing():
        raise RuntimeError("cudaErrorNoDevice")

    monkeypatch.setattr(gpu.cuda.runtime, "getDevice", nothing)
    assert main(["gpu", "--smoke"]) == 2
    assert capsys.readouterr().err == "benchmarks: no GPU answers: cudaErrorNoDevice\n"


def test_without_cupy_it_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert main(["gpu", "--smoke"]) == 2
    assert "cupy, which is not installed: pip install 'upconv[cuda12]'" in capsys.readouterr().err
