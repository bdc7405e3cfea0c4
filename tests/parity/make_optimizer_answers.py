"""Write PyTorch's answers to the cases of the optimizers (wants torch).

python tests/parity/make_optimizer_answers.py
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[n]) for n in (1, 2)]

import numpy as np
from parity.optimizer_cases import CASES
from parity.optimizer_runs import ANSWERS, Torch, all_rates, kept, packed, run


def main() -> None:
    lib = Torch()
    answers = {f"run {case}": packed(kept(run(case, lib))) for case in CASES}
    answers |= {f"rates {name}": value for name, value in all_rates(lib).items()}
    # One array, and the names: an archive of many small ones is mostly headers.
    sizes = [value.size for value in answers.values()]
    np.savez_compressed(
        ANSWERS,
        names=np.array(list(answers)),
        cuts=np.cumsum(sizes),
        values=np.concatenate([value.ravel() for value in answers.values()]),
    )


if __name__ == "__main__":
    main()
