"""The ledger in a SQL database: SQLite, Postgres (Aurora's too) or whatever else SQLAlchemy drives asynchronously.

Reference: https://docs.sqlalchemy.org/en/21/orm/extensions/asyncio.html
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from alembic.util import CommandError
from sqlalchemy import Select, and_, case, delete, func, or_, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from headrace.errors import ConfigurationError, InvalidInputError, LedgerUnavailableError
from headrace.ledger.migrating import migrate
from headrace.ledger.pricing import Pricing
from headrace.ledger.rows import (
    answer_row,
    evaluation_in,
    evaluation_row,
    feedback_in,
    feedback_row,
    record_in,
)
from headrace.ledger.tables import AnswerRow, EvaluationRow, FeedbackRow
from headrace.ledger.urls import make_engine
from headrace.protocols import DayUsage, KeptRecord, RecordFilter, RecordPage, Unanswered
from headrace.types import AnswerRecord, Evaluation, FeedbackRecord, LedgerEntry, without_questions

# A database that has slept takes its time to wake up; nobody waits for these but an admin, and maintenance.
DEADLINE_SECONDS = 20.0
NEAREST_SHOWN = 5
ANSWERS = AnswerRow.__table__  # type: ignore[attr-defined] # SQLModel gives it to each table
FEEDBACK = FeedbackRow.__table__  # type: ignore[attr-defined]
EVALUATIONS = EvaluationRow.__table__  # type: ignore[attr-defined]
# The same in both, but for the type.
INSERTS: Mapping[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
OF_THIS_RECORD = and_(
    FEEDBACK.c.record == ANSWERS.c.id,
    FEEDBACK.c.tenant == ANSWERS.c.tenant,
    # Nobody has a say in another's answer.
    FEEDBACK.c.principal == ANSWERS.c.principal,
)


class SqlLedger:
    """A Ledger on an engine, which stays the opener's to close."""

    def __init__(self, engine: AsyncEngine, url: str, pricing: Pricing, *, keeps_words: bool) -> None:
        self._engine = engine
        self._url = url
        self._is_migrated = False
        self._pricing = pricing
        self._keeps_words = keeps_words

    async def check(self) -> None:
        async with self._connection() as connection:
            await connection.execute(text("SELECT 1"))

    async def migrate(self) -> None:
        if not self._is_migrated:
            with _faults():
                await asyncio.to_thread(migrate, self._url)
            self._is_migrated = True

    async def write(self, entries: Sequence[LedgerEntry]) -> None:
        answers = {entry.id: answer_row(entry, self._pricing) for entry in entries if isinstance(entry, AnswerRecord)}
        said = {(e.record, e.tenant, e.principal): feedback_row(e) for e in entries if isinstance(e, FeedbackRecord)}
        insert = INSERTS[self._engine.dialect.name]
        async with self._connection() as connection:
            if answers:
                await connection.execute(insert(ANSWERS).on_conflict_do_nothing(), list(answers.values()))
            if said:
                last = insert(FEEDBACK)
                news = {name: last.excluded[name] for name in ("at", "rating", "comment")}
                whose = ["record", "tenant", "principal"]
                await connection.execute(
                    last.on_conflict_do_update(
                        index_elements=whose, set_=news, where=last.excluded["at"] >= FEEDBACK.c.at
                    ),
                    list(said.values()),
                )

    async def usage(self, since: float, *, tenant: str | None = None) -> list[DayUsage]:
        query = (
            select(
                ANSWERS.c.tenant,
                ANSWERS.c.day,
                func.count().label("answers"),
                _count(ANSWERS.c.verdict.in_(["hit", "shared"])).label("cached"),
                _count(ANSWERS.c.mode == "refused").label("refused"),
                _count(ANSWERS.c.error != "").label("failed"),
                func.sum(ANSWERS.c.tokens_spent).label("tokens"),
                func.coalesce(func.sum(ANSWERS.c.dollars), 0.0).label("dollars"),
                _count(ANSWERS.c.dollars.is_(None)).label("unpriced"),
                _count(FEEDBACK.c.rating == "up").label("liked"),
                _count(FEEDBACK.c.rating == "down").label("disliked"),
            )
            .select_from(ANSWERS.outerjoin(FEEDBACK, OF_THIS_RECORD))
            .where(ANSWERS.c.at >= since)
            .group_by(ANSWERS.c.tenant, ANSWERS.c.day)
            .order_by(ANSWERS.c.day.desc(), ANSWERS.c.tenant)
        )
        if tenant is not None:
            query = query.where(ANSWERS.c.tenant == tenant)
        return [DayUsage(**row) for row in await self._rows(query)]

    async def first_token_seconds(self, tenant: str, since: float, *, share: float) -> float | None:
        measured = (
            select(ANSWERS.c.first_token_seconds)
            .where(ANSWERS.c.tenant == tenant, ANSWERS.c.at >= since, ANSWERS.c.first_token_seconds.is_not(None))
            .order_by(ANSWERS.c.first_token_seconds)
        )
        (counted,) = await self._rows(select(func.count().label("n")).select_from(measured.subquery()))
        place = min(int(share * counted["n"]), counted["n"] - 1)
        found = await self._rows(measured.offset(max(place, 0)).limit(1))
        return float(found[0]["first_token_seconds"]) if found else None

    async def unanswered(self, tenant: str, since: float, *, limit: int) -> list[Unanswered]:
        question = case((ANSWERS.c.asked_as != "", ANSWERS.c.asked_as), else_=ANSWERS.c.question).label("asked")
        query = (
            select(
                question,
                func.count().label("times"),
                func.max(ANSWERS.c.at).label("last_at"),
                func.max(ANSWERS.c.nearest).label("nearest"),
            )
            .where(ANSWERS.c.tenant == tenant, ANSWERS.c.mode == "refused", ANSWERS.c.at >= since)
            .group_by(text("asked"))
            .order_by(text("times DESC"), text("last_at DESC"))
            .limit(limit)
        )
        return [
            Unanswered(row["asked"], row["times"], row["last_at"], json.loads(row["nearest"])[:NEAREST_SHOWN])
            for row in await self._rows(query)
        ]

    async def records(self, wanted: RecordFilter) -> RecordPage:
        query = _kept(ANSWERS.c.tenant == wanted.tenant, ANSWERS.c.at >= wanted.since)
        match wanted.kind:
            case "refused":
                query = query.where(ANSWERS.c.mode == "refused")
            case "failed":
                query = query.where(ANSWERS.c.error != "")
            case "slow":
                query = query.where(ANSWERS.c.first_token_seconds >= wanted.slow_seconds)
            case "down" | "up" as rating:
                query = query.where(FEEDBACK.c.rating == rating)
        if wanted.after:
            at, name = _read_cursor(wanted.after)
            query = query.where(or_(ANSWERS.c.at < at, and_(ANSWERS.c.at == at, ANSWERS.c.id < name)))
        query = query.order_by(ANSWERS.c.at.desc(), ANSWERS.c.id.desc()).limit(wanted.limit + 1)
        found = [_record(row) for row in await self._rows(query)]
        page = found[: wanted.limit]
        last = page[-1].record if len(found) > wanted.limit else None
        return RecordPage(page, f"{last.at!r}/{last.id}" if last else "")

    async def record(self, tenant: str, record_id: str) -> KeptRecord | None:
        found = await self._rows(_kept(ANSWERS.c.tenant == tenant, ANSWERS.c.id == record_id))
        return _record(found[0]) if found else None

    async def dollars(self, tenant: str, record_ids: Sequence[str]) -> float | None:
        wanted = sorted(set(record_ids))
        query = select(func.count(ANSWERS.c.dollars).label("priced"), func.sum(ANSWERS.c.dollars).label("dollars"))
        (found,) = await self._rows(query.where(ANSWERS.c.tenant == tenant, ANSWERS.c.id.in_(wanted)))
        return float(found["dollars"]) if found["priced"] == len(wanted) > 0 else None

    async def keep_evaluation(self, evaluation: Evaluation) -> None:
        if not self._keeps_words:
            evaluation = without_questions(evaluation)
        async with self._connection() as connection:
            await connection.execute(EVALUATIONS.insert(), evaluation_row(evaluation))

    async def evaluations(self, tenant: str, *, limit: int) -> list[Evaluation]:
        shown = [column for column in EVALUATIONS.c if column.name != "questions"]
        newest = (EVALUATIONS.c.at.desc(), EVALUATIONS.c.id.desc())
        query = select(*shown).where(EVALUATIONS.c.tenant == tenant).order_by(*newest).limit(limit)
        return [evaluation_in(row) for row in await self._rows(query)]

    async def evaluation(self, tenant: str, evaluation_id: str) -> Evaluation | None:
        whose = (EVALUATIONS.c.tenant == tenant, EVALUATIONS.c.id == evaluation_id)
        found = await self._rows(select(EVALUATIONS).where(*whose))
        return evaluation_in(found[0]) if found else None

    async def forget(self, tenant: str, principal: str) -> int:
        async with self._connection() as connection:
            for table in (EVALUATIONS, FEEDBACK, ANSWERS):
                whose = (table.c.tenant == tenant, table.c.principal == principal)
                done = await connection.execute(delete(table).where(*whose))
            return int(done.rowcount)

    async def delete_before(self, at: float) -> int:
        async with self._connection() as connection:
            for table in (EVALUATIONS, FEEDBACK):
                await connection.execute(delete(table).where(table.c.at < at))
            done = await connection.execute(delete(ANSWERS).where(ANSWERS.c.at < at))
            return int(done.rowcount)

    async def _rows(self, query: Select[Any]) -> list[Mapping[str, Any]]:
        async with self._connection() as connection:
            return [dict(row) for row in (await connection.execute(query)).mappings()]

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction, which ends well or not at all; faults in our words."""
        with _faults():
            async with asyncio.timeout(DEADLINE_SECONDS), self._engine.begin() as connection:
                yield connection


@asynccontextmanager
async def open_sql_ledger(url: str, *, pricing: Pricing, keeps_words: bool = True) -> AsyncIterator[SqlLedger]:
    """The ledger in the database at `url`. Connects at its first call, closes its connections at the end.

    Records come to it as its queue lets them; of evaluations it keeps the questions only where it `keeps_words`.
    Raises ConfigurationError for a URL that names no database that is known here.
    """
    # It imports the driver.
    engine = await asyncio.to_thread(make_engine, url)
    try:
        yield SqlLedger(engine, url, pricing, keeps_words=keeps_words)
    finally:
        await engine.dispose()


def _kept(*conditions: Any) -> Select[Any]:
    """Records with what was said of them; feedback's columns begin with `said_`."""
    said = [FEEDBACK.c[name].label(f"said_{name}") for name in FEEDBACK.c.keys()]  # noqa: SIM118 - no mapping
    return select(ANSWERS, *said).select_from(ANSWERS.outerjoin(FEEDBACK, OF_THIS_RECORD)).where(*conditions)


def _record(row: Mapping[str, Any]) -> KeptRecord:
    said = {name.removeprefix("said_"): value for name, value in row.items() if name.startswith("said_")}
    feedback = feedback_in(said) if said["record"] is not None else None
    return KeptRecord(record_in(row), row["dollars"], feedback)


def _count(condition: Any) -> Any:
    return func.sum(case((condition, 1), else_=0))


def _read_cursor(cursor: str) -> tuple[float, str]:
    at, slash, name = cursor.partition("/")
    try:
        return float(at), name if slash else ""
    except ValueError:
        raise InvalidInputError("`after` is not what a page gave as `next`.", param="after") from None


@contextmanager
def _faults() -> Iterator[None]:
    """Faults of the database in our words."""
    try:
        yield
    except (DBAPIError, OSError, TimeoutError) as error:
        raise _fault(error) from error
    except CommandError as error:
        raise LedgerUnavailableError(
            "The ledger's tables are of a later version than this one. Deploy that version again, or migrate them back."
        ) from error
    except SQLAlchemyError as error:
        raise ConfigurationError(
            f"The ledger's database can't be used ({type(error).__name__}). Check LEDGER_URL."
        ) from error


def _fault(error: Exception) -> Exception:
    """What went wrong with the database, without its words: they may have rows in them."""
    said = str(getattr(error, "orig", error)).lower()
    if "no such table" in said or "does not exist" in said or "no such column" in said:
        return LedgerUnavailableError(
            "The ledger has no tables yet, or older ones: the next write makes them (`make ledger ACTION=write`)."
        )
    if "password" in said or "permission denied" in said or "authentication" in said:
        return ConfigurationError("The ledger's database does not let this user in. Check LEDGER_URL.")
    return LedgerUnavailableError(
        f"The ledger's database does not answer ({type(error).__name__}). Check LEDGER_URL and that it runs; records wait meanwhile."
    )
