"""`python -m services.merchant_server`."""

from __future__ import annotations

import sys

import uvloop

from services.common import lifecycle, logs, settings
from services.merchant_server.ledger import LedgerError
from services.merchant_server.server import serve
from services.merchant_server.settings import MerchantSettings

_SWITCH_INTERVAL_S = 0.001
"""The ledger's thread gets the interpreter back this soon after an fsync under load, instead of after 5 ms."""


def main() -> int:
    """Runs the merchant-server; 0 after a drain, 1 with a sentence where it cannot start."""
    chosen = settings.load(MerchantSettings)
    logs.setup(chosen.member_name, chosen.log_format, chosen.log_level)
    lifecycle.allow_many_files()
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    try:
        uvloop.run(serve(chosen))
    except LedgerError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0
