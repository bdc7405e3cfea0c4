"""Data to learn from: datasets and loaders, files and how they are read.

`Dataset`, `DataLoader` and the samplers have the names, signatures and defaults of
`torch.utils.data`. What reads files (IDX, CIFAR-10, CSV, text) never trusts them: a
damaged one is a `DataError` that says where. The tables of the command line are NumPy
on the host; tensors are made when training starts.
"""

from .collate import default_collate, default_convert
from .columns import Columns, read_csv
from .csv_table import Table, read_table
from .dataset import (
    ConcatDataset,
    Dataset,
    IterableDataset,
    StackedSamples,
    Subset,
    TensorDataset,
    random_split,
)
from .digits import DIGITS, load_digits
from .errors import DataError, listed
from .idx import read_idx, write_idx
from .images import CIFAR10, MNIST
from .labelled import LabelledRows, feature_matrix, labelled_rows
from .loader import DataLoader
from .samplers import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from .scaling import StandardScaler
from .splitting import stratified_split
from .text import CharDataset, CharVocabulary, split_text

__all__ = [
    "CIFAR10",
    "DIGITS",
    "MNIST",
    "BatchSampler",
    "CharDataset",
    "CharVocabulary",
    "Columns",
    "ConcatDataset",
    "DataError",
    "DataLoader",
    "Dataset",
    "IterableDataset",
    "LabelledRows",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "StackedSamples",
    "StandardScaler",
    "Subset",
    "SubsetRandomSampler",
    "Table",
    "TensorDataset",
    "WeightedRandomSampler",
    "default_collate",
    "default_convert",
    "feature_matrix",
    "labelled_rows",
    "listed",
    "load_digits",
    "random_split",
    "read_csv",
    "read_idx",
    "read_table",
    "split_text",
    "stratified_split",
    "write_idx",
]
