"""A Log Analytics workspace for tests: the tables that our queries read, and KQL that is really executed.

Rows come from log records as the Python worker hands them to the host: level and formatted message, nothing
else. `duckdb-kql` executes the queries as they are deployed. What it would accept and Azure would not is for
Microsoft's own parser to find: `test_queries.py`.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb_kql

from shared.composition import QUIET_LOGGERS

QUERIES = Path(__file__).parents[2] / "infra" / "queries"
EVENTS = (QUERIES / "events.kql").read_text()

TABLES = {
    "AppTraces": {
        "TimeGenerated": "datetime",
        "Message": "string",
        "SeverityLevel": "int",
        "Properties": "dynamic",
    },
    "AppExceptions": {
        "TimeGenerated": "datetime",
        "OuterMessage": "string",
        "ExceptionType": "string",
        "OperationName": "string",
        "Details": "dynamic",
    },
    "StorageQueueLogs": {"TimeGenerated": "datetime", "OperationName": "string", "Uri": "string"},
}
"""Of each table the columns that matter here.
Source: https://learn.microsoft.com/azure/azure-monitor/reference/tables-index"""

_SQL_TYPES = {"datetime": "TIMESTAMP", "string": "VARCHAR", "int": "INTEGER", "dynamic": "JSON"}
_SEVERITIES = {logging.INFO: 1, logging.WARNING: 2, logging.ERROR: 3, logging.CRITICAL: 4}


@dataclass(frozen=True)
class Line:
    """What the host gets of one record."""

    at: datetime
    level: int
    message: str


class WorkerLog(logging.Handler):
    """Takes records as the worker's own handler does: level and formatted message, from INFO on."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        super().__init__(logging.INFO)
        self._now = now
        self.lines: list[Line] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(Line(self._now(), record.levelno, self.format(record)))

    def __enter__(self) -> "WorkerLog":
        root = logging.getLogger()
        self._level = root.level
        root.setLevel(logging.INFO)
        for name in QUIET_LOGGERS:  # as the app does when it starts; `clean_environment` takes it back
            logging.getLogger(name).setLevel(logging.WARNING)
        root.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        root = logging.getLogger()
        root.removeHandler(self)
        root.setLevel(self._level)


def query_text(name: str) -> str:
    """The query of a file below `infra/queries`, as it is deployed."""
    return f"{EVENTS}\n{(QUERIES / name).read_text()}"


def query_names(folder: str) -> list[str]:
    return sorted(f"{folder}/{path.name}" for path in (QUERIES / folder).glob("*.kql"))


class Workspace:
    """Rows of all tables, and queries over them."""

    def __init__(self) -> None:
        self._connection = duckdb_kql.connect()
        for table, columns in TABLES.items():
            described = ", ".join(f'"{name}" {_SQL_TYPES[kind]}' for name, kind in columns.items())
            self._connection.execute(f'CREATE TABLE "all {table}" ({described})')

    def add(self, table: str, at: datetime, *values: Any) -> None:
        """A row: its time, and the first of its other columns in the order of `TABLES`."""
        row = (_naive(at), *values, *[None] * (len(TABLES[table]) - 1 - len(values)))
        places = ", ".join("?" * len(row))
        self._connection.execute(f'INSERT INTO "all {table}" VALUES ({places})', row)

    def take(self, lines: Iterable[Line]) -> None:
        for line in lines:
            self.add("AppTraces", line.at, line.message, _SEVERITIES[line.level])

    def query(self, text: str, now: datetime, reads: timedelta = timedelta(days=30)) -> list[dict[str, Any]]:
        """The rows that the query gives at this moment, when it may read so far back."""
        begin, end = _naive(now - reads), _naive(now)
        for table in TABLES:
            self._connection.execute(
                f'CREATE OR REPLACE VIEW "{table}" AS SELECT * FROM "all {table}" '
                f"WHERE TimeGenerated > '{begin}' AND TimeGenerated <= '{end}'"
            )
        pinned = f"set query_now = datetime({end.isoformat()}Z);\n{text}"
        found = duckdb_kql.query(self._connection, pinned)
        return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


def _naive(moment: datetime) -> datetime:
    """In UTC, as all times of a workspace are."""
    return moment.astimezone(UTC).replace(tzinfo=None)
