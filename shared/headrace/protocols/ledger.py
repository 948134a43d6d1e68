"""The seams of the ledger: where records wait, and where they are kept and asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from headrace.protocols.checks import Checkable
from headrace.types import AnswerRecord, Evaluation, FeedbackRecord, LedgerEntry


class LedgerQueue(Protocol):
    """Takes entries from those who answer, so that they wait for no database."""

    async def put(self, entry: LedgerEntry) -> None:
        """Have the entry kept. Never raises: an answer is given, whatever becomes of its record."""

    async def take(self, most: int) -> list[tuple[str, LedgerEntry]]:
        """The oldest entries that wait, each with the name that `remove` takes. Raises RegistryUnavailableError."""

    async def remove(self, names: Sequence[str]) -> None:
        """Forget entries that are kept elsewhere by now. Raises RegistryUnavailableError."""

    async def waiting(self) -> int:
        """How many wait. Raises RegistryUnavailableError."""


@dataclass(frozen=True, slots=True)
class DayUsage:
    """A tenant's answers of one day (UTC). `dollars` is of those whose model has a known price, `unpriced` how many others there are."""

    tenant: str
    day: str
    answers: int
    cached: int
    refused: int
    failed: int
    tokens: int
    dollars: float
    unpriced: int
    liked: int
    disliked: int


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A question that was refused: how often, when last (s since the epoch), and the documents that came nearest."""

    question: str
    times: int
    last_at: float
    nearest: Sequence[str]


@dataclass(frozen=True, slots=True)
class KeptRecord:
    """A record with its price in dollars, if that is known, and what its asker said of it."""

    record: AnswerRecord
    dollars: float | None = None
    feedback: FeedbackRecord | None = None


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """Which records of a tenant: those after `since` (s since the epoch), of one kind, behind a cursor.

    `kind` is `all`, `refused`, `failed`, `slow` (from `slow_seconds` to the first token on), `down` or `up`.
    """

    tenant: str
    since: float = 0.0
    kind: str = "all"
    slow_seconds: float = 5.0
    after: str = ""
    limit: int = 50


@dataclass(frozen=True, slots=True)
class RecordPage:
    """Records, newest first; `next` is what the next page begins behind, empty at the end."""

    records: Sequence[KeptRecord] = field(default_factory=tuple)
    next: str = ""


class Ledger(Checkable, Protocol):
    """The records that are kept. Raises LedgerUnavailableError."""

    async def migrate(self) -> None:
        """Bring the tables to what this version needs; nothing where they are that already."""

    async def write(self, entries: Sequence[LedgerEntry]) -> None:
        """Keep the entries, all or none; what is kept already stays as it is, but for feedback, of which the last counts."""

    async def usage(self, since: float, *, tenant: str | None = None) -> list[DayUsage]:
        """What each tenant, or this one, has used on each day since (s since the epoch); the newest day first."""

    async def first_token_seconds(self, tenant: str, since: float, *, share: float) -> float | None:
        """The time to the first token that this share of the tenant's answers kept to; None where there are none."""

    async def unanswered(self, tenant: str, since: float, *, limit: int) -> list[Unanswered]:
        """The questions that were refused, the most frequent first."""

    async def records(self, wanted: RecordFilter) -> RecordPage:
        """A page of records. Raises InvalidInputError for a cursor that is none."""

    async def record(self, tenant: str, record_id: str) -> KeptRecord | None:
        """One record of the tenant."""

    async def dollars(self, tenant: str, record_ids: Sequence[str]) -> float | None:
        """What these records' answers cost; None where one has no known price, or is not there."""

    async def keep_evaluation(self, evaluation: Evaluation) -> None:
        """Keep how good the answers of a set were."""

    async def evaluations(self, tenant: str, *, limit: int) -> list[Evaluation]:
        """The tenant's last evaluations, newest first, without their questions."""

    async def evaluation(self, tenant: str, evaluation_id: str) -> Evaluation | None:
        """One evaluation of the tenant."""

    async def forget(self, tenant: str, principal: str) -> int:
        """Delete all of one principal's records, feedback and evaluations; how many records there were."""

    async def delete_before(self, at: float) -> int:
        """Delete what is older; how many records there were."""
