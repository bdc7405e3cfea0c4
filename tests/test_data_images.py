"""MNIST and CIFAR-10 from the files that they are published in."""

from __future__ import annotations

import os

import numpy as np
import pytest

import tinygrad_softmax as tg
from tinygrad_softmax import data
from tinygrad_softmax.data import CIFAR10, MNIST, DataError, DataLoader, write_idx

NAMES = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
]


def digits(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, 28, 28)).astype(np.uint8)
    return images, rng.integers(0, 10, n).astype(np.uint8)


@pytest.fixture
def mnist(tmp_path):
    """Write the four files: 6 and 4 images."""

    def write(suffix="", folder=tmp_path, rename=lambda name: name):
        folder.mkdir(parents=True, exist_ok=True)
        arrays = [*digits(6, 0), *digits(4, 1)]
        for name, array in zip(NAMES, arrays, strict=True):
            write_idx(folder / (rename(name) + suffix), array)
        return tmp_path

    return write


def as_pytorch(images: np.ndarray) -> np.ndarray:
    """torchvision's ToTensor: channels first, float32, divided by 255."""
    if images.ndim == 3:
        images = images[:, :, :, None]
    return images.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_mnist(mnist, suffix):
    root = mnist(suffix)
    for train, n, seed in ((True, 6, 0), (False, 4, 1)):
        images, labels = digits(n, seed)
        dataset = MNIST(root, train=train)
        assert len(dataset) == n
        np.testing.assert_array_equal(dataset.data, images)
        np.testing.assert_array_equal(dataset.targets, labels)
        assert dataset.targets.dtype == np.int64
        assert dataset.classes == tuple("0123456789")


def test_the_places_and_names_of_others(mnist, tmp_path):
    mnist(".gz", tmp_path / "MNIST" / "raw")
    assert len(MNIST(str(tmp_path))) == 6
    mnist("", tmp_path / "kaggle", lambda name: name.replace("-idx", ".idx"))
    assert len(MNIST(tmp_path / "kaggle", train=False)) == 4


def test_samples_and_batches_are_those_of_to_tensor(mnist, device):
    images, labels = digits(6, 0)
    with tg.use_device(device):
        dataset = MNIST(mnist())
        image, label = dataset[-1]
        assert isinstance(label, int)
        np.testing.assert_array_equal(image.numpy(), as_pytorch(images)[5])
        assert image.dtype == np.float32
        x, y = next(iter(DataLoader(dataset, 4)))
    np.testing.assert_array_equal(x.numpy(), as_pytorch(images)[:4])
    assert x.dtype == np.float32
    assert y.tolist() == labels[:4].tolist()
    assert x.device == y.device == tg.zeros(1, device=device).device


def test_the_default_dtype_is_that_of_the_images(mnist):
    tg.set_default_dtype("float16")
    try:
        x, _ = next(iter(DataLoader(MNIST(mnist()), 6)))
        assert x.dtype == np.float16
        np.testing.assert_allclose(
            x.numpy(), as_pytorch(digits(6, 0)[0]), rtol=2**-11, atol=0
        )
    finally:
        tg.set_default_dtype("float32")


def test_transforms(mnist):
    images, labels = digits(6, 0)
    seen = []

    def transform(image):
        seen.append((image.dtype, image.shape))
        return image.sum(dtype=np.int64)

    dataset = MNIST(mnist(), transform=transform, target_transform=lambda y: -y)
    assert dataset[2] == (images[2].sum(), -int(labels[2]))
    ((x, y),) = DataLoader(dataset, 6)
    assert x.tolist() == images.sum(axis=(1, 2), dtype=np.int64).tolist()
    assert y.tolist() == [-int(label) for label in labels]
    assert set(seen) == {(np.dtype("uint8"), (28, 28))}


def test_iteration_ends_and_indices_are_checked(mnist):
    dataset = MNIST(mnist())
    assert len(list(dataset)) == 6
    with pytest.raises(
        IndexError, match="MNIST: sample 6 was asked for, but there are"
    ):
        dataset.__getitems__([6])
    assert len(data.Subset(dataset, [5, 0])) == 2


def test_a_file_of_mnist_that_is_not_there(mnist, tmp_path):
    root = mnist()
    (root / NAMES[1]).unlink()
    words = "holds neither train-labels-idx1-ubyte nor train-labels-idx1-ubyte.gz; it "
    with pytest.raises(DataError, match=words + "holds 't10k-images"):
        MNIST(root)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="it holds nothing"):
        MNIST(tmp_path / "empty")
    with pytest.raises(DataError, match=r"there is no folder .*nowhere"):
        MNIST(tmp_path / "nowhere")


def test_files_of_mnist_that_do_not_fit(mnist):
    root = mnist()
    write_idx(root / NAMES[1], np.zeros(5, np.uint8))
    with pytest.raises(
        DataError, match=r"holds 6 images, but .* 5 labels: they are not"
    ):
        MNIST(root)
    write_idx(root / NAMES[1], np.array([0, 9, 10, 3, 11, 2], np.uint8))
    words = "train-labels-idx1-ubyte, byte 10: expected a class from 0 to 9, found 10"
    with pytest.raises(DataError, match=words):
        MNIST(root)
    write_idx(root / NAMES[1], np.zeros((6, 1), np.uint8))
    with pytest.raises(
        DataError, match=r"shape \(6, 1\) and uint8; expected labels: 1"
    ):
        MNIST(root)
    write_idx(root / NAMES[0], np.zeros((6, 28, 28), np.float32))
    with pytest.raises(
        DataError, match=r"and float32; expected images: 3 axes of uint8"
    ):
        MNIST(root)
    (root / NAMES[0]).write_bytes(b"\0\0\x08\x03\0\0")
    with pytest.raises(
        DataError, match="train-images-idx3-ubyte, byte 6: the file ends"
    ):
        MNIST(root)


# -- CIFAR-10 ----------------------------------------------------------------------

BATCHES = [f"data_batch_{i}.bin" for i in range(1, 6)]


def photographs(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, 32, 32, 3)).astype(np.uint8)
    return images, rng.integers(0, 10, n).astype(np.uint8)


def record(image: np.ndarray, label: int) -> bytes:
    """One record: the label, and the red, the green and the blue plane row by row."""
    planes = [image[row, column, c] for c in range(3) for row in range(32)
              for column in range(32)]  # fmt: skip
    return bytes([label, *planes])


@pytest.fixture
def cifar(tmp_path):
    for i, name in enumerate([*BATCHES, "test_batch.bin"]):
        images, labels = photographs(2, i)
        content = [record(x, int(y)) for x, y in zip(images, labels, strict=True)]
        (tmp_path / name).write_bytes(b"".join(content))
    return tmp_path


def test_cifar(cifar, device):
    parts = [photographs(2, i) for i in range(5)]
    images = np.concatenate([x for x, _ in parts])
    labels = np.concatenate([y for _, y in parts])
    with tg.use_device(device):
        dataset = CIFAR10(cifar)
        np.testing.assert_array_equal(dataset.data, images)
        assert dataset.targets.tolist() == labels.tolist()
        image, label = dataset[3]
        np.testing.assert_array_equal(image.numpy(), as_pytorch(images)[3])
        assert label == labels[3]
        ((x, y),) = DataLoader(dataset, 10)
    np.testing.assert_array_equal(x.numpy(), as_pytorch(images))
    assert x.numpy().flags.c_contiguous
    assert y.tolist() == labels.tolist()
    test = CIFAR10(cifar, train=False)
    np.testing.assert_array_equal(test.data, photographs(2, 5)[0])
    assert test.classes[3] == "cat"


def test_cifar_in_its_own_folder_with_names(cifar, tmp_path):
    inside = tmp_path / "root" / "cifar-10-batches-bin"
    inside.mkdir(parents=True)
    for path in cifar.glob("*.bin"):
        path.rename(inside / path.name)
    (inside / "batches.meta.txt").write_text("\n".join("abcdefghij") + "\n\n")
    assert CIFAR10(tmp_path / "root", train=False).classes == tuple("abcdefghij")
    (inside / "batches.meta.txt").write_text("\n".join("abcdefghi"))
    with pytest.raises(DataError, match="the names of 10 classes, one a line, found 9"):
        CIFAR10(tmp_path / "root")


def test_a_file_of_cifar_that_is_cut_off_anywhere_is_refused(cifar):
    path = cifar / "test_batch.bin"
    assert path.stat().st_size == 2 * 3073
    for n in reversed(range(2 * 3073)):
        os.truncate(path, n)
        if n == 3073:
            assert len(CIFAR10(cifar, train=False)) == 1  # a whole record
            continue
        with pytest.raises(DataError) as caught:
            CIFAR10(cifar, train=False)
        whole = n - n % 3073
        assert str(caught.value).startswith(
            f"test_batch.bin, byte {whole}: expected records of 3073 bytes, found "
            f"{n - whole} bytes of one and the end"
        )


def test_a_label_of_cifar_out_of_range(cifar):
    path = cifar / "data_batch_4.bin"
    content = bytearray(path.read_bytes())
    content[3073] = 10
    path.write_bytes(content)
    words = r"data_batch_4\.bin, byte 3073: expected a class from 0 to 9, found 10"
    with pytest.raises(DataError, match=words):
        CIFAR10(cifar)


@pytest.mark.parametrize(
    "sign", ["cifar-10-batches-py/", "data_batch_1", "batches.meta"]
)
def test_the_pickled_version_is_named_and_not_read(tmp_path, sign):
    if sign.endswith("/"):
        (tmp_path / sign).mkdir()
    else:
        # Reading this pickle would raise another error than the expected one.
        (tmp_path / sign).write_bytes(b"cbuiltins\nexit\n(I3\ntR.")
    words = "a pickle; reading a pickle runs whatever code is in it.*cifar-10-binary"
    with pytest.raises(DataError, match=words):
        CIFAR10(tmp_path)


def test_a_file_of_cifar_that_is_not_there(cifar, tmp_path):
    (cifar / "data_batch_3.bin").unlink()
    with pytest.raises(
        DataError, match=r"there is no file .*data_batch_3\.bin: did you"
    ):
        CIFAR10(cifar)
    (cifar / "data_batch_3.bin").mkdir()
    with pytest.raises(DataError, match=r"data_batch_3\.bin"):
        CIFAR10(cifar)
    with pytest.raises(DataError, match="there is no folder"):
        CIFAR10(tmp_path / "nowhere")
