"""`python -m benchmarks report`: a short run of it, and what a report of made-up results says."""

import json
import re
from dataclasses import asdict

import pytest

from benchmarks import peers, report, timing
from benchmarks.__main__ import main
from benchmarks.rendering import document, formats, plots
from benchmarks.results import Measurement, Memory, Peaks, Results, Start, load
from upconv import kernels

pytest.importorskip("matplotlib")
FILES = {"report.md", "report.html", "results.json", "roofline.png"}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(timing, "SETTLE", 0)  # times mean nothing here
    with kernels.num_threads(kernels.get_num_threads()):
        yield


def measurement(group, operator, case, ours, **theirs):
    seconds = {"upconv": ours, **{name.replace("_", " "): value for name, value in theirs.items()}}
    return Measurement(group, operator, case, 10**9, 10**7, "direct", seconds, dict.fromkeys(seconds, 1e-7))


@pytest.fixture
def results():
    measurements = [
        measurement("unet", "conv2d", "a win", 1e-3, PyTorch_NHWC=2e-3, OpenVINO_NHWC=1.5e-3),
        measurement("unet", "conv2d", "a slight loss", 1e-3, PyTorch_NHWC=0.9e-3),
        measurement("maps", "relu", "a heavy loss", 1e-3, PyTorch_NHWC=2e-3, ONNX_Runtime=0.5e-3),
        measurement("maps", "concatenate", "nothing <compared>", 1e-3),
        measurement("networks", "forward", "a net", 1e-2, PyTorch_NCHW=3e-2),
    ]
    measurements[3].flops, measurements[3].copy = 0, 3e10
    measurements[4].one_thread = 1.9e-2
    return Results(
        {"upconv": "0.1.0", "processor": "a CPU", "threads": "2", "date": "today"},
        peaks=Peaks(2, 5e11, 2.6e11, 4e10, 3e10),
        measurements=measurements,
        starts=[Start("import", "filled", 0.2), Start("first step", "empty", 26.0)],
        memory=[Memory("a net", "forward", "upconv", 2**28)],
        complete=True,
    )


def test_smoke(tmp_path, capsys):
    assert main(["report", "--smoke", "--alone", "--output", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == FILES
    found = load(tmp_path / "results.json")
    assert found.complete and found.smoke and not found.failures
    assert {each.group for each in found.measurements} == {group.name for group in report.GROUPS}
    assert all(each.one_thread for each in found.measurements if each.group == "networks")
    assert found.starts and found.memory and found.peaks
    text = (tmp_path / "report.md").read_text()
    assert "these times mean nothing" in text and "## Losses" not in text
    capsys.readouterr()
    assert main(["report", "--smoke", "--alone", "--output", str(tmp_path), "--resume"]) == 0  # nothing is left to do
    assert load(tmp_path / "results.json") == found


def test_json_holds_everything(results, tmp_path):
    results.save(tmp_path / "results.json")
    assert load(tmp_path / "results.json") == results
    assert json.loads((tmp_path / "results.json").read_text())["measurements"][0] == asdict(results.measurements[0])


def test_losses_come_first(results):
    text = formats.markdown(document.build(results), [])
    headings = re.findall(r"^## (.*)", text, flags=re.MULTILINE)
    assert headings[0] == "Losses"
    losses = text.partition("## Losses")[2].partition("##")[0]
    assert "In 2 of 4 cases" in losses
    assert losses.index("a heavy loss | ONNX Runtime | 0.500 | 1.00 | 0.50") < losses.index("a slight loss")
    assert "a win" not in losses
    assert "| a net | forward | 19.0 | 10.0 | 1.90 |" in text
    assert {"Environment", "Peak memory", "A new process: cold and warm start", "Threads"} <= set(headings)


def test_failures_come_before_them(results):
    results.failures = ["conv2d: it is wrong"]
    results.measurements[0].wrong = ["relu by OpenVINO is wrong by 1"]
    results.complete = False
    text = formats.markdown(document.build(results), [])
    assert re.findall(r"^## (.*)", text, flags=re.MULTILINE)[:3] == [
        "Failures",
        "Wrong results of peers, not timed",
        "Losses",
    ]
    assert "This run was not finished" in text


def test_no_loss_is_told(results):
    del results.measurements[1:4]
    text = formats.markdown(document.build(results), [])
    assert "None: upconv is the fastest in all 2 cases." in text


def test_the_page_needs_nothing_else(results):
    pictures = plots.pictures(results)
    assert set(pictures) == {"roofline", "unet", "maps", "networks"}
    assert all(content.startswith(b"\x89PNG") for content in pictures.values())
    page = formats.html(document.build(results), pictures)
    assert page.count("<img ") == len(pictures) == page.count('src="data:image/png;base64,')
    assert "http" not in re.sub(r"base64,[^\"]*", "", page)
    assert "<script" not in page and "<link" not in page
    assert "nothing &lt;compared&gt;" in page and "<h1>upconv benchmarks</h1>" in page


def test_a_report_of_nothing():
    empty = Results({})
    assert plots.pictures(empty) == {}
    assert "not finished" in formats.html(document.build(empty), {})


def test_from_a_file(results, tmp_path, capsys):
    results.save(tmp_path / "results.json")
    assert main(["report", "--from", str(tmp_path / "results.json"), "--output", str(tmp_path / "new")]) == 0
    assert {path.name for path in (tmp_path / "new").iterdir()} == FILES | {"unet.png", "maps.png", "networks.png"}
    assert "report.html" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot be read: No such file or directory"),
        ("{", "is no JSON file"),
        ("[]", "holds no results"),
        ('{"schema": 0}', "holds no results"),
        ('{"schema": 1}', "holds damaged results: 'measurements'"),
        ('{"schema": 1, "measurements": [{"speed": 1}]}', "holds damaged results: 'Measurement has no speed'"),
    ],
)
def test_a_file_that_holds_no_results_is_told(content, told, tmp_path, capsys):
    path = tmp_path / "results.json"
    if content is not None:
        path.write_text(content)
    assert main(["report", "--from", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"benchmarks: {path} ") and told in line


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--only", "speed"], "argument --only: invalid choice: 'speed'"),
        (["--rounds", "many"], "argument --rounds: an integer from 1 on is needed, got 'many'"),
        (["--peers", "jax"], "argument --peers: invalid choice: 'jax'"),
        (["--resume", "--from", "results.json"], "--from measures nothing: it goes with --output alone"),
        (["--alone", "--peers", "scipy"], "argument --peers: not allowed with argument --alone"),
    ],
)
def test_bad_options_are_told_in_a_sentence(options, told, capsys):
    try:
        status = main(["report", *options])
    except SystemExit as end:
        status = end.code
    assert status == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("benchmarks: ") and told in line


def test_an_output_that_is_a_file_is_told(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["report", "--smoke", "--output", str(tmp_path / "file")]) == 2
    assert "cannot be a folder: File exists" in capsys.readouterr().err


def part(label, action):
    return report.Part(label, lambda results: any(each.case == label for each in results.measurements), action)


def succeeding(label):
    return part(label, lambda results: results.measurements.append(measurement("unet", "conv2d", label, 1e-3)))


def raising(label, error):
    def action(results):
        raise error

    return part(label, action)


@pytest.fixture
def planned(monkeypatch, tmp_path):
    """A function that runs a report of the given parts instead of the real ones."""

    def run(*planned, options=()):
        monkeypatch.setattr(report, "parts", lambda arguments, peers: planned)
        return main(["report", "--alone", "--output", str(tmp_path), *options])

    return run


def test_ctrl_c_leaves_a_report_and_resume_goes_on(planned, tmp_path, capsys):
    assert planned(succeeding("first"), raising("second", KeyboardInterrupt), succeeding("third")) == 130
    assert "--resume goes on" in capsys.readouterr().err
    text = (tmp_path / "report.md").read_text()
    assert "This run was not finished" in text and "| first |" in text
    again = [raising("first", RuntimeError("measured twice")), succeeding("second"), succeeding("third")]
    assert planned(*again, options=["--resume"]) == 0
    assert [each.case for each in load(tmp_path / "results.json").measurements] == ["first", "second", "third"]
    assert "not finished" not in (tmp_path / "report.md").read_text()


def test_a_failure_is_reported_and_the_rest_measured(planned, tmp_path, capsys):
    assert planned(raising("first", AssertionError("it is wrong")), succeeding("second")) == 1
    assert "benchmarks: first: AssertionError: it is wrong" in capsys.readouterr().err
    assert (tmp_path / "report.md").read_text().index("first: AssertionError: it is wrong") > 0
    assert [each.case for each in load(tmp_path / "results.json").measurements] == ["second"]


def test_results_of_another_machine_are_not_resumed(planned, tmp_path, capsys):
    assert planned(succeeding("first")) == 0
    found = load(tmp_path / "results.json")
    found.environment["processor"] = "another"
    found.save(tmp_path / "results.json")
    assert planned(succeeding("second"), options=["--resume"]) == 2
    assert "cannot be resumed: processor was another, is" in capsys.readouterr().err


def test_the_ratio_is_to_the_fastest():
    made = measurement("unet", "conv2d", "a", 2.0, PyTorch_NHWC=3.0, OpenVINO=1.0)
    assert (made.fastest, made.ratio) == (("OpenVINO", 1.0), 0.5)
    assert measurement("unet", "conv2d", "a", 2.0).ratio == 1


def test_missing_peers_are_told():
    def load_nothing(name):
        raise ImportError(f"{name} needs it: pip install it", name="it")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peers, "load", load_nothing)
        found, missing = peers.installed(("pytorch", "openvino"))
    assert found == [] and missing == [f"{name} needs it: pip install it" for name in ("pytorch", "openvino")]
