"""Data to learn from: handwritten digits, CSV files, splitting and scaling.

Everything here is NumPy on the host; tensors are made when training starts.
"""

from .csv_table import Table, read_table
from .digits import DIGITS, load_digits
from .errors import DataError, listed
from .labelled import LabelledRows, feature_matrix, labelled_rows
from .scaling import StandardScaler
from .splitting import stratified_split

__all__ = [
    "DIGITS",
    "DataError",
    "LabelledRows",
    "StandardScaler",
    "Table",
    "feature_matrix",
    "labelled_rows",
    "listed",
    "load_digits",
    "read_table",
    "stratified_split",
]
