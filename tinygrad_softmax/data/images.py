"""Image data sets in the files that they are published in. Nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backends.dtypes import get_default_dtype, working_dtype
from ..creation import asarray
from .dataset import Dataset, StackedSamples, checked_indices
from .errors import DataError, listed, no_such_file
from .idx import read_idx

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CIFAR10", "MNIST"]


class _Images(Dataset[tuple[Any, Any]]):
    """Images and their classes, in memory as uint8.

    data: uint8, shape (N, H, W) or (N, H, W, channels).
    targets: int64, shape (N,), each a position in `classes`.
    """

    classes: tuple[str, ...]

    def __init__(
        self,
        data: np.ndarray,
        targets: np.ndarray,
        transform: Callable[[np.ndarray], Any] | None,
        target_transform: Callable[[int], Any] | None,
    ) -> None:
        self.data, self.targets = data, targets
        self.transform, self.target_transform = transform, target_transform

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        (number,) = checked_indices(type(self).__name__, [index], len(self)).tolist()
        image, target = self.data[number], int(self.targets[number])
        if self.transform is None:
            image = asarray(_as_float(image, self.data.ndim == 4))
        else:
            image = self.transform(image)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return image, target

    def __getitems__(self, indices: Sequence[int]) -> Sequence:
        if self.transform is not None or self.target_transform is not None:
            return [self[index] for index in indices]
        rows = checked_indices(type(self).__name__, indices, len(self))
        images = _as_float(self.data[rows], self.data.ndim == 4)
        return StackedSamples(images, self.targets[rows])


def _as_float(images: np.ndarray, has_channels: bool) -> np.ndarray:
    """uint8 (..., H, W[, C]) to (..., C, H, W) of the default dtype, from 0 to 1."""
    images = np.moveaxis(images, -1, -3) if has_channels else images[..., None, :, :]
    dtype = get_default_dtype()
    scaled = np.divide(images, 255, dtype=working_dtype(dtype), order="C")
    return scaled.astype(dtype, copy=False)


class MNIST(_Images):
    """Handwritten digits (LeCun, Cortes and Burges), from four IDX files in a folder.

    root: the folder that holds `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`,
        `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`, each as it is or with
        ".gz"; or one in which torchvision has put them, under `MNIST/raw`.
        Fashion-MNIST and KMNIST come in files of the same names.
    train: the training part, else the test part.
    transform: called with the image, uint8 (28, 28); None makes of it what
        torchvision's `ToTensor` does: a tensor (1, 28, 28) of the default dtype, from 0
        to 1.
    target_transform: called with the class, an int.

    data: uint8, shape (N, 28, 28). targets: int64, shape (N,).

    Unlike torchvision, images are arrays and not PIL's, and there is no download.

    Raises DataError where a file is missing or damaged, or two do not fit together.

    >>> import pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> white, labels = np.full((2, 28, 28), 255, "u1"), np.array([7, 2], "u1")
    >>> tg.data.write_idx(folder / "t10k-images-idx3-ubyte", white)
    >>> tg.data.write_idx(folder / "t10k-labels-idx1-ubyte", labels)
    >>> digits = tg.data.MNIST(folder, train=False)
    >>> images, labels = next(iter(tg.data.DataLoader(digits, batch_size=2)))
    >>> images.shape, images.dtype, images.max().item(), labels.tolist()
    ((2, 1, 28, 28), dtype('float32'), 1.0, [7, 2])
    """

    classes = tuple("0123456789")

    def __init__(
        self,
        root: str | Path,
        train: bool = True,
        transform: Callable[[np.ndarray], Any] | None = None,
        target_transform: Callable[[int], Any] | None = None,
    ) -> None:
        part = "train" if train else "t10k"
        folder = _folder(root, ("MNIST", "raw"))
        image_file = _idx_file(folder, f"{part}-images-idx3-ubyte")
        label_file = _idx_file(folder, f"{part}-labels-idx1-ubyte")
        data = _bytes_of_rank(image_file, 3, "images")
        targets = _bytes_of_rank(label_file, 1, "labels")
        if len(data) != len(targets):
            raise DataError(
                f"{image_file.name} holds {len(data)} images, but {label_file.name} "
                f"{len(targets)} labels: they are not of one set"
            )
        _check_labels(label_file, targets, 8, 1, len(self.classes))
        super().__init__(data, targets.astype(np.int64), transform, target_transform)


class CIFAR10(_Images):
    """Small colour photographs of ten classes (Krizhevsky, 2009), the binary version.

    root: the folder that holds `data_batch_1.bin` to `data_batch_5.bin` and
        `test_batch.bin`; or the one that holds it as `cifar-10-batches-bin`.
    train: the five training files, else the test file.
    transform: called with the image, uint8 (32, 32, 3); None makes of it what
        torchvision's `ToTensor` does: a tensor (3, 32, 32) of the default dtype, from 0
        to 1.
    target_transform: called with the class, an int.

    data: uint8, shape (N, 32, 32, 3). targets: int64, shape (N,). classes: the names of
    the ten classes, of `batches.meta.txt` if it is there.

    torchvision reads the "python version", which is a pickle: reading one runs what
    code is in it. So it is not read here. There is no download.

    Raises DataError where a file is missing or damaged.

    >>> import pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "test_batch.bin").write_bytes(bytes([3]) + bytes(3072))
    >>> photographs = tg.data.CIFAR10(folder, train=False)
    >>> image, label = photographs[0]
    >>> image.shape, photographs.classes[label]
    ((3, 32, 32), 'cat')
    """

    classes = (
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    )

    def __init__(
        self,
        root: str | Path,
        train: bool = True,
        transform: Callable[[np.ndarray], Any] | None = None,
        target_transform: Callable[[int], Any] | None = None,
    ) -> None:
        folder = _folder(root, ("cifar-10-batches-bin",))
        names = [f"data_batch_{i}.bin" for i in range(1, 6)]
        records = [
            _cifar_records(folder / n) for n in (names if train else ["test_batch.bin"])
        ]
        every = np.concatenate(records)
        planes = every[:, 1:].reshape(-1, 3, 32, 32)
        data = planes.transpose(0, 2, 3, 1)  # a view: a batch's planes stay whole
        targets = every[:, 0].astype(np.int64)
        super().__init__(data, targets, transform, target_transform)
        meta = folder / "batches.meta.txt"
        if meta.is_file():
            self.classes = _cifar_classes(meta)


def _folder(root: str | Path, inside: tuple[str, ...]) -> Path:
    """`root`, or the folder in it that holds the files."""
    from pathlib import Path

    folder = Path(root)
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}: check the path")
    deeper = folder.joinpath(*inside)
    return deeper if deeper.is_dir() else folder


def _idx_file(folder: Path, name: str) -> Path:
    # Some copies of MNIST have a point where the others have a hyphen.
    for each in (name, name.replace("-idx", ".idx")):
        for path in (folder / each, folder / f"{each}.gz"):
            if path.is_file():
                return path
    there = sorted(entry.name for entry in folder.iterdir())
    raise DataError(
        f"the folder {folder} holds neither {name} nor {name}.gz; it holds "
        f"{listed(there) or 'nothing'}"
    )


def _bytes_of_rank(path: Path, rank: int, what: str) -> np.ndarray:
    array = read_idx(path)
    if array.ndim != rank or array.dtype != np.uint8:
        raise DataError(
            f"{path.name} holds an array of shape {array.shape} and {array.dtype}; "
            f"expected {what}: {rank} ax{'i' if rank == 1 else 'e'}s of uint8"
        )
    return array


def _check_labels(
    path: Path, labels: np.ndarray, start: int, step: int, classes: int
) -> None:
    """The label of sample i is at byte start + i * step."""
    bad = labels >= classes
    if bad.any():
        first = int(bad.argmax())
        raise DataError(
            f"{path.name}, byte {start + first * step}: expected a class from 0 to "
            f"{classes - 1}, found {labels[first]}"
        )


CIFAR_RECORD = 1 + 3 * 32 * 32


def _cifar_records(path: Path) -> np.ndarray:
    """uint8, shape (N, 3073): the class and the red, green and blue planes."""
    try:
        size = path.stat().st_size
        if size == 0 or size % CIFAR_RECORD:
            whole = size - size % CIFAR_RECORD
            raise DataError(
                f"{path.name}, byte {whole}: expected records of {CIFAR_RECORD} bytes, "
                f"found {size - whole} bytes of one and the end: the file is cut off "
                "or damaged"
            )
        records = np.fromfile(path, np.uint8).reshape(-1, CIFAR_RECORD)
    except FileNotFoundError:
        raise _no_cifar_file(path) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from None
    _check_labels(path, records[:, 0], 0, CIFAR_RECORD, 10)
    return records


def _no_cifar_file(path: Path) -> DataError:
    folder = path.parent
    signs = [folder / "cifar-10-batches-py", folder / "batches.meta"]
    if any(sign.exists() for sign in [*signs, folder / path.stem]):
        return DataError(
            f"there is no file {path}, but the Python version of CIFAR-10, a pickle; "
            "reading a pickle runs whatever code is in it, so this library reads none: "
            "get the binary version, cifar-10-binary.tar.gz, from the same page"
        )
    return no_such_file(path)


def _cifar_classes(path: Path) -> tuple[str, ...]:
    names = tuple(path.read_text("utf-8", errors="replace").split())
    if len(names) != 10:
        raise DataError(
            f"{path.name}: expected the names of 10 classes, one a line, found "
            f"{len(names)}: the file is cut off or damaged"
        )
    return names
