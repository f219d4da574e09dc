import numpy as np
import pytest
import tifffile
from PIL import Image

from upconv.errors import InputError
from upconv.nn.data import VOID
from upconv.nn.folder import read_folder

rng = np.random.default_rng(0)


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8)).save(path)


def pair(root, name, mask=((0, 1), (1, 0)), image=None):
    save(root / "images" / f"{name}.png", np.zeros(np.shape(mask)) if image is None else image)
    save(root / "masks" / f"{name}.png", mask)


def problems(root, **options):
    with pytest.raises(InputError) as error:
        read_folder(root, **options)
    return [problem.replace(f"{root}/", "") for problem in error.value.problems]


def test_pairs_are_read_and_split(tmp_path):
    for i in range(10):
        pair(tmp_path, f"cell{i}", mask=rng.integers(0, 2, (4, 6)), image=np.full((4, 6), i))
    (tmp_path / "images" / ".DS_Store").write_text("")
    (tmp_path / "masks" / "Thumbs.db").write_text("")
    data = read_folder(tmp_path)
    assert (data.classes, data.channels, len(data.train), len(data.test)) == (2, 1, 8, 2)
    assert data.title == tmp_path.name
    names = sorted(sample.name for sample in data.train + data.test)
    assert names == [f"cell{i}" for i in range(10)]
    assert all(sample.image[0, 0, 0] == int(sample.name[-1]) for sample in data.train + data.test)
    assert all(sample.labels.dtype == np.uint8 for sample in data.train)
    held_out = [sample.name for sample in data.test]
    assert [sample.name for sample in read_folder(tmp_path).test] == held_out
    assert len({tuple(s.name for s in read_folder(tmp_path, seed=seed).test) for seed in range(9)}) > 1
    assert len(read_folder(tmp_path, validation=0.01).test) == 1
    assert len(read_folder(tmp_path, validation=0.99).train) == 1
    three = read_folder(tmp_path, validation=0.2, test=0.3)
    parts = three.train, three.validation, three.test
    assert [len(part) for part in parts] == [5, 2, 3]
    assert sorted(sample.name for part in parts for sample in part) == names
    assert [sample.name for sample in three.validation] == held_out
    assert "5 images to train, 2 for validation, 3 for the test" in three.description
    told = "there are 10 images, of which 5 and 5 would be held out: there is none left to train on"
    assert problems(tmp_path, validation=0.5, test=0.5) == [told]


@pytest.mark.parametrize(
    ("masks", "options", "classes", "labels"),
    [
        ([[[0, 255]], [[255, 0]]], {}, 2, [[0, 1], [1, 0]]),  # 0 and 255 only: two classes
        ([[[0, 255]], [[0, 0]]], {"classes": 2}, 2, [[0, 1], [0, 0]]),
        ([[[0, 1]], [[255, 0]]], {}, 2, [[0, 1], [VOID, 0]]),  # else 255 is void
        ([[[0, 2]], [[255, 1]]], {}, 3, [[0, 2], [VOID, 1]]),
        ([[[0, 2]], [[255, 0]]], {"classes": 5}, 5, [[0, 2], [VOID, 0]]),
    ],
)
def test_what_255_means(tmp_path, masks, options, classes, labels):
    for name, mask in zip("ab", masks, strict=True):
        pair(tmp_path, name, mask)
    data = read_folder(tmp_path, **options)
    assert data.classes == classes
    found = {sample.name: sample.labels.ravel().tolist() for sample in data.train + data.test}
    assert [found["a"], found["b"]] == labels


def test_every_format_in_one_folder(tmp_path):
    pixels = rng.integers(0, 256, (4, 6, 3)).astype(np.uint8)
    masks = {"jpg": [[0, 255]], "npy": [[255, 0]], "png": [[0, 0]], "tiff": [[255, 255]]}
    for kind, mask in masks.items():
        labels = np.tile(np.array(mask, np.uint8), (4, 3))
        images, other = tmp_path / "images", tmp_path / "masks"
        images.mkdir(exist_ok=True)
        other.mkdir(exist_ok=True)
        if kind == "npy":
            np.save(images / "npy.npy", pixels.astype(np.uint16) * 257)
            np.save(other / "npy.npy", labels)
        elif kind == "tiff":
            tifffile.imwrite(images / "tiff.tiff", pixels.astype(np.uint16) * 257, photometric="rgb")
            tifffile.imwrite(other / "tiff.tif", labels.astype(np.uint16))
        else:
            save(images / f"{kind}.{kind}", pixels)
            save(other / f"{kind}.png", labels)
    data = read_folder(tmp_path)
    found = {sample.name: sample for sample in data.train + data.test}
    assert (data.classes, data.channels) == (2, 3)
    assert {name: sample.image.dtype.name for name, sample in found.items()} == {
        "jpg": "uint8", "npy": "uint16", "png": "uint8", "tiff": "uint16"}  # fmt: skip
    assert {name: sample.labels[0, :2].tolist() for name, sample in found.items()} == {
        name: [value // 255 for value in mask[0]] for name, mask in masks.items()
    }
    (tmp_path / "masks" / "jpg.png").unlink()
    save(tmp_path / "masks" / "jpg.jpg", labels)
    assert problems(tmp_path) == [
        "masks/jpg.jpg does not belong here: masks are files in .png .tif .tiff .npy",
        "images/jpg.jpg has no mask: masks/jpg.png (or .tif, .npy) is missing",
    ]


def test_folders_that_are_not_there(tmp_path):
    assert problems(tmp_path / "none") == [f"there is no folder {tmp_path / 'none'}"]
    assert problems(tmp_path) == [f"{tmp_path} has no subfolder images", f"{tmp_path} has no subfolder masks"]
    (tmp_path / "images").mkdir()
    assert problems(tmp_path) == [f"{tmp_path} has no subfolder masks"]
    (tmp_path / "masks").mkdir()
    assert problems(tmp_path) == ["images holds no image (.png .tif .tiff .jpg .jpeg .npy)"]


def test_every_problem_is_told_at_once(tmp_path):
    pair(tmp_path, "good")
    pair(tmp_path, "good2")
    save(tmp_path / "images" / "unlabelled.png", np.zeros((2, 2)))
    save(tmp_path / "masks" / "orphan.tif", np.zeros((2, 2)))
    pair(tmp_path, "sizes", image=np.zeros((3, 2)))
    pair(tmp_path, "colour", image=np.zeros((2, 2, 3)))
    pair(tmp_path, "twice")
    save(tmp_path / "images" / "twice.tif", np.zeros((2, 2)))
    (tmp_path / "images" / "notes.txt").write_text("")
    pair(tmp_path, "broken")
    (tmp_path / "images" / "broken.png").write_bytes(b"\x89PNG\r\n")
    (tmp_path / "masks" / "broken.png").write_bytes(b"")
    pair(tmp_path, "float")
    (tmp_path / "masks" / "float.png").unlink()
    tifffile.imwrite(tmp_path / "masks" / "float.tif", np.zeros((2, 2), np.float32))
    found = problems(tmp_path)
    for expected in (
        "images/unlabelled.png has no mask: masks/unlabelled.png (or .tif, .npy) is missing",
        "masks/orphan.tif has no image: images/orphan.* is missing",
        "masks/sizes.png is 2 x 2 pixels, its image 3 x 2; they must be equal",
        "images/twice.tif and twice.png have the same name; one of them must go",
        "images/notes.txt does not belong here: images are files in .png .tif .tiff .jpg .jpeg .npy",
        "masks/float.tif holds float32 numbers; a mask holds integers, the class indices",
        "images/colour.png has 3 channels, images/good.png 1; all must have the same number",
    ):
        assert expected in found
    assert [p.split(":")[0] for p in found if "cannot be read" in p] == [
        "images/broken.png cannot be read as an image",
        "masks/broken.png cannot be read as an image",
    ]
    assert all(p.count("\n") == 0 for p in found)


def test_labels_out_of_range(tmp_path):
    pair(tmp_path, "a", mask=[[0, 1, 2, 3]])
    pair(tmp_path, "b", mask=[[0, 1, 255, 1]])
    assert read_folder(tmp_path).classes == 4
    assert problems(tmp_path, classes=2) == ["masks/a.png holds 2, 3; labels are 0 to 1, and 255 for void"]
    (tmp_path / "masks" / "a.png").unlink()
    tifffile.imwrite(tmp_path / "masks" / "a.tif", np.array([[0, -1, 300, 1]], np.int32))
    assert problems(tmp_path) == ["masks/a.tif holds -1, 300; labels are 0 to 254, and 255 for void"]


def test_masks_that_number_objects(tmp_path):
    pair(tmp_path, "a", mask=[list(range(40))])
    pair(tmp_path, "b", mask=[list(range(40))])
    (problem,) = problems(tmp_path)
    assert problem.startswith("the masks hold indices up to 39; if these number objects")
    assert read_folder(tmp_path, classes=40).classes == 40


def test_masks_that_teach_nothing(tmp_path):
    pair(tmp_path, "a", mask=[[0, 0]])
    pair(tmp_path, "b", mask=[[0, 0]])
    assert problems(tmp_path) == ["all masks together hold one class only, 0: there is nothing to tell apart"]
    pair(tmp_path, "b", mask=[[0, 1]])
    pair(tmp_path, "a", mask=[[255, 255]])
    assert problems(tmp_path) == ["masks/a.png is void (255) everywhere: there is nothing to learn from it"]


def test_one_image_is_too_few(tmp_path):
    pair(tmp_path, "a")
    assert problems(tmp_path) == [
        f"{tmp_path} holds one image with a mask; two are needed, one to train and one to test"
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": 0}, "the validation share is 0; it must be between 0 and 1"),
        ({"validation": 1.0}, "the validation share is 1.0"),
        ({"test": 2}, "the test share is 2; it must be between 0 and 1"),
        ({"classes": 1}, "the number of classes is 1; it must be 2 to 255"),
        ({"classes": 256}, "the number of classes is 256"),
    ],
)
def test_arguments(tmp_path, options, message):
    assert problems(tmp_path, **options)[0].startswith(message)
