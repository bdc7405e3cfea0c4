"""Saving and loading: `save`, `load`, and the files beneath.

- `checkpoints.py`: `save` and `load`, a tree of values as one file. Read it first.
- `trees.py`: a tree as JSON and named arrays, and back.
- `tensor_files.py`: named arrays and text as a safetensors file, checked as it is read.
- `atomic.py`: how a file gets its content whole or not at all.

No format here uses pickle: nothing in a file is ever executed.
"""

from .atomic import write_atomically
from .checkpoints import load, read_metadata, save
from .tensor_files import CheckpointError

__all__ = ["CheckpointError", "load", "read_metadata", "save", "write_atomically"]
