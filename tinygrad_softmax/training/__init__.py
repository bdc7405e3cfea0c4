"""A training loop: measuring, stopping early, saving and going on where it stopped."""

from .callbacks import Callback, EarlyStopping, ModelCheckpoint
from .events import TensorBoard
from .history import History
from .metrics import accuracy, confusion_matrix, top_k_accuracy
from .progress import ProgressBar
from .trainer import DivergedError, Trainer

__all__ = [
    "Callback",
    "DivergedError",
    "EarlyStopping",
    "History",
    "ModelCheckpoint",
    "ProgressBar",
    "TensorBoard",
    "Trainer",
    "accuracy",
    "confusion_matrix",
    "top_k_accuracy",
]
