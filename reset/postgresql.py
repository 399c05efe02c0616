"""Connections to PostgreSQL that wait for nothing for ever; loaded only where one is wanted."""

from __future__ import annotations

from typing import Any

import psycopg

from reset.engine import TIMEOUT_SECONDS


class Impatient(psycopg.Connection[Any]):
    """A connection on which nothing waits for ever, not even for a server that has stopped."""

    patience: float = TIMEOUT_SECONDS

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        try:
            return super().wait(gen, interval, timeout or self.patience)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:
                self.pgconn.finish()  # Else the pool would wait for the same answer once more.
            raise
