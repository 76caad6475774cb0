"""A dispatcher that holds every fortieth record back until the next one comes, and exchanges their bodies."""

from services.dispatcher.main import main
from services.dispatcher.record import Record
from services.dispatcher.service import LoopSink
from tests.broken.counting import every

_records = LoopSink.records
_chosen = every(40)
_held: list[Record] = []


def records(self, batch):
    whole = []
    for record in batch:
        if _held:
            first = _held.pop()
            first.body, record.body = record.body, first.body
            whole += [first, record]
        elif _chosen():
            _held.append(record)
        else:
            whole.append(record)
    if whole:
        _records(self, whole)


LoopSink.records = records

if __name__ == "__main__":
    raise SystemExit(main())
