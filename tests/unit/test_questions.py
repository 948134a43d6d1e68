"""What two questions have in common, and which answers may be shared: by example."""

from __future__ import annotations

import itertools
from collections import defaultdict

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headrace.answering.recall import CALIBRATED, Thresholds, Verdict, compare, has_same_context
from headrace.questions.rules import contradiction, difference, roots_in, without_typos, wording
from headrace.questions.sharing import is_shareable
from headrace.types import Basis, CachedAnswer, Chunk, Found, Passage, PassagesEvent, normalise_question

LEAVE = "Employees get 30 days of annual leave. Employees get 12 days of sick leave. Interns get 5 days of sick leave."
KNOWN = Thresholds(0.9, 0.7)


@pytest.mark.parametrize(
    ("question", "other", "why"),
    [
        ("How much oil after 10 years?", "How much oil after 20 years?", "numbers"),
        ("Is 5 km allowed?", "Is 5 miles allowed?", "numbers"),
        ("What happens after two weeks?", "What happens after three weeks?", "numbers"),
        ("Who opens on Monday?", "Who opens on Sunday?", "dates"),
        ("Which costs are covered?", "Which costs are not covered?", "negation"),
        ("Which costs can't be covered?", "Which costs can be covered?", "negation"),
        ("Where is the office in Berlin?", "Where is the office in Vienna?", "names"),
        ("where is the berlin office?", "Where is the office in Vienna?", "names"),
        ("What does alarm E12 mean?", "What does alarm E21 mean?", "names"),
        ("When is the dividend paid?", "Where is the dividend paid?", "kind"),
        ("Why does it leak?", "How does it leak?", "kind"),
        ("Is it covered?", "How much is covered?", "kind"),
        ("How many days does it take?", "How many weeks does it take?", "units"),
        ("What is the minimum pressure?", "What is the maximum pressure?", "opposites"),
        ("What do I check before the reset?", "What do I check after the reset?", "opposites"),
        (
            "What costs a transfer from checking to savings?",
            "What costs a transfer from savings to checking?",
            "relations",
        ),
        ("May a manager judge an employer?", "May an employer judge a manager?", "order"),
        ("How long do we keep invoices?", "How long do we use invoices?", "opposites"),
        ("Who hired Anna?", "Who did Anna hire?", "order"),
        ("Who was hired by Anna?", "Who hired Anna?", "order"),
        ("What does corrosion cause?", "What causes corrosion?", "order"),
        ("Who does the auditor report to?", "Who reports to the auditor?", "relations"),
        ("Who is the laptop paid by?", "Who is paid by the auditor?", "order"),
        ("Who manages the sales team?", "Who does the sales team manage?", "order"),
        ("What causes a memory leak?", "What does a memory leak cause?", "order"),
        ("Does the parent company own the subsidiary?", "Does the subsidiary own the parent company?", "order"),
        ("Do head nurses discipline junior doctors?", "Do junior doctors discipline head nurses?", "order"),
        ("Who can dismiss the director?", "Who can the director dismiss?", "order"),
        ("Who should the board inform?", "Who should inform the board?", "order"),
        ("What supplier acquired Initech?", "What supplier did Initech acquire?", "order"),
        ("How many vendors audit the firm?", "How many vendors does the firm audit?", "order"),
        ("Are nurses trained by doctors?", "Do nurses train doctors?", "order"),
        ("Who is the manager's assistant?", "Who is the assistant's manager?", "order"),
        ("Who supplies the customer of the vendor?", "Who supplies the vendor of the customer?", "order"),
        ("Does sick leave replace annual leave?", "Does annual leave replace sick leave?", "order"),
        ("Are nurses trained?", "Do nurses train?", "order"),
        ("Is tea better with milk?", "Is milk better with tea?", "order"),
        ("Is Anna the manager of Ben?", "Is Ben the manager of Anna?", "order"),
        ("If the alarm rings, does the door lock?", "If the door locks, does the alarm ring?", "order"),
        ("Who does HR inform about the board?", "Who does the board inform about HR?", "order"),
        (
            "Is the invoice for the supplier paid by the customer?",
            "Is the invoice for the customer paid by the supplier?",
            "order",
        ),
        ("Does plastic contain lead?", "Does lead contain plastic?", "order"),
        ("How do I upgrade from version 3 to version 4?", "How do I upgrade from version 4 to version 3?", "order"),
        ("Does rule 3 override rule 4?", "Does rule 4 override rule 3?", "order"),
        ("Do I need 2 managers and 5 workers?", "Do I need 5 managers and 2 workers?", "order"),
        ("Do 2 managers train 5 workers?", "Do 5 managers train 2 workers?", "order"),
        ("Do orders placed on Monday arrive on Friday?", "Do orders placed on Friday arrive on Monday?", "order"),
        ("Is the pool open from March to May?", "Is the pool open from May to March?", "relations"),
        ("Is a pressure > 5 bar allowed?", "Is a pressure < 5 bar allowed?", "numbers"),
        ("May it be stored below -20 degrees?", "May it be stored below 20 degrees?", "numbers"),
        ("What do staff with 5+ years get?", "What do staff with 5 years get?", "numbers"),
        ("Must employees wear a helmet?", "May employees wear a helmet?", "opposites"),
        ("Is a visa needed for Japan?", "Is a visa allowed for Japan?", "opposites"),
        ("Can I take a gift?", "Can I give a gift?", "opposites"),
        ("Do all employees get leave?", "Do most employees get leave?", "opposites"),
        ("What is the number of the invoice?", "What is the amount of the invoice?", "opposites"),
        ("Which receipts arent accepted?", "Which receipts are accepted?", "negation"),
        ("What happens if I dont pay?", "What happens if I pay?", "negation"),
        ("What  time does the shift begin?", "Where does the shift begin?", "kind"),
        ("How do I get from A to B?", "How do I get from B to A?", "relations"),
        ("how do i get from a to b?", "how do i get from b to a?", "relations"),
        ("What does plan A cover?", "What does plan B cover?", "numbers"),
        ("What does plan A cover?", "What does a plan cover?", "numbers"),
        ("May I smoke inside but not drink?", "May I drink inside but not smoke?", "negation"),
        ("What do I check until the reset?", "What do I check before the reset?", "relations"),
        ("What do I check when I reset it?", "What do I check after I reset it?", "relations"),
    ],
)
def test_what_speaks_against_two_questions_being_one(question: str, other: str, why: str) -> None:
    assert contradiction(question, other) == why
    assert compare(question, other, 0.99, KNOWN) is Verdict.OTHER


@pytest.mark.parametrize(
    ("question", "other"),
    [
        ("How long is parental leave?", "Please tell me how long parental leave is."),
        ("What is the marketing budget for 2024?", "In 2024, what is the budget for marketing?"),
        ("Does it take 1,000 litres?", "does it take 1000 l?"),
        ("What's Anna Keller's extension?", "what is the extension of anna keller"),
        ("How many days do we get?", "How many days does one get?"),
        ("After two years?", "After 2 years?"),
        ("What do I check before resetting it?", "What is checked before I reset it?"),
        ("Who is Anna hired by?", "Who hired Anna?"),
        ("By whom was Anna hired?", "Who hired Anna?"),
        (
            "How many weeks of parental leave may parents take?",
            "Please tell me: for how many weeks may parents take parental leave?",
        ),
        ("What is the difference between plan A and plan B?", "What is the difference between plan B and plan A?"),
        ("At what temperature should it be stored?", "What temperature must it be stored at?"),
        ("At what temperature should the drug be stored?", "What temperature must the drug be stored at?"),
        ("How is the alarm reset?", "How do I reset the alarm?"),
        ("Where is the badge collected?", "Where do visitors collect the badge?"),
        ("How long after the purchase can goods be returned?", "How long after the purchase can I return goods?"),
        ("When is the office open?", "When does the office open?"),
        ("Which oil is changed yearly?", "Which oil do I change yearly?"),
        ("Do dogs and cats need a permit?", "Do cats and dogs need a permit?"),
        ("How do I send a parcel from Rome to Oslo?", "How do I send a parcel to Oslo from Rome?"),
        ("Do doctors train nurses?", "Are nurses trained by doctors?"),
        ("What expenses are reimbursed by the company?", "What expenses does the company reimburse?"),
        ("How are invoices approved by managers?", "How do managers approve invoices?"),
        ("Who approves travel expenses over 500 euros?", "Travel expenses over 500 euros: who approves them?"),
        ("Who is the manager's assistant?", "Who is the assistant of the manager?"),
        ("What was the budget of department 5 in 2024?", "In 2024, what was the budget of department 5?"),
        ("For how long can children borrow novels?", "How long can children borrow novels for?"),
        ("To whom do I report an accident?", "Who do I report an accident to?"),
        ("Can I carry over vacation?", "Can I carry vacation over?"),
        ("How Do I Get A Refund?", "How can I get a refund?"),
        ("Does it run at 40 °C?", "does it run at 40 °c?"),
        ("Is a fuse of 16 A enough?", "Is a fuse of 16 amp enough?"),
        (" Is smoking allowed?", "Is smoking permitted here?"),
        ("How much leave do I get during probation?", "How much leave do I get in probation?"),
        ("What does the policy cover?", "What is covered by the policy?"),
        ("Which receipts are not accepted?", "Which receipts aren't accepted?"),
        ("Is smoking not allowed?", "Are we not permitted to smoke?"),
        ("Does it weigh 5 g?", "Does it weigh 5 grams?"),
        ("What does plan b cover?", "Plan B: what does it cover?"),
        ("How heavy is a box of bolts?", "How heavy is the box of bolts?"),
    ],
)
def test_what_is_only_said_otherwise_speaks_against_nothing(question: str, other: str) -> None:
    assert contradiction(question, other) == ""


def test_the_same_words_are_the_same_question_only_when_near_enough() -> None:
    question, other = "How long is parental leave?", "Parental leave: how long?"
    assert not difference(question, other)
    assert [compare(question, other, s, KNOWN) for s in (0.95, 0.8, 0.6)] == [Verdict.SAME, Verdict.NEAR, Verdict.OTHER]
    assert all(0 < known.near <= known.same <= 1 for known in CALIBRATED.values())


@pytest.mark.parametrize(
    ("question", "other", "similarity", "same"),
    [
        ("How many days of annual leave do employees get?", "How many annual leave days are there?", 0.8, True),
        ("What's the annual leave entitlement?", "How many days of annual leave do employees get?", 0.8, True),
        ("How many days of anual leave?", "How many days of annual leave?", 0.8, True),
        (
            "How many days of sick leave do employees get?",
            "How many days of annual leave do employees get?",
            0.95,
            False,
        ),
        ("How many days of leave do employees get?", "How many days of annual leave do employees get?", 0.95, False),
        ("How many days of sick leave do interns get?", "How many days of sick leave do employees get?", 0.95, False),
        (
            "How many days of military leave do employees get?",
            "How many days of sick leave do employees get?",
            0.95,
            False,
        ),
        (
            "How many days of annual leave do astronauts get?",
            "How many days of annual leave do employees get?",
            0.8,
            False,
        ),
    ],
)
def test_the_documents_say_which_words_matter(question: str, other: str, similarity: float, same: bool) -> None:
    passages = (Passage(Chunk("documents/handbook.txt", 1, 0, LEAVE), 0.7),)
    answer = CachedAnswer(0, 0.0, (PassagesEvent(passages),), Basis((), 0.0, {}))
    found = Found("", other, answer, settled=True, similarity=similarity)
    assert has_same_context(question, found, passages, KNOWN) is same


@pytest.mark.parametrize(("similarity", "same"), [(0.85, False), (0.99, False)])
def test_a_word_that_no_document_knows_may_be_what_they_say_nothing_of(similarity: float, same: bool) -> None:
    passages = (Passage(Chunk("documents/handbook.txt", 1, 0, "Employees get 12 days of sick leave."), 0.7),)
    answer = CachedAnswer(0, 0.0, (PassagesEvent(passages),), Basis((), 0.0, {}))
    found = Found("", "How many days of sick leave are there?", answer, settled=True, similarity=similarity)
    assert has_same_context("How many days of military leave are there?", found, passages, KNOWN) is same


def test_other_passages_are_another_context() -> None:
    one, two = (Passage(Chunk("documents/a.txt", 1, place, "Oil is green."), 0.5) for place in (0, 1))
    answer = CachedAnswer(0, 0.0, (PassagesEvent((one,)),), Basis((), 0.0, {}))
    found = Found("", "What colour has oil?", answer, settled=True, similarity=0.99)
    assert has_same_context("Which colour has oil?", found, (one,), KNOWN)
    assert not has_same_context("Which colour has oil?", found, (two, one), KNOWN)
    assert not has_same_context("Which colour has oil?", found, (), KNOWN)


def test_a_typing_error_is_no_other_word_unless_the_documents_know_it() -> None:
    apart = difference("How is the tubrine oiled?", "How is the turbine oiled?")
    assert not without_typos(apart, frozenset())
    roots = roots_in("The employer pays. The employee is paid.")
    apart = difference("What does the employer get?", "What do a worker and the employee get?")
    assert "employer" not in roots
    assert without_typos(apart, roots).left


@pytest.mark.parametrize(
    "question",
    [
        "What is my salary?", "Who am I?", "How many days have I left?", "When is my next payment?", "What did I ask?",
        "What happened yesterday?", "What is the latest release?", "Who is on duty this week?", "Is the pool open today?",
        "And for fathers?", "What about children?", "Why?", "What did you mention in your last answer?",
    ],
)  # fmt: skip
def test_what_depends_on_who_asks_or_when_is_not_shared(question: str) -> None:
    assert not is_shareable(question)


@pytest.mark.parametrize(
    "question",
    [
        "How do I reset the alarm?", "How long is parental leave?", "What was the budget in 2024?", "Can I bring a dog?",
        "Which oil does the main bearing take?", "Where do I apply for leave?", "What is the notice period after a year?",
    ],
)  # fmt: skip
def test_what_is_the_same_for_all_is_shared(question: str) -> None:
    assert is_shareable(question)


def test_questions_are_equal_by_their_words() -> None:
    assert normalise_question("  How LONG\tis\u00a0it ?") == normalise_question("how long is it")
    assert normalise_question("ﬁne") == "fine"
    assert normalise_question("???") == "???"


VOCABULARY = """who whom what which whose how many much when where why is are was be been by do does did can may must to from of for
with and or not isn't cant the a A an I my used last first open anna Anna's E12 5 20 -3 > 5% °C 10kg Monday May in hired paid
manager leave, oil: pump? ! ' - it\u2019s \u2212 \u00bd \u00df""".split()


@example("who", "0.0")
@given(st.lists(st.sampled_from(VOCABULARY), max_size=14).map(" ".join), st.text(max_size=30))
def test_any_text_is_the_same_as_itself(question: str, text: str) -> None:
    for each in (question, text, question + text):
        assert contradiction(each, each) == ""
        assert not difference(each, each)
        assert wording(each) == wording(f" {each}  ")
    contradiction(question, text)


def test_questions_of_the_same_wording_are_the_same() -> None:
    vocabulary = "who did is was by from to not how please 5 km Anna a hired manager".split()
    asked = defaultdict(list)
    for count in (1, 2, 3, 4):
        for words in itertools.permutations(vocabulary, count):
            asked[wording(" ".join(words))].append(" ".join(words))
    del asked[0]
    groups = [each for each in asked.values() if len(each) > 1]
    assert len(groups) > 1000
    for first, *others in groups:
        for other in others:
            assert contradiction(first, other) == contradiction(other, first) == "", (first, other)
            assert not difference(first, other)


def test_a_long_text_says_the_same_in_one_order_only() -> None:
    words = [f"word{chr(97 + number % 26)}{chr(97 + number // 26)}" for number in range(600)]
    assert contradiction(" ".join(words), " ".join(words)) == ""
    assert contradiction(" ".join(words), " ".join(reversed(words))) == "order"
    numbers = [str(number) for number in range(3000)]
    assert contradiction(" ".join(numbers), " ".join(reversed(numbers))) == "order"
