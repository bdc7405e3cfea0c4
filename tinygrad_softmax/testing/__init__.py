"""Tools for testing ops: the library's own tests use them, and yours may too.

`check_grads` compares a function's gradients with finite differences. `strategies` (a
module to import by name; it needs Hypothesis) draws inputs for property tests:

    from tinygrad_softmax.testing import check_grads, strategies as st

    @given(st.tensors())
    def test_my_op(x):
        check_grads(my_op, x)
"""

from .gradcheck import check_grads

__all__ = ["check_grads"]
