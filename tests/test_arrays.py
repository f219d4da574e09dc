import numpy as np
import pytest

from upconv import nn
from upconv.errors import InputError
from upconv.nn.data import VOID


def test_arrays_of_any_kind_become_data():
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 999, (8 + i, 9, 3)).astype(np.uint16) for i in range(5)]
    labels = [rng.integers(0, 4, image.shape[:2]).astype(np.int64) for image in images]
    labels[0][0, 0], labels[1][0, 0] = VOID, 3
    data = nn.from_arrays(images, labels, validation=0.2, test=0.4, seed=3)
    assert (data.classes, data.channels) == (4, 3)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [2, 1, 2]
    for sample in (*data.train, *data.validation, *data.test):
        number = int(sample.name.split()[1])
        np.testing.assert_array_equal(sample.image, images[number])
        np.testing.assert_array_equal(sample.labels, labels[number])
        assert sample.labels.dtype == np.uint8
    assert "2 images to train, 1 for validation, 2 for the test" in data.description
    assert nn.from_arrays(np.zeros((3, 4, 4)), np.zeros((3, 4, 4), bool)).classes == 2
    assert nn.from_arrays(np.zeros((3, 4, 4)), np.ones((3, 4, 4), int), classes=7).classes == 7


def test_the_digest_tells_data_apart():
    images, labels = np.zeros((4, 4, 6)), np.zeros((4, 4, 6), np.uint8)
    same = nn.from_arrays(images, labels), nn.from_arrays(images.copy(), labels.copy())
    assert same[0].digest() == same[1].digest()
    others = [
        nn.from_arrays(images + 1, labels),
        nn.from_arrays(images, labels + 1),
        nn.from_arrays(images.astype(np.float32), labels),
        nn.from_arrays(images.transpose(0, 2, 1), labels.transpose(0, 2, 1)),
        nn.from_arrays(images, labels, validation=0.5),
        nn.from_arrays(images, labels, validation=0.25, test=0.25),
    ]
    assert len({data.digest() for data in (*others, same[0])}) == 7


IMAGE, LABELS = np.zeros((4, 5)), np.zeros((4, 5), np.uint8)


@pytest.mark.parametrize(
    ("images", "labels", "options", "told"),
    [
        ([IMAGE] * 3, [LABELS] * 2, {}, ["from_arrays: there are 3 images and 2 labels; as many are needed"]),
        ([IMAGE] * 3, [LABELS] * 3, {"classes": 1}, ["from_arrays: classes is 1; it must be 2 to 255"]),
        ([IMAGE] * 3, [LABELS] * 3, {"validation": 0}, ["the validation share is 0; it must be between 0 and 1"]),
        (
            [IMAGE],
            [LABELS],
            {},
            ["there are 1 images, of which 1 would be held out: there is none left to train on"],
        ),
        ([], [], {}, ["there are 0 images, of which 1 would be held out: there is none left to train on"]),
        (
            [IMAGE, IMAGE + np.nan, IMAGE[0], IMAGE.astype(str), np.zeros((4, 5, 2)), IMAGE[:0]],
            [LABELS] * 6,
            {},
            [
                "from_arrays: image 1: it holds NaN or infinite values; every pixel must be finite",
                "from_arrays: image 2: it is float64 of shape (5,); H x W or H x W x C numbers are needed",
                "from_arrays: image 3: it is <U32 of shape (4, 5, 1); H x W or H x W x C numbers are needed",
                "from_arrays: image 4: it has 2 channels, the first 1; all must have as many",
                "from_arrays: image 5: it is float64 of shape (0, 5, 1); H x W or H x W x C numbers are needed",
            ],
        ),
        (
            [IMAGE] * 5,
            [LABELS, LABELS[:2], LABELS + 0.5, LABELS.astype(int) - 1, LABELS + np.uint8(255)],
            {"classes": 2},
            [
                "from_arrays: image 1: its labels are uint8 of shape (2, 5); integers of shape (4, 5) are needed",
                "from_arrays: image 2: its labels are float64 of shape (4, 5); integers of shape (4, 5) are needed",
                "from_arrays: image 3: its labels are -1 to -1; 0 to 1, and 255 for void, are allowed",
                "from_arrays: image 4: its labels are all void (255): there is nothing to learn from it",
            ],
        ),
        (
            [IMAGE] * 2,
            [LABELS, LABELS.astype(int) + 300],
            {},
            ["from_arrays: image 1: its labels are 300 to 300; 0 to 254, and 255 for void, are allowed"],
        ),
    ],
)
def test_everything_that_is_wrong_is_told_at_once(images, labels, options, told):
    with pytest.raises(InputError) as error:
        nn.from_arrays(images, labels, **options)
    assert list(error.value.problems) == told
