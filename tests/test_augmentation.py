"""Crops, varied: image and labels alike, the same for the same generator, and as the equations say."""

import numpy as np
import pytest
from training_cases import QUICK, data, model, same

from upconv import nn
from upconv.nn.augmentation import augmented, deformed, displaced, turned
from upconv.nn.data import VOID, Sample, normalise
from upconv.settings import Settings


def rng(seed=0):
    return np.random.default_rng(seed)


def ramp(height=40, width=50, channels=1):
    """An image that rises along rows and columns, and labels that are its quadrant."""
    rows, columns = np.mgrid[:height, :width].astype(float)
    image = np.stack([rows * 100 + columns] * channels, axis=2)
    return Sample("", image, ((rows >= height // 2) * 2 + (columns >= width // 2)).astype(np.uint8))


def pixels(sample, image):
    """What the image held before it was normalised."""
    return image * sample.statistics[1] + sample.statistics[0]


def test_nothing_asked_for_is_a_plain_crop():
    sample = ramp()
    image, labels = augmented(sample, 16, Settings(symmetry="none"), rng())
    value = pixels(sample, image[0])
    np.testing.assert_allclose(np.diff(value, axis=1), 1, atol=0.05)
    np.testing.assert_allclose(np.diff(value, axis=0), 100, atol=0.05)
    assert image.shape == (1, 16, 16) and labels.shape == (16, 16)


def test_mirrored_only():
    labels = np.arange(9).reshape(3, 3)
    found = {turned(labels[None], labels, rng(i), quarters=False)[1].tobytes() for i in range(30)}
    assert found == {labels.tobytes(), labels[:, ::-1].tobytes()}


def test_displacements_are_a_rotation_and_a_zoom_about_the_middle():
    for seed in range(20):
        rows, columns = displaced(9, Settings(rotate=30, scale=0.5), rng(seed))
        assert (rows[4, 4], columns[4, 4]) == pytest.approx((4, 4))
        right = np.array([rows[4, 5] - rows[4, 4], columns[4, 5] - columns[4, 4]])
        down = np.array([rows[5, 4] - rows[4, 4], columns[5, 4] - columns[4, 4]])
        length = np.hypot(*right)
        assert 1 / 1.5 <= length <= 1.5 and np.hypot(*down) == pytest.approx(length)
        assert right @ down == pytest.approx(0, abs=1e-12)
        assert abs(np.degrees(np.arctan2(right[0], right[1]))) <= 30
        assert rows[8, 0] - rows[4, 4] == pytest.approx(4 * (down[0] - right[0]))


def test_elastic_displacements_are_bicubic_between_three_by_three_vectors():
    size = 21
    rows, columns = displaced(size, Settings(elastic=10), rng(3))
    y, x = np.mgrid[:size, :size]
    generator = rng(3)
    generator.uniform(-1, 1, 2)  # the angle and the zoom, which nothing comes of
    grid = generator.normal(0, 10, (1, 2, 3, 3))
    bend = np.stack([rows - y, columns - x])
    np.testing.assert_allclose(bend[:, ::10, ::10], grid[0], atol=1e-9)  # at the grid's points it is the grid
    t = 0.5  # between two of them it is Keys' cubic with a = -0.75, the border repeated
    far, near = -0.75 * (1 + t) ** 3 + 3.75 * (1 + t) ** 2 - 6 * (1 + t) + 3, 1.25 * t**3 - 2.25 * t**2 + 1
    between = far * grid[0, :, 0, 0] + near * grid[0, :, 0, 0] + near * grid[0, :, 0, 1] + far * grid[0, :, 0, 2]
    np.testing.assert_allclose(bend[:, 0, 5], between, atol=1e-9)


def test_the_spread_of_elastic_displacements_is_what_was_asked_for():
    ends = [displaced(9, Settings(elastic=10), rng(seed))[0][0, 0] for seed in range(2000)]
    assert np.std(ends) == pytest.approx(10, rel=0.05)
    assert np.mean(ends) == pytest.approx(0, abs=1)


@pytest.mark.parametrize("options", [{"rotate": 180}, {"scale": 1}, {"elastic": 4}, {"rotate": 90, "elastic": 3}])
def test_image_and_labels_stay_together(options):
    """An image whose pixels are their own places tells where each came from: the label must be that of the nearest."""
    places = np.stack(np.mgrid[:40, :50].astype(float), axis=2)
    sample = Sample("", places, ramp().labels)
    for seed in range(10):
        image, labels = deformed(sample, 16, Settings(**options), rng(seed))
        rows, columns = pixels(sample, image)
        sure = (labels != VOID) & (abs(rows % 1 - 0.5) > 1e-3) & (abs(columns % 1 - 0.5) > 1e-3)
        expected = sample.labels[np.rint(rows).astype(int), np.rint(columns).astype(int)]
        assert sure.sum() > 50
        assert (labels == expected)[sure].all()


def test_beyond_the_border_the_image_is_reflected_and_void():
    sample = Sample("", np.arange(16.0).reshape(4, 4, 1), np.ones((4, 4), np.uint8))
    image, labels = deformed(sample, 12, Settings(scale=1e-9), rng())
    expected = np.pad(sample.image[:, :, 0], (0, 8), mode="reflect")
    np.testing.assert_allclose(pixels(sample, image[0]), expected, atol=1e-5)
    assert (labels == np.pad(sample.labels, (0, 8), constant_values=VOID)).all()


def test_a_crop_that_would_be_void_stays_as_it_was_cut():
    labels = np.full((40, 40), VOID, np.uint8)
    labels[20, 20] = 1
    sample = Sample("", np.zeros((40, 40, 1)), labels)
    for seed in range(30):
        assert (deformed(sample, 8, Settings(elastic=20), rng(seed))[1] == 1).any()


def test_intensity_and_noise_change_the_image_alone():
    sample = ramp()
    plain, labels = augmented(sample, 16, Settings(symmetry="none"), rng(1))
    changed, same_labels = augmented(sample, 16, Settings(symmetry="none", intensity=0.5), rng(1))
    assert (labels == same_labels).all()
    slope, offset = np.polyfit(plain.ravel(), changed.ravel(), 1)
    np.testing.assert_allclose(changed, slope * plain + offset, atol=1e-5)
    assert 0.5 <= slope <= 1.5 and -0.5 <= offset <= 0.5 and slope != 1
    noisy, _ = augmented(sample, 16, Settings(symmetry="none", noise=0.5), rng(1))
    assert np.std(noisy - plain) == pytest.approx(0.5, rel=0.15)
    assert noisy.dtype == changed.dtype == np.float32


def test_of_several_channels_all_are_moved_alike():
    sample = ramp(channels=3)
    image, _ = augmented(sample, 16, Settings(elastic=3, rotate=20, intensity=0.3), rng())
    assert image.shape == (3, 16, 16)
    np.testing.assert_array_equal(image[0], image[2])


def test_integer_images_are_interpolated_without_rounding():
    sample = ramp()
    whole = Sample("", sample.image.astype(np.uint16), sample.labels)
    settings = Settings(rotate=30, symmetry="none")
    np.testing.assert_allclose(*(augmented(s, 16, settings, rng())[0] for s in (sample, whole)), atol=1e-6)
    assert normalise(whole.image).dtype == np.float32


@pytest.mark.parametrize("options", [{}, {"elastic": 5, "rotate": 45, "noise": 0.1, "intensity": 0.1, "scale": 0.3}])
def test_trainings_with_the_same_seed_see_the_same_crops(options):
    networks = [model(), model()]
    for network in networks:
        nn.fit(network, data(), **QUICK, **options)
    assert same(*networks)
