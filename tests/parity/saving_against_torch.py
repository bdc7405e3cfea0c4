"""Files that PyTorch reads and writes: run by scripts/test --full.

python -m pytest tests/parity/saving_against_torch.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

import tinygrad_softmax as tg
from tinygrad_softmax import nn

DTYPES = ["float16", "bfloat16", "float32", "float64", "int8", "int16", "int32"]
DTYPES += ["int64", "uint8", "bool"]


def models(device: str) -> tuple[nn.Module, torch.nn.Module]:
    """The same network here and there, each with values of its own."""
    ours = nn.Sequential(
        nn.Linear(4, 5), nn.Sequential(nn.ReLU(), nn.Linear(5, 5)), nn.Linear(5, 3)
    )
    theirs = torch.nn.Sequential(
        torch.nn.Linear(4, 5),
        torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Linear(5, 5)),
        torch.nn.Linear(5, 3),
    )
    return ours.to(device, "float64"), theirs.double()


def assert_same_outputs(ours: nn.Module, theirs: torch.nn.Module, device: str) -> None:
    x = np.random.default_rng(0).normal(size=(7, 4))
    with tg.no_grad(), torch.no_grad():
        found = ours(tg.tensor(x, device=device)).numpy()
        expected = theirs(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_weights_saved_here_load_in_pytorch(device: str, tmp_path: Path):
    ours, theirs = models(device)
    tg.save(ours.state_dict(), tmp_path / "file")
    loaded = safetensors.torch.load_file(tmp_path / "file")
    assert list(theirs.state_dict()) == list(ours.state_dict())
    theirs.load_state_dict(loaded)
    assert_same_outputs(ours, theirs, device)


def test_weights_saved_by_pytorch_load_here(device: str, tmp_path: Path):
    ours, theirs = models(device)
    safetensors.torch.save_file(theirs.state_dict(), tmp_path / "file")
    ours.load_state_dict(tg.load(tmp_path / "file", device))
    assert_same_outputs(ours, theirs, device)


def test_tied_weights_load_in_pytorch(device: str, tmp_path: Path):
    ours = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)).to(device, "float64")
    theirs = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)).double()
    ours[1].weight, theirs[1].weight = ours[0].weight, theirs[0].weight
    tg.save(ours.state_dict(), tmp_path / "file")
    theirs.load_state_dict(safetensors.torch.load_file(tmp_path / "file"))
    assert_same_outputs(ours, theirs, device)


def test_a_part_of_a_checkpoint_loads_in_pytorch(device: str, tmp_path: Path):
    """The names in a tree are dotted paths, so a prefix finds the model."""
    ours, theirs = models(device)
    tg.save({"epoch": 3, "model": ours.state_dict()}, tmp_path / "file")
    loaded = safetensors.torch.load_file(tmp_path / "file")
    assert all(name.startswith("model.") for name in loaded)
    theirs.load_state_dict(
        {name.removeprefix("model."): value for name, value in loaded.items()}
    )
    assert_same_outputs(ours, theirs, device)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_is_the_same_there(dtype: str, device: str, tmp_path: Path):
    values = np.array([[0.0, 1.0], [3.0, 2.0]])
    ours = {"x": tg.tensor(values, dtype, device), "none": tg.zeros((0, 2), dtype)}
    tg.save(ours, tmp_path / "ours")
    theirs = safetensors.torch.load_file(tmp_path / "ours")
    assert theirs["x"].dtype == getattr(torch, dtype)
    assert theirs["none"].shape == (0, 2)
    assert theirs["x"].double().tolist() == ours["x"].astype("float64").tolist()
    safetensors.torch.save_file(theirs, tmp_path / "theirs")
    found = tg.load(tmp_path / "theirs", device)
    assert found["x"].dtype == ours["x"].dtype
    assert found["x"].tolist() == ours["x"].tolist()


@pytest.mark.parametrize("old", [False, True])
def test_a_file_of_torch_save_says_how_to_convert_it(old: bool, tmp_path: Path):
    path = tmp_path / "model.pt"
    options = {"_use_new_zipfile_serialization": not old}
    torch.save({"w": torch.ones(2)}, path, **options)
    kind = "a pickle" if old else "a zip archive"
    with pytest.raises(tg.CheckpointError, match=f"looks like {kind}.*save_file"):
        tg.load(path)
    # The mend does it.
    new = tmp_path / "new.safetensors"
    safetensors.torch.save_file(torch.load(path, weights_only=True), new)
    assert tg.load(new)["w"].tolist() == [1.0, 1.0]


def test_a_state_dict_of_pytorchs_own_tensors_is_taken():
    theirs, ours = torch.nn.Linear(3, 2), nn.Linear(3, 2)
    ours.load_state_dict(theirs.state_dict(keep_vars=True))
    for key, value in theirs.state_dict().items():
        np.testing.assert_array_equal(ours.state_dict()[key].numpy(), value.numpy())
