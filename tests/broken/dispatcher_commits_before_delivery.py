"""A dispatcher that counts a record as complete as soon as it has read it, as auto-commit does."""

from services.dispatcher.main import main
from services.dispatcher.source import Source

_accept = Source._accept


def accept(self, consumer, message, broken):
    position = _accept(self, consumer, message, broken)
    if position is not None:
        self.complete([position])
    return position


Source._accept = accept

if __name__ == "__main__":
    raise SystemExit(main())
