import numpy as np
import pytest

from upconv import nn
from upconv.errors import InputError
from upconv.nn.data import VOID
from upconv.nn.scenery import SHAPES, scene


def everything(data):
    return sorted((*data.train, *data.validation, *data.test), key=lambda sample: int(sample.name.split()[1]))


def test_the_same_seed_draws_the_same_and_a_larger_count_more():
    one, again, other = nn.scenes(6, size=40), nn.scenes(6, size=40), nn.scenes(6, size=40, seed=1)
    assert one.digest() == again.digest() != other.digest()
    first, more = everything(one), everything(nn.scenes(9, size=40, test=0.2))
    assert (len(first), len(more)) == (6, 9)
    for a, b in zip(first, more, strict=False):
        assert np.array_equal(a.image, b.image) and np.array_equal(a.labels, b.labels)


@pytest.mark.parametrize("classes", [2, 5, 7])
def test_every_class_is_there(classes):
    data = nn.scenes(20, size=64, classes=classes, validation=0.1, test=0.15)
    assert (data.classes, data.channels) == (classes, 3)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [15, 2, 3]
    labels = np.concatenate([sample.labels.ravel() for sample in data.train])
    assert np.unique(labels).tolist() == [*range(classes), VOID]
    share = np.bincount(labels)[:classes] / labels.size
    assert 0.3 < share[0] < 0.8 and share.min() > 0.005
    assert all(sample.image.dtype == np.uint8 for sample in data.train)


def test_void_lies_along_the_outlines():
    for border in (0, 1, 2, 4):
        _, without = scene(80, 5, 0, np.random.default_rng(3))
        _, labels = scene(80, 5, border, np.random.default_rng(3))
        void = labels == VOID
        assert void.any() == (border > 0)
        assert np.array_equal(labels[~void], without[~void])
        up, left = (np.diff(without, axis=axis) != 0 for axis in (0, 1))
        edges = np.zeros_like(void)  # the pixels on both sides of an outline
        for part, change in ((np.s_[1:], up), (np.s_[:-1], up)):
            edges[part] |= change
        for part, change in ((np.s_[:, 1:], left), (np.s_[:, :-1], left)):
            edges[part] |= change
        if border == 2:
            assert (void & edges).sum() > 0.9 * edges.sum()
            assert void.sum() < 2 * edges.sum()


def test_shapes_have_the_outlines_they_are_named_after():
    for shape in SHAPES:
        turns = np.linspace(0, 2 * np.pi, 60)
        far = np.linspace(0, 60, 6001)[:, None]
        distance = shape(far * np.cos(turns), far * np.sin(turns), 12.0)
        outline = far[(distance < 0).cumsum(0).argmax(0), 0]  # of each direction, the last pixel inside
        assert (outline > 1.5).all() and (outline < 30).all()
    u = np.array([0.0, 12.0, 12.1])
    assert (SHAPES[0](u, np.zeros(3), 12.0) < 0.05).tolist() == [True, True, False]
    np.testing.assert_allclose(SHAPES[1](np.array([0, 10.0]), np.zeros(2), 10.0), [-8, 2])
    np.testing.assert_allclose(SHAPES[2](np.array([12.0, 0]), np.array([0, 5.0]), 10.0), 0, atol=1e-9)
    np.testing.assert_allclose(SHAPES[3](np.array([0.0, 30.0]), np.array([5.0, 0]), 10.0), [3, 10])
    np.testing.assert_allclose(SHAPES[5](np.array([0.0, 8.0]), np.zeros(2), 10.0), [5.5, -2.5])


def test_wrong_arguments_are_told_at_once():
    with pytest.raises(InputError) as error:
        nn.scenes(1, size=31, classes=8, border=-1, seed=-1)
    assert error.value.problems == (
        "scenes: count is 1; it must be 2 or more",
        "scenes: size is 31; it must be 32 or more",
        "scenes: classes is 8; it must be 2 to 7",
        "scenes: border is -1; it must be 0 to 4",
        "scenes: seed is -1; it must be 0 or more",
    )
    with pytest.raises(InputError, match="the validation share"):
        nn.scenes(4, validation=2)
