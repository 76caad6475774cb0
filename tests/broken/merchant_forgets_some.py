"""A merchant-server that answers 200 to one delivery in twenty without writing it to its ledger."""

from services.merchant_server.group_commit import GroupCommit
from services.merchant_server.main import main
from tests.broken.counting import every

_commit = GroupCommit.commit
_chosen = every(20)


async def commit(self, record):
    if not _chosen():
        await _commit(self, record)


GroupCommit.commit = commit

if __name__ == "__main__":
    raise SystemExit(main())
