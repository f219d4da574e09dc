import gzip
import sys

import dataset_cases
import numpy as np
import pytest
from dataset_cases import NAMES, idx

from upconv import nn
from upconv.errors import InputError
from upconv.nn import datasets

rng = np.random.default_rng(0)
IMAGES, LABELS = rng.integers(0, 256, (12, 5, 4)).astype(np.uint8), (np.arange(12) % 10).astype(np.uint8)


def write(folder, compressed=False):
    dataset_cases.write(folder, IMAGES, LABELS, 7, compressed=compressed)


def problems(folder):
    with pytest.raises(InputError) as error:
        nn.fashion_mnist(folder)
    return [problem.replace(f"{folder}/", "") for problem in error.value.problems]


@pytest.mark.parametrize("compressed", [False, True])
def test_fashion_mnist(tmp_path, compressed):
    write(tmp_path, compressed)
    data = nn.fashion_mnist(tmp_path)
    assert [array.shape for array in vars(data).values()] == [(12, 1, 5, 4), (12,), (7, 1, 5, 4), (7,)]
    assert [array.dtype.name for array in vars(data).values()] == ["float32", "int64"] * 2
    np.testing.assert_array_equal(np.rint(data.train_images * 255)[:, 0], IMAGES)
    np.testing.assert_array_equal(data.test_labels, LABELS[:7])
    assert data.train_images.max() <= 1


def test_where_the_files_are_looked_for(tmp_path, monkeypatch):
    monkeypatch.delenv(datasets.FOLDER, raising=False)
    with pytest.raises(InputError, match=r"no folder is given and UPCONV_FASHION_MNIST names none; download the four"):
        nn.fashion_mnist()
    write(tmp_path)
    monkeypatch.setenv(datasets.FOLDER, str(tmp_path))
    assert len(nn.fashion_mnist().train_images) == 12
    missing = tmp_path / "none"
    assert problems(missing) == [f"fashion_mnist: there is no folder {missing}"]  # what is given comes first
    monkeypatch.setenv(datasets.FOLDER, "")
    with pytest.raises(InputError, match="UPCONV_FASHION_MNIST names none"):
        nn.fashion_mnist()


def test_whether_a_file_is_compressed_is_read_off_its_content(tmp_path):
    write(tmp_path)
    (tmp_path / NAMES[0]).write_bytes(gzip.compress(idx(IMAGES)))
    (tmp_path / NAMES[1]).rename(tmp_path / f"{NAMES[1]}.gz")
    assert len(nn.fashion_mnist(tmp_path).train_labels) == 12


def test_files_that_are_missing_or_damaged_are_all_named(tmp_path):
    assert problems(tmp_path) == [f"{tmp_path} has no file {name}, nor {name}.gz" for name in NAMES]
    write(tmp_path)
    (tmp_path / NAMES[0]).write_bytes(idx(IMAGES)[:-1])
    (tmp_path / NAMES[1]).write_bytes(idx(IMAGES))
    (tmp_path / NAMES[2]).write_bytes(gzip.compress(idx(IMAGES))[:-9])
    (tmp_path / NAMES[3]).write_bytes(b"")
    truncated, wrong, broken, empty = problems(tmp_path)
    assert truncated == f"{NAMES[0]} says its shape is (12, 5, 4): 240 numbers; it holds 239"
    assert wrong == f"{NAMES[1]} is not an IDX file of uint8 with 1 dimension: it begins with 00 00 08 03"
    assert broken.startswith(f"{NAMES[2]} cannot be read: Compressed file ended")
    assert empty == f"{NAMES[3]} is not an IDX file of uint8 with 1 dimension: it is empty"


@pytest.mark.parametrize(
    ("number", "content", "told"),
    [
        (0, idx(IMAGES) + b"x", "says its shape is (12, 5, 4): 240 numbers; it holds more"),
        (0, idx(IMAGES)[:9], "is not an IDX file of uint8 with 3 dimensions: it begins with 00 00 08 03"),
        (0, b"\x89PNG\r\n" + bytes(20), "is not an IDX file of uint8 with 3 dimensions: it begins with 89 50 4e 47"),
        (0, gzip.compress(idx(IMAGES))[:-8] + bytes(8), "cannot be read: CRC check failed"),
        (0, gzip.compress(idx(IMAGES))[:10] + b"\xff" * 50, "cannot be read: Error -3 while decompressing data"),
        (0, idx(IMAGES[:0]), "train has images of shape (0, 5, 4), which hold nothing"),
        (0, idx(IMAGES[:, :0]), "train has images of shape (12, 0, 4), which hold nothing"),
        (1, idx(LABELS[:5]), "train has 12 images and 5 labels; as many are needed"),
        (3, idx(LABELS[:7] + np.uint8(4)), "t10k has labels up to 10; 0 to 9 are allowed"),
        (2, idx(IMAGES[:7, :3]), "images to train are 5 x 4 pixels, to test 3 x 4; they must be equal"),
        (0, bytes([0, 0, 8, 3]) + b"\xff" * 12, "79228162458924105385300197375 numbers; at most 2147483648 are read"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else None,  # in which gzip puts the time
)
def test_what_does_not_fit_gets_a_sentence(tmp_path, number, content, told):
    write(tmp_path)
    (tmp_path / NAMES[number]).write_bytes(content)
    (found,) = problems(tmp_path)
    assert told in found
    assert "\n" not in found


@pytest.mark.parametrize("compressed", [False, True])
def test_no_mutation_crashes(tmp_path, compressed):
    """One byte changed anywhere in a file: it is read, or refused in sentences."""
    write(tmp_path)
    content = gzip.compress(idx(LABELS)) if compressed else idx(LABELS)
    refused = 0
    for place in range(len(content)):
        mutated = bytearray(content)
        mutated[place] ^= 1 << place % 8
        (tmp_path / NAMES[1]).write_bytes(mutated)
        try:
            assert len(nn.fashion_mnist(tmp_path).train_labels) == 12
        except InputError as error:
            assert len(error.problems) == 1 and "labels" in str(error)
            refused += 1
    assert refused > len(content) / 2


def test_a_folder_in_place_of_a_file(tmp_path):
    write(tmp_path)
    (tmp_path / NAMES[0]).unlink()
    (tmp_path / NAMES[0]).mkdir()
    assert problems(tmp_path) == [f"{tmp_path} has no file {NAMES[0]}, nor {NAMES[0]}.gz"]


def test_digits_and_a_classifier_that_learns_them():
    pytest.importorskip("sklearn")
    data = nn.digits()
    assert [array.shape for array in vars(data).values()] == [(1438, 1, 8, 8), (1438,), (359, 1, 8, 8), (359,)]
    assert [array.dtype.name for array in vars(data).values()] == ["float32", "int64"] * 2
    assert (data.train_images.min(), data.train_images.max()) == (0, 1)
    assert all(np.array_equal(array, vars(nn.digits())[name]) for name, array in vars(data).items())
    assert not np.array_equal(data.test_labels, nn.digits(seed=1).test_labels)
    model = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1, rng=0), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    model = nn.Sequential(*model, nn.Linear(256, 10, rng=0))
    optimizer, order = nn.Adam(model.parameters(), lr=1e-2), np.random.default_rng(0)
    for _ in range(100):
        chosen = order.integers(0, len(data.train_labels), 64)
        loss = nn.cross_entropy(model(data.train_images[chosen]), data.train_labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with nn.no_grad():
        right = model(data.test_images).data.argmax(1) == data.test_labels
    assert np.bincount(data.test_labels).max() / 359 < 0.15  # the most frequent digit everywhere
    assert right.mean() > 0.9


def test_what_digits_refuses(monkeypatch):
    with pytest.raises(InputError) as error:
        nn.digits(test=1, seed=-1)
    told = ("digits: test is 1; it must be between 0 and 1", "digits: seed is -1; it must be 0 or more")
    assert error.value.problems == told
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r"this needs sklearn, .*: pip install 'upconv\[digits\]'"):
        nn.digits()
