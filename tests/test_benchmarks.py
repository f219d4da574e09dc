"""The benchmarks run, and refuse to time what is wrong. What they measure is not tested."""

import sys

import numpy as np
import pytest

from benchmarks import cases, peers, shapes, timing, unet
from benchmarks.__main__ import COMMANDS, main
from benchmarks.measure import measure
from upconv import kernels
from upconv.kernels.op import OPERATORS

LAYERS = (*cases.CONVOLUTION, *cases.TRANSPOSED)


@pytest.fixture(autouse=True)
def threads(monkeypatch):
    monkeypatch.delenv("UPCONV_NUM_THREADS", raising=False)
    monkeypatch.setattr(timing, "SETTLE", 0)  # times mean nothing here
    with kernels.num_threads(kernels.get_num_threads()):
        yield


def test_layers_without_pytorch(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(["layers", "--smoke", "--alone", "--threads", "1", "--operators", *LAYERS]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "1 thread" in lines[0] and "1 threads" not in lines[0]
    assert "these times mean nothing" in lines[1]
    rows = [line.split(" | ")[:2] for line in lines if line.startswith("| ") and " x " in line]
    assert len(rows) == 3 * len(shapes.LAYERS) + 3 * len(shapes.UPSAMPLING)
    assert {operator for _, operator in rows} == set(LAYERS)


def test_maps_without_pytorch(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(["maps", "--smoke", "--alone"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split(" | ")[1] for line in lines if line.startswith("| ") and " x " in line]
    assert sorted(rows) == sorted(operator for case in shapes.MAPS for operator in case.operators)
    assert "of a copy's bytes per second" in lines[-1]


def test_every_operator_is_measured():
    assert {*OPERATORS} == {*LAYERS, *(name for case in shapes.MAPS for name in case.operators)}


@pytest.fixture
def nothing_installed(monkeypatch):
    """No peer can be imported."""
    for package in {each for packages in peers.PACKAGES.values() for each in packages}:
        monkeypatch.setitem(sys.modules, package, None)
    for name in [name for name in sys.modules if name.startswith("benchmarks.peers.")]:
        monkeypatch.delitem(sys.modules, name)
    peers.load.cache_clear()
    yield
    peers.load.cache_clear()


@pytest.mark.parametrize("name", peers.PACKAGES)
def test_a_missing_peer_that_was_named_is_told(name, capsys, nothing_installed):
    assert main(["unet", "--smoke", "--peers", name]) == 2
    out, err = capsys.readouterr()
    packages = peers.PACKAGES[name]
    told = f"benchmarks: {name} needs {' and '.join(packages)}: pip install {' '.join(packages)}"
    assert (out, err.splitlines()) == ("", [told])


def test_without_peers_there_is_nothing_to_compare_with(capsys, nothing_installed):
    assert main(["unet", "--smoke"]) == 0
    out = capsys.readouterr().out
    assert "ratio" not in out and "| training step |" in out
    assert all(f"{name} needs" in out for name in peers.PACKAGES)


def test_loss_curve_needs_pytorch(capsys, nothing_installed):
    assert main(["loss-curve"]) == 2
    assert capsys.readouterr().err == "benchmarks: this needs torch, which is not installed: pip install torch\n"


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["layers", "--rounds", "0"], "argument --rounds: an integer from 1 on is needed, got '0'"),
        (["layers", "--threads", "0"], "set_num_threads: count must be an integer in 1..1024, got 0"),
        (["unet", "--peers", "tensorflow"], "argument --peers: invalid choice: 'tensorflow'"),
        (["speed"], "invalid choice: 'speed'"),
    ],
)
def test_bad_options_are_told_in_a_sentence(command, told, capsys):
    with pytest.raises(SystemExit) as end:
        main(command)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("benchmarks: ") and told in line


@pytest.mark.parametrize("case", [each for group in shapes.GROUPS for each in group.small().cases], ids=str)
def test_every_peer_agrees(case):
    found, _ = peers.installed()
    if not found:
        pytest.skip("no peer is installed")
    if isinstance(case, cases.Network):
        unet.measure("networks", case, found, rounds=1)
    for operator in getattr(case, "operators", ()):
        made = measure("layers", cases.call(case, operator), found, rounds=1)
        assert not made.wrong


def test_beside_pytorch(capsys):
    pytest.importorskip("torch")
    assert main(["layers", "--smoke", "--operators", *LAYERS]) == 0
    assert "conv2d_weight: " in capsys.readouterr().out
    assert main(["maps", "--smoke"]) == 0
    assert "are at least as fast as the fastest peer" in capsys.readouterr().out
    assert main(["unet", "--smoke"]) == 0
    assert "| training step |" in capsys.readouterr().out
    assert main(["loss-curve", "--steps", "2", "--width", "2", "--depth", "1", "--crop", "16", "--batch", "1"]) == 0


def test_what_fit_costs(capsys):
    assert main(["fit", "--smoke", "--steps", "10"]) == 0
    assert "| U-Net, width 2, depth 2; 1 x 16 x 16 | " in capsys.readouterr().out


def test_a_wrong_result_has_no_time():
    call = cases.call(shapes.LAYERS[0].small(), "conv2d")
    right = call()
    assert 0 < call.check(right) < 1e-6
    for wrong in (right * np.float32(1.01), right[:, :, 1:], np.full_like(right, np.nan)):
        with pytest.raises(AssertionError, match=r"conv2d of 1 x 3 -> 6, .* by us"):
            call.check(wrong, "us")


def test_help(capsys):
    for command in COMMANDS:
        with pytest.raises(SystemExit) as end:
            main([command, "--help"])
        assert end.value.code == 0
        assert "--threads" in capsys.readouterr().out
