"""A dispatcher that delivers every fortieth record a second time, as a payment that nobody made."""

import uuid
from dataclasses import replace

from services.dispatcher.main import main
from services.dispatcher.service import LoopSink
from tests.broken.counting import every

_records = LoopSink.records
_chosen = every(40)


def records(self, batch):
    _records(self, [*batch, *(invented(record) for record in batch if _chosen())])


def invented(record):
    fresh = str(uuid.uuid4())
    body = record.body.replace(record.transaction_id.encode(), fresh.encode())
    return replace(record, transaction_id=fresh, body=body)


LoopSink.records = records

if __name__ == "__main__":
    raise SystemExit(main())
