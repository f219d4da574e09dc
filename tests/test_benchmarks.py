"""The benchmarks run, and refuse to time what is wrong. What they measure is not tested."""

import sys

import numpy as np
import pytest

from benchmarks import cases
from benchmarks.__main__ import COMMANDS, main
from upconv import kernels
from upconv.kernels.op import OPERATORS

LAYERS = (*cases.CONVOLUTION, *cases.TRANSPOSED)


@pytest.fixture(autouse=True)
def threads(monkeypatch):
    monkeypatch.delenv("UPCONV_NUM_THREADS", raising=False)
    with kernels.num_threads(kernels.get_num_threads()):
        yield


def test_layers_without_pytorch(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(["layers", "--smoke", "--alone", "--threads", "1", "--operators", *LAYERS]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "1 thread" in lines[0] and "1 threads" not in lines[0]
    assert "these times mean nothing" in lines[1]
    rows = [line.split(" | ")[:2] for line in lines if line.startswith("| ") and " x " in line]
    assert len(rows) == 3 * len(cases.LAYERS) + 3 * len(cases.UPSAMPLING)
    assert {operator for _, operator in rows} == set(LAYERS)


def test_maps_without_pytorch(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(["maps", "--smoke", "--alone"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split(" | ")[1] for line in lines if line.startswith("| ") and " x " in line]
    assert sorted(rows) == sorted(operator for case in cases.MAPS for operator in case.operators)
    assert "of a copy's bytes per second" in lines[-1]


def test_every_operator_is_measured():
    assert {*OPERATORS} == {*LAYERS, *(name for case in cases.MAPS for name in case.operators)}


@pytest.mark.parametrize("command", ["layers", "maps", "unet", "loss-curve"])
def test_missing_pytorch_is_told(command, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "benchmarks.peers", raising=False)
    assert main([command]) == 2
    out, err = capsys.readouterr()
    assert (out, err.splitlines()) == (
        "",
        ["benchmarks: this compares with PyTorch, which is not installed: pip install torch"],
    )


def test_beside_pytorch(capsys):
    pytest.importorskip("torch")
    assert main(["layers", "--smoke", "--operators", *LAYERS]) == 0
    assert "conv2d_weight: " in capsys.readouterr().out
    assert main(["maps", "--smoke"]) == 0
    assert "are at least as fast as PyTorch" in capsys.readouterr().out
    assert main(["unet", "--smoke"]) == 0
    assert "| training step |" in capsys.readouterr().out
    assert main(["loss-curve", "--steps", "2", "--width", "2", "--depth", "1", "--crop", "16", "--batch", "1"]) == 0


def test_a_wrong_result_has_no_time():
    call = cases.call(cases.LAYERS[0].small(), "conv2d")
    right = call()
    call.check(right)
    for wrong in (right * np.float32(1.01), right[:, :, 1:], np.full_like(right, np.nan)):
        with pytest.raises(AssertionError, match="conv2d of 1 x 3 -> 6"):
            call.check(wrong)


def test_help(capsys):
    for command in COMMANDS:
        with pytest.raises(SystemExit) as end:
            main([command, "--help"])
        assert end.value.code == 0
        assert "--threads" in capsys.readouterr().out
