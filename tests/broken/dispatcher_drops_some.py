"""A dispatcher that completes one record in forty without delivering it."""

from services.dispatcher.main import main
from services.dispatcher.source import Source
from tests.broken.counting import every

_accept = Source._accept
_chosen = every(40)


def accept(self, consumer, message, broken):
    position = _accept(self, consumer, message, broken)
    if position is not None and _chosen():
        self.complete([position])
        return None
    return position


Source._accept = accept

if __name__ == "__main__":
    raise SystemExit(main())
