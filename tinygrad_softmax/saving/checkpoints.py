"""`save` and `load`: a tree of tensors and plain values as one safetensors file.

Every tensor is a tensor of the file under its dotted path. All else is JSON in the
file's metadata, under the key `tinygrad_softmax.tree`:

    {"version": 1, "crc32": "89abcdef", "tree": ...}

`tree` is described in trees.py. `crc32` is of everything that was saved, so that a
checkpoint which rots on its disk is not trained on. A file without this key is of
another program, and is a dict of its tensors.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..backends import resolve_device
from ..creation import asarray
from .tensor_files import (
    CheckpointError,
    parse_json,
    read_tensors,
    read_text,
    write_tensors,
)
from .trees import flatten, restore

__all__ = ["load", "read_metadata", "save"]

TREE = "tinygrad_softmax.tree"
VERSION = 1
START = f'{{"version":{VERSION},"crc32":"'  # how the text of a tree begins


def save(
    obj: Any,
    path: str | os.PathLike[str],
    *,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a tree of tensors and plain values to one file, whole or not at all.

    The file is a safetensors file. A `state_dict` is stored under its own keys, so that
    PyTorch reads it: `torch_model.load_state_dict(safetensors.torch.load_file(path))`.
    In a tree each tensor has its dotted path as its name, "model.0.weight"; where two
    paths are the same text, the later one gets a number, "model.0.weight#2".

    The values come back bit for bit, and the order of dicts with them. What a file does
    not hold: gradients and graphs, that a tensor was a Parameter, its device, and that
    two tensors shared memory (each is written, with its values).

    Args:
        obj: dicts (with str or int keys), lists and tuples of Tensors on any device,
            NumPy arrays and scalars of the library's dtypes, Python numbers, bools,
            text and None. An OrderedDict or a Counter comes back
            as a dict.
        path: the file. It is replaced in one step; how is in `write_atomically`.
        metadata: text to keep beside it, for `read_metadata` and other programs.

    Raises:
        TypeError: a value that can't be saved, by its path in the tree. Nothing is
            written.
        ValueError: the tree is over 100 levels deep, or the plain values over 32 MB.
        OSError: the file can't be written. The old one is as it was.
        MissingExtraError: safetensors is not installed.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     state = {"model": {"w": tg.ones(2)}, "epoch": 3, "best": (0.5, None)}
    ...     tg.save(state, f"{folder}/checkpoint.safetensors")
    ...     tg.load(f"{folder}/checkpoint.safetensors")
    {'model': {'w': tensor([1., 1.])}, 'epoch': 3, 'best': (0.5, None)}
    """
    node, arrays = flatten(obj)
    texts = _checked(metadata)
    tree = json.dumps(node, separators=(",", ":"), allow_nan=False)
    text = f'{START}","tree":{tree}}}'
    checksum = _checksum(text, arrays, texts)
    text = text.replace('"crc32":""', f'"crc32":"{checksum}"', 1)
    write_tensors(path, arrays, {TREE: text, **texts})


def load(path: str | os.PathLike[str], device: str | None = None) -> Any:
    """Read a file that `save` wrote, or a safetensors file of another program.

    Args:
        path: the file.
        device: where its Tensors are placed; None: on the default device. NumPy arrays
            stay NumPy arrays.

    Returns:
        The tree, as it was saved; of another program's file a dict of its Tensors.

    Raises:
        CheckpointError: the file is damaged or of another format; the message says
            which. Nothing in a file is ever executed.
        FileNotFoundError: there is no such file; other OSErrors where it can't be read.
        ImportError: it has bfloat16, and ml_dtypes is not installed; or safetensors is
            not.

    >>> import tempfile
    >>> from safetensors.numpy import save_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_file({"weight": np.ones(2)}, f"{folder}/foreign.safetensors")
    ...     tg.load(f"{folder}/foreign.safetensors")
    {'weight': tensor([1., 1.], dtype=float64)}
    """
    resolve_device(device)  # a mistake there is none of the file's

    def placed(array: np.ndarray):
        return asarray(array, device=device)

    arrays, metadata = read_tensors(path)
    text = metadata.pop(TREE, None)
    path = os.fspath(path)
    if text is None:
        # The checksum can't notice a damaged key: it is found by that key.
        if any(each.startswith(START) for each in metadata.values()):
            raise CheckpointError(f"{path} is damaged: its tree is not under {TREE!r}")
        return {name: placed(array) for name, array in arrays.items()}
    try:
        about = parse_json(text)
        _check_version(about, path)
        checksum = about["crc32"]
        blank = text.replace(f'"crc32":"{checksum}"', '"crc32":""', 1)
        if checksum != _checksum(blank, arrays, metadata):
            raise ValueError(
                "its checksum is not that of its content, which changed since it was "
                f"saved (or another program kept the metadata {TREE!r})"
            )
        return restore(about["tree"], arrays, placed)
    except CheckpointError:
        raise
    except RecursionError:
        raise CheckpointError(f"{path} is damaged: its tree is too deep") from None
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise CheckpointError(f"{path} is damaged: {why}") from None


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The `metadata` that was saved in a file. Its tensors are not read.

    Raises CheckpointError and OSError as `load` does, as far as the header shows it.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tg.save([], f"{folder}/file", metadata={"made by": "this example"})
    ...     read_metadata(f"{folder}/file")
    {'made by': 'this example'}
    """
    metadata = read_text(path)
    metadata.pop(TREE, None)
    return metadata


def _checked(metadata: Mapping[str, str] | None) -> dict[str, str]:
    texts = dict(metadata or {})
    for key, text in texts.items():
        if not (isinstance(key, str) and isinstance(text, str)):
            raise TypeError(
                f"save: metadata has {key!r}: {text!r}; expected text for both; mend: "
                "str(value), or put it into the tree"
            )
        try:
            (key + text).encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"save: metadata {key!r} is no Unicode text ({error}); mend: put it "
                "into the tree"
            ) from None
    if TREE in texts:
        raise ValueError(f"save: the metadata {TREE!r} is what save itself writes")
    return texts


def _check_version(about: Any, path: str) -> None:
    if not isinstance(about, dict) or type(about.get("version")) is not int:
        raise ValueError("its tree has no version")
    if about["version"] > VERSION:
        raise CheckpointError(
            f"{path} was written by a newer version of tinygrad_softmax (its format is "
            f"{about['version']}, and this one reads {VERSION}): upgrade to load it"
        )
    if about["version"] != VERSION:
        raise ValueError(f"its format is {about['version']}, which never was")


def _checksum(
    text: str, arrays: dict[str, np.ndarray], metadata: dict[str, str]
) -> str:
    """CRC-32 of a tree's text, of the metadata, and of each tensor."""
    from zlib import crc32

    value = crc32(json.dumps([text, sorted(metadata.items())]).encode())
    for name, array in sorted(arrays.items()):
        about = json.dumps([name, array.dtype.name, array.shape])
        value = crc32(about.encode(), value)
        value = crc32(array.reshape(-1).view(np.uint8).data, value)
    return f"{value:08x}"
