import numpy as np
import pytest

from upconv import configuration
from upconv.errors import InputError
from upconv.settings import Network, Settings, Source


def test_settings_say_everything_that_is_wrong():
    with pytest.raises(InputError) as error:
        Settings(steps=0, batch=-1, lr=float("nan"), seed=-3)
    assert error.value.problems == (
        "steps is 0; it must be 1 or more",
        "batch is -1; it must be 1 or more",
        "seed is -3; it must be 0 or more",
        "lr is nan; it must be a positive number",
    )


def test_values_become_pythons_own():
    settings = Settings(steps=np.int64(3), lr=1, betas=[0, np.float32(0.5)], class_weights=np.array([1, 2]).tolist())
    assert [type(value) for value in (settings.steps, settings.lr, *settings.betas)] == [int, float, float, float]
    assert settings.class_weights == (1.0, 2.0)
    assert Settings(class_weights=["balanced"]).class_weights == Settings(class_weights="balanced").class_weights


@pytest.mark.parametrize("value", [True, 1.5, "3", None, [3]])
def test_a_count_is_an_integer(value):
    with pytest.raises(InputError, match=r"steps is .*; it must be 1 or more"):
        Settings(steps=value)


def test_what_goes_with_what():
    for options, told in (
        ({"quadrant": 1, "folder": "x"}, "quadrant is for training on the embedded nuclei"),
        ({"validation": 0.1}, "validation is for training on a folder or scenes"),
    ):
        with pytest.raises(InputError, match=told):
            Source(**options)


def test_a_file_gives_back_what_was_written(tmp_path):
    settings = Settings(steps=7, class_weights=(1, 2.5), clip_grad_norm=1e-9, nesterov=True, optimizer="sgd", warmup=0)
    source, network = Source(folder='odd "name"\n\\ü\x7f', test=0.25), Network(dropout=0.5)
    values = {name: value for group in (source, settings, network) for name, value in vars(group).items()}
    (tmp_path / "config.toml").write_text(configuration.text(values))
    assert configuration.resolve(configuration.read(tmp_path / "config.toml")) == (source, settings, network)
    assert configuration.resolve({}) == (Source(), Settings(), Network())


def test_problems_of_all_groups_are_told_at_once():
    with pytest.raises(InputError) as error:
        configuration.resolve({"width": 0, "steps": 0, "quadrant": 9})
    assert [problem.split()[0] for problem in error.value.problems] == ["quadrant", "steps", "width"]
