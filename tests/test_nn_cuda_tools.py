"""Prediction, training and the commands on CuPy arrays, by the double."""

import numpy as np
import pytest
from training_cases import QUICK, data, model

from upconv import cli, nn

pytestmark = pytest.mark.usefixtures("without_kernels")


@pytest.fixture
def here_and_there(gpu):
    return model(classes=3), model(classes=3).to("cuda")


def test_predictions_come_back_to_the_host(here_and_there):
    here, there = here_and_there
    image = np.random.default_rng(0).random((21, 34))
    expected, given = (nn.probabilities(each, image, tile=16) for each in (here, there))
    assert type(given) is np.ndarray
    np.testing.assert_allclose(given, expected, atol=1e-5)
    assert nn.predict(there, image).dtype == np.uint8


def test_a_dask_array_is_predicted_on_the_device(here_and_there):
    array = pytest.importorskip("dask.array")
    image = np.random.default_rng(0).random((21, 34))
    lazy = nn.probabilities(here_and_there[1], array.from_array(image, chunks=16), tile=16)
    given = lazy.compute(scheduler="synchronous")
    np.testing.assert_allclose(given, nn.probabilities(here_and_there[0], image), atol=1e-5)


def test_a_summary_and_an_export_are_those_of_the_cpu(here_and_there, tmp_path):
    here, there = here_and_there
    assert str(nn.summary(there, (1, 1, 8, 8))) == str(nn.summary(here, (1, 1, 8, 8)))
    assert nn.to_pytorch(there).keys() == nn.to_pytorch(here).keys()
    pytest.importorskip("onnx")
    for name, each in (("here", here), ("there", there)):
        nn.export_onnx(each, tmp_path / name, (1, 1, 8, 8))
    assert (tmp_path / "here").read_bytes() == (tmp_path / "there").read_bytes()


def test_confusion_is_counted_where_labels_are(gpu):
    rng = np.random.default_rng(0)
    predicted, truth = rng.integers(0, 3, (2, 4, 5)), rng.choice([0, 1, 2, 255], (2, 4, 5))
    given = nn.metrics.confusion(gpu.asarray(predicted), gpu.asarray(truth), 3)
    assert type(given) is np.ndarray and (given == nn.metrics.confusion(predicted, truth, 3)).all()
    scores = rng.standard_normal((1, 2, 3, 3))
    assert (nn.metrics.predicted(gpu.asarray(scores)).get() == nn.metrics.predicted(scores)).all()


def test_what_takes_numpy_arrays_says_so(here_and_there, gpu):
    images, labels = np.zeros((4, 8, 8)), np.zeros((4, 8, 8), np.uint8)
    x, y = gpu.asarray(images), gpu.asarray(labels)
    for call, what in (
        (lambda: nn.predict(here_and_there[1], x[0]), "predict: image"),
        (lambda: nn.probabilities(here_and_there[0], x[0]), "predict: image"),
        (lambda: nn.from_arrays(x, labels), "from_arrays: image 0"),
        (lambda: nn.from_arrays(images, [labels[0], *y[1:]]), "from_arrays: labels 1"),
        (lambda: nn.metrics.best_threshold(x, labels), "best_threshold: intensity"),
    ):
        with pytest.raises(TypeError, match=rf"^{what} lies on cuda:0; a NumPy array is needed, and its get\(\) is"):
            call()
    with pytest.raises(TypeError, match=r"^confusion: arrays must lie on one device, got prediction on cuda:0, truth "):
        nn.metrics.confusion(y, labels, 2)
    assert not gpu.device.transfers


@pytest.fixture
def no_pictures(monkeypatch):
    monkeypatch.setattr("upconv.nn.record.progress", lambda *_: None)
    monkeypatch.setattr("upconv.nn.training.preview", lambda *_, **options: None)


def test_a_training_goes_on_elsewhere(gpu, no_pictures, tmp_path):
    options = {**QUICK, "steps": 2, "evaluate_every": 1, "class_weights": "balanced", "accumulate": 2}
    here, there = model(), model()
    expected = nn.fit(here, data(), tmp_path / "here", **options)

    def ending(step):
        raise KeyboardInterrupt

    nn.fit(there, data(), tmp_path / "there", device="cuda", precision="fp32", on_step=ending, **options)
    assert next(there.parameters()).device == "cuda:0"
    options["precision"] = "fp32"
    result = nn.fit(model(), data(), tmp_path / "there", resume=True, **options)
    assert (
        result.steps == 2 and type(result.counts) is np.ndarray and result.best == pytest.approx(expected.best, abs=0.1)
    )
    for key, array in result.model.state_dict().items():
        np.testing.assert_allclose(array, here.state_dict()[key], rtol=1e-2, atol=1e-3, err_msg=key)


def test_a_training_needs_a_device_that_there_is(gpu):
    with pytest.raises(nn.training.InputError, match=r"^device is 'tpu'; it must be cpu, cuda or cuda:N$"):
        nn.fit(model(), data(), device="tpu", **QUICK)
    with pytest.raises(nn.training.InputError, match=r"^device is 'cuda:99'; there is cuda:0"):
        nn.fit(model(), data(), device="cuda:99", **QUICK)


def test_the_commands_compute_where_they_are_told(gpu, no_pictures, tmp_path, capsys):
    run, small = tmp_path / "run", ["--steps", "1", "--width", "2", "--depth", "1", "--crop", "16", "--batch", "1"]
    assert cli.main(["train", "--device", "cuda", "--output", str(run), *small]) == 0
    assert "cuda:0, " in capsys.readouterr().out
    assert 'device = "cuda"' in (run / "config.toml").read_text()
    assert cli.main(["train", "--resume", str(run), "--device", "cpu"]) == 0
    assert "CPU, " in capsys.readouterr().out
    image, file = str(run / "test_image.png"), str(run / "model.safetensors")
    assert cli.main(["predict", file, image, "--device", "cuda", "--tile", "64"]) == 0
    assert cli.main(["evaluate", file, "--device", "cuda:99"]) == 2
    assert "device is 'cuda:99'; there is cuda:0" in capsys.readouterr().err
