from itertools import islice

import numpy as np
import pytest

from upconv.nn.augmentation import random_crop, turned
from upconv.nn.data import VOID, Sample, normalise, nuclei, quadrants
from upconv.nn.loading import batches
from upconv.settings import Settings


def numbered(height, width):
    return np.arange(height * width).reshape(height, width)


def test_the_embedded_image():
    data = nuclei()
    assert (data.classes, data.channels, len(data.train), len(data.test)) == (2, 1, 3, 1)
    everything = [nuclei(q).test[0] for q in range(4)]
    image = np.block([[everything[0].image[..., 0], everything[1].image[..., 0]],
                      [everything[2].image[..., 0], everything[3].image[..., 0]]])  # fmt: skip
    assert image.shape == (512, 512)
    assert (image.dtype, image.min(), image.max(), int(image.sum(dtype=np.int64))) == (np.uint8, 0, 235, 8331268)
    assert sum(int(sample.labels.sum()) for sample in everything) == 52226
    with pytest.raises(ValueError, match="quadrant is 4"):
        nuclei(4)


@pytest.mark.parametrize("held_out", range(4))
def test_no_crop_touches_the_quadrant_held_out(held_out):
    place = numbered(64, 96)
    samples = quadrants(place, np.zeros((64, 96), np.uint8))
    test = samples.pop(held_out)
    seen: set[int] = set()
    rng = np.random.default_rng(held_out)
    for _ in range(200):
        for sample in samples:
            crop, _ = random_crop(sample, 16, rng)
            seen |= set(np.rint(crop * sample.statistics[1] + sample.statistics[0]).astype(int).ravel().tolist())
    forbidden = set(test.image.ravel().tolist())
    assert len(forbidden) == 32 * 48
    assert not seen & forbidden
    assert seen <= set(place.ravel().tolist())
    assert len(seen) > 0.9 * 3 * 32 * 48


def test_normalise():
    image = np.array([[[1, 3]], [[5, 7]]], np.uint16)  # 2 x 1 x 2: mean 4, variance 5
    result = normalise(image)
    assert result.shape == (2, 2, 1)
    assert result.dtype == np.float32
    assert result[0, :, 0] == pytest.approx([-3 / 5**0.5, 1 / 5**0.5])
    assert result[1, :, 0] == pytest.approx([-1 / 5**0.5, 3 / 5**0.5])
    assert normalise(image, (1, 2))[1, 1, 0] == 3
    assert not normalise(np.full((3, 3, 1), 7)).any()


def test_turning_reaches_the_eight_symmetries_and_keeps_image_and_labels_together():
    rng, labels = np.random.default_rng(0), numbered(3, 3)
    found = {}
    for _ in range(400):
        image, turned_labels = turned(np.stack([labels, 10 + labels]), labels, rng)
        assert np.array_equal(image[0], turned_labels)
        assert np.array_equal(image[1], 10 + turned_labels)
        key = turned_labels.tobytes()
        found[key] = found.get(key, 0) + 1
    assert len(found) == 8
    assert min(found.values()) > 20


def test_a_crop_covers_the_whole_sample_in_the_end():
    sample = Sample("", numbered(5, 7)[:, :, None], np.zeros((5, 7), np.uint8))
    rng = np.random.default_rng(0)
    corners = {random_crop(sample, 4, rng)[0][0, 0, 0] for _ in range(300)}
    assert len(corners) == 2 * 4


def test_a_sample_smaller_than_the_crop_is_reflected_and_void_there():
    sample = Sample("", np.array([[1, 2, 3]])[:, :, None], np.array([[0, 1, 0]], np.uint8))
    image, labels = random_crop(sample, 5, np.random.default_rng(0))
    assert labels.tolist() == [[0, 1, 0, VOID, VOID], *[[VOID] * 5] * 4]
    assert np.array_equal(image[0], np.tile(normalise(sample.image)[0, 0, [0, 1, 2, 1, 0]], (5, 1)))


def test_a_crop_is_never_all_void():
    labels = np.full((40, 40), VOID, np.uint8)
    labels[37, 2] = 1
    sample, rng = Sample("", np.zeros((40, 40, 1)), labels), np.random.default_rng(0)
    assert all((random_crop(sample, 8, rng)[1] != VOID).sum() == 1 for _ in range(50))


def test_batches():
    rng = np.random.default_rng(0)
    samples = [Sample("", rng.integers(0, 99, (40, 50, 3)), rng.integers(0, 3, (40, 50)).astype(np.uint8))] * 2
    settings = Settings(batch=2, crop=16)
    drawn = list(islice(batches(samples, settings, np.random.default_rng(5)), 3))
    again = list(islice(batches(samples, settings, np.random.default_rng(5)), 3))
    for (images, labels), (images2, labels2) in zip(drawn, again, strict=True):
        assert images.shape == (2, 3, 16, 16)
        assert images.dtype == np.float32
        assert images.transpose(0, 2, 3, 1).flags.c_contiguous
        assert labels.shape == (2, 16, 16)
        assert labels.dtype == np.uint8
        assert np.array_equal(images, images2)
        assert np.array_equal(labels, labels2)
    assert not np.array_equal(drawn[0][0], drawn[1][0])
