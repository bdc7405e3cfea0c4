"""What PyTorch keeps in `torch.nn.utils`: the same functions as in `optim`."""

from ..clipping import clip_grad_norm_, clip_grad_value_

__all__ = ["clip_grad_norm_", "clip_grad_value_"]
