"""Which calls a bug strikes: seeded bugs must strike in every run."""

from collections.abc import Callable


def every(number: int) -> Callable[[], bool]:
    """A function that is true at every `number`th call."""
    calls = 0

    def chosen() -> bool:
        nonlocal calls
        calls += 1
        return calls % number == 0

    return chosen
