"""Write PyTorch's answers to the cases of a family, or of all (wants torch).

python tests/parity/make_answers.py [NAME ...]
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[n]) for n in (1, 2)]

from parity.harness import FAMILIES, Torch, cases_of, keep_answers, run


def main() -> None:
    for family in sys.argv[1:] or FAMILIES:
        library = Torch()
        keep_answers(family, {c.name: run(c, library) for c in cases_of(family)})


if __name__ == "__main__":
    main()
