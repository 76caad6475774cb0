"""An ingestion-api that answers 201 as soon as the event waits for the writer."""

import time

from services.ingestion_api import group_commit
from services.ingestion_api.main import main
from services.ingestion_api.store import Outcome


async def submit(self, event):
    self._waiting.put([group_commit._Ticket([event], time.monotonic() + self._deadline_s, self._loop)])
    return Outcome.ACCEPTED


group_commit.GroupCommit.submit = submit

if __name__ == "__main__":
    raise SystemExit(main())
