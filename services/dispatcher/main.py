"""Starts the dispatcher, and ends the process when it has ended."""

from __future__ import annotations

import logging
import os
import sys

import uvloop

from services.common import logs, settings
from services.dispatcher.service import Service
from services.dispatcher.settings import DispatcherSettings


def main() -> int:
    """Runs the dispatcher until SIGTERM or SIGINT (exit 0) or something fatal (exit 1)."""
    config = settings.load(DispatcherSettings)
    logs.setup(config.member_name, config.log_format, config.log_level)

    async def run() -> None:
        try:
            code = await Service(config).run()
        except SystemExit as error:
            sys.stderr.write(f"{error}\n")
            code = 2
        logging.shutdown()  # writes the lines that are still gathered
        # What was not over within the grace (a frozen Postgres, unreachable brokers) must not hold the process up:
        # neither threads inside a client nor tasks are waited for.
        os._exit(code)

    uvloop.run(run())
    return 0
