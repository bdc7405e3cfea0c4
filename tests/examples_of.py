"""How many examples a property test draws, as a part of what the profile says."""

from __future__ import annotations

from hypothesis import settings


def part(fraction: float) -> settings:
    """`@part(0.5)`: half of the examples of the profile in use, 50 of 100 for dev."""
    return settings(max_examples=max(1, int(fraction * settings().max_examples)))
