"""What every ledger promises, on SQLite and on Postgres."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

import pytest

from headrace.errors import ConfigurationError, InvalidInputError, LedgerUnavailableError
from headrace.ledger.pricing import Pricing
from headrace.ledger.sql import SqlLedger, open_sql_ledger
from headrace.protocols import RecordFilter
from headrace.types import EvaluatedQuestion, Evaluation, FeedbackRecord, LedgerEntry, Rating, ScoreEstimate
from tests.support.records import NOW, record, record_id


async def test_a_record_comes_back_whole(ledger: SqlLedger, tenant: str) -> None:
    written = record(tenant, 1)
    await ledger.write([written])
    found = await ledger.record(tenant, written.id)
    assert found is not None
    assert found.record == written
    assert found.dollars == pytest.approx((1000 * 1.0 + 100 * 10.0) / 1e6)
    assert found.feedback is None
    assert await ledger.record(f"{tenant}-other", written.id) is None


async def test_what_is_written_twice_is_there_once_and_the_last_feedback_counts(ledger: SqlLedger, tenant: str) -> None:
    written = record(tenant, 1)
    said = [FeedbackRecord(written.id, tenant, "ann", NOW + n, rating, f"no {n}") for n, rating in enumerate(Rating)]
    stranger = FeedbackRecord(written.id, tenant, "bob", NOW, Rating.UP)
    for _ in range(2):
        await ledger.write([written, written, *said, stranger])
    await ledger.write([said[0]])
    page = await ledger.records(RecordFilter(tenant))
    assert [kept.record.id for kept in page.records] == [written.id]
    assert page.records[0].feedback == said[-1]


async def test_two_who_write_the_same_at_once_write_it_once(ledger_url: str, ledger: SqlLedger, tenant: str) -> None:
    entries: list[LedgerEntry] = [*(record(tenant, number) for number in range(200)), *(
        FeedbackRecord(record_id(tenant, number), tenant, "ann", NOW, Rating.UP) for number in range(50)
    )]  # fmt: skip
    async with open_sql_ledger(ledger_url, pricing=Pricing()) as other:
        await asyncio.gather(*(each.write(entries) for each in (ledger, other) for _ in range(3)))
    (day,) = await ledger.usage(NOW, tenant=tenant)
    assert (day.answers, day.liked) == (200, 50)


async def test_characters_that_a_database_may_not_take_are_kept_as_far_as_it_goes(
    ledger: SqlLedger, tenant: str
) -> None:
    await ledger.write([record(tenant, 1, question="a\0b", answer="'; DROP TABLE answers; --")])
    found = await ledger.record(tenant, record_id(tenant, 1))
    assert found is not None
    assert found.record.question in {"a\0b", "a�b"}
    assert found.record.answer == "'; DROP TABLE answers; --"


async def test_pages_go_through_all_records_newest_first(ledger: SqlLedger, tenant: str) -> None:
    # Three at each moment: a cursor by time alone would lose some.
    written = [record(tenant, number, at=NOW + number // 3) for number in range(30)]
    await ledger.write(written)
    found, after = [], ""
    while True:
        page = await ledger.records(RecordFilter(tenant, after=after, limit=7))
        found += [kept.record.id for kept in page.records]
        after = page.next
        if not after:
            break
    assert found == [each.id for each in sorted(written, key=lambda each: (each.at, each.id), reverse=True)]
    with pytest.raises(InvalidInputError, match="after"):
        await ledger.records(RecordFilter(tenant, after="nonsense"))


async def test_kinds_of_records(ledger: SqlLedger, tenant: str) -> None:
    changes: list[dict[str, Any]] = [
        {}, {"mode": "refused"}, {"error": "model_unavailable"}, {"first_token_seconds": 9.0}, {}, {"at": 5.0},
    ]  # fmt: skip
    written = [record(tenant, number, **changed) for number, changed in enumerate(changes)]
    down = FeedbackRecord(written[4].id, tenant, "ann", NOW, Rating.DOWN, "wrong level")
    await ledger.write([*written, down])

    async def numbers(kind: str) -> list[int]:
        page = await ledger.records(RecordFilter(tenant, since=NOW, kind=kind))
        return [int(kept.record.id[8:], 16) for kept in page.records]

    assert await numbers("all") == [4, 3, 2, 1, 0]
    assert await numbers("refused") == [1]
    assert await numbers("failed") == [2]
    assert await numbers("slow") == [3]
    assert await numbers("down") == [4]
    assert await numbers("up") == []


async def test_sums_by_day(ledger: SqlLedger, tenant: str) -> None:
    day = 86_400.0
    written = [
        record(tenant, 1), record(tenant, 2, verdict="hit", tokens_spent=0), record(tenant, 3, model="unknown"),
        record(tenant, 4, at=NOW + day, mode="refused", model="", tokens_spent=0), record(tenant, 5, at=NOW + day, error="x"),
    ]  # fmt: skip
    said = FeedbackRecord(written[0].id, tenant, "ann", NOW, Rating.UP)
    await ledger.write([*written, said, record(f"{tenant}-other", 6)])
    newest, oldest = await ledger.usage(NOW, tenant=tenant)
    assert asdict(newest) == {
        "tenant": tenant, "day": "2026-11-19", "answers": 2, "cached": 0, "refused": 1, "failed": 1, "tokens": 1100,
        "dollars": pytest.approx(0.002), "unpriced": 0, "liked": 0, "disliked": 0,
    }  # fmt: skip
    assert asdict(oldest) == {
        "tenant": tenant, "day": "2026-11-18", "answers": 3, "cached": 1, "refused": 0, "failed": 0, "tokens": 2200,
        "dollars": pytest.approx(0.002), "unpriced": 1, "liked": 1, "disliked": 0,
    }  # fmt: skip
    assert {day.tenant for day in await ledger.usage(NOW)} >= {tenant, f"{tenant}-other"}
    assert await ledger.usage(NOW, tenant="nobody's") == []


async def test_the_time_to_the_first_token(ledger: SqlLedger, tenant: str) -> None:
    assert await ledger.first_token_seconds(tenant, NOW, share=0.5) is None
    await ledger.write([record(tenant, number, first_token_seconds=number / 10) for number in range(1, 101)])
    assert await ledger.first_token_seconds(tenant, NOW, share=0.5) == pytest.approx(5.1)
    assert await ledger.first_token_seconds(tenant, NOW, share=1.0) == pytest.approx(10.0)


async def test_what_was_asked_in_vain(ledger: SqlLedger, tenant: str) -> None:
    refused: dict[str, Any] = {"mode": "refused", "answer": "", "asked_as": ""}
    await ledger.write(
        [
            record(tenant, 1, question="pension?", **refused), record(tenant, 2, question="pension?", **refused),
            record(tenant, 3, question="and then?", **{**refused, "asked_as": "parking?"}), record(tenant, 4),
        ]
    )  # fmt: skip
    first, second = await ledger.unanswered(tenant, NOW, limit=9)
    assert (first.question, first.times, first.last_at, first.nearest) == ("pension?", 2, NOW + 2, ["a.txt"])
    assert (second.question, second.times) == ("parking?", 1)


async def test_a_person_is_forgotten_and_what_is_old_goes(ledger: SqlLedger, tenant: str) -> None:
    written = [record(tenant, 1), record(tenant, 2, principal="bob"), record(tenant, 3, at=NOW - 9e9)]
    await ledger.write([*written, FeedbackRecord(written[0].id, tenant, "ann", NOW, Rating.UP)])
    assert await ledger.delete_before(NOW - 8e9) == 1
    assert await ledger.forget(tenant, "ann") == 1
    page = await ledger.records(RecordFilter(tenant))
    assert [kept.record.principal for kept in page.records] == ["bob"]
    await ledger.write([written[0]])
    page = await ledger.records(RecordFilter(tenant, kind="up"))
    assert page.records == [], "what was said goes with it"


async def test_two_who_migrate_at_once_make_one_set_of_tables(ledger_url: str) -> None:
    async with (
        open_sql_ledger(ledger_url, pricing=Pricing()) as one,
        open_sql_ledger(ledger_url, pricing=Pricing()) as other,
    ):
        await asyncio.gather(one.migrate(), other.migrate())
        await one.migrate()
        assert await other.usage(0.0, tenant="nobody") == []


async def test_before_its_first_migration_it_says_so(tmp_path: Any) -> None:
    async with open_sql_ledger(f"sqlite:///{tmp_path}/a.db", pricing=Pricing()) as ledger:
        with pytest.raises(LedgerUnavailableError, match="make ledger ACTION=write"):
            await ledger.usage(0.0)


@pytest.mark.parametrize(
    ("url", "kind", "said"),
    [
        ("postgresql://a:b@127.0.0.1:9/x", LedgerUnavailableError, "does not answer"),
        ("mysql://a:b@h/x", ConfigurationError, "'mysql', which is not known"),
        ("nonsense", ConfigurationError, "no database's URL"),
        ("postgresql://a:b@h/x?sslmode=require&sslcert=c", ConfigurationError, "'sslcert', which is not known"),
    ],
)
async def test_a_database_that_is_not_there(url: str, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        async with open_sql_ledger(url, pricing=Pricing()) as ledger:
            await ledger.check()


async def test_a_wrong_password_is_told_without_it(server: Any) -> None:
    async with open_sql_ledger(server.url.replace("cret", "kret"), pricing=Pricing()) as ledger:
        with pytest.raises(ConfigurationError, match="does not let this user in") as caught:
            await ledger.check()
    assert "kret" not in str(caught.value)


async def test_evaluations_are_kept_listed_priced_and_forgotten(ledger: SqlLedger, tenant: str) -> None:
    await ledger.write([record(tenant, 1), record(tenant, 2, model="unknown"), record(tenant, 3)])
    ids = [record_id(tenant, number) for number in range(1, 5)]
    assert await ledger.dollars(tenant, [ids[0], ids[2]]) == pytest.approx(2 * 0.002)
    assert await ledger.dollars(tenant, ids[:2]) is None, "a model without a price"
    assert await ledger.dollars(tenant, [ids[0], ids[3]]) is None, "a record that is not there"
    assert await ledger.dollars(tenant, []) is None
    assert await ledger.dollars(f"{tenant}-other", [ids[0]]) is None
    kept = [
        Evaluation(
            f"{tenant[-8:]}{number:08x}", tenant, principal, NOW + number, "näme", {"facts": ScoreEstimate(0.5, 0.25, 0.75, 4)},
            (EvaluatedQuestion("Wie viele?\0", {"facts": 0.5}, 1.5, 120, ids[0], "why"),), 1.5, 120, 0.002,
        )
        for number, principal in enumerate(("ann", "bob", "ann"))
    ]  # fmt: skip
    for each in kept:
        await ledger.keep_evaluation(each)
    assert [each.id for each in await ledger.evaluations(tenant, limit=2)] == [kept[2].id, kept[1].id]
    assert (await ledger.evaluations(tenant, limit=1))[0].questions == ()
    found = await ledger.evaluation(tenant, kept[0].id)
    assert found is not None
    assert found.scores == kept[0].scores
    assert found.questions[0].scores == {"facts": 0.5}
    assert await ledger.evaluation(f"{tenant}-other", kept[0].id) is None
    await ledger.forget(tenant, "ann")
    assert [each.principal for each in await ledger.evaluations(tenant, limit=9)] == ["bob"]
    await ledger.delete_before(NOW + 100)
    assert await ledger.evaluations(tenant, limit=9) == []


async def test_a_ledger_without_words_has_no_questions_of_evaluations(
    ledger_url: str, ledger: SqlLedger, tenant: str
) -> None:
    asked = EvaluatedQuestion("Who is ill?", {"facts": 1.0}, record="r", fault="said")
    kept = Evaluation(
        f"{tenant[-8:]}ffffffff", tenant, "ann", NOW, "set", {"facts": ScoreEstimate(1, 1, 1, 1)}, (asked,)
    )
    async with open_sql_ledger(ledger_url, pricing=Pricing(), keeps_words=False) as bare:
        await bare.keep_evaluation(kept)
    found = await ledger.evaluation(tenant, kept.id)
    assert found is not None
    assert found.questions == (EvaluatedQuestion("", {"facts": 1.0}, record="r"),)
