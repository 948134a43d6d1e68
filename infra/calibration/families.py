"""What a labelled set of questions is made from: families of facts, and the ways in which people ask for them.

A family has slots; each choice of values is one fact, with a passage that states it. Wordings of one fact are
paraphrases; the same wording of two facts that differ in one slot is a near miss: another number, name, unit, date, or
the opposite.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

Slots = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact: its name, its passage, and the questions that it answers."""

    name: str
    passage: str
    questions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Family:
    """Facts that differ in slots. `answer` is formatted with the slots and a value of the fact's own, `{x}`.

    `together` says how many facts' passages share one chunk, as they do in tables and lists.
    """

    name: str
    slots: Slots
    wordings: tuple[str, ...]
    answer: str
    together: int = 1

    def facts(self) -> Iterator[Fact]:
        """Every choice of values."""
        for number, values in enumerate(itertools.product(*self.slots.values())):
            chosen = dict(zip(self.slots, values, strict=True))
            passage = self.answer.format(**chosen, x=7 + (number * 37) % 83)
            questions = tuple(wording.format(**chosen) for wording in self.wordings)
            yield Fact(f"{self.name}/{'/'.join(values)}", passage, questions)


# What `make calibrate` looks for thresholds on: a company's handbook, its machines, its service.
CALIBRATION = (
    Family(
        "leave",
        {"kind": ("parental", "annual", "sick", "unpaid", "study")},
        (
            "How many days of {kind} leave do employees get?",
            "What is the {kind} leave entitlement in days?",
            "how many {kind} leave days are employees entitled to",
            "Please tell me the number of days of {kind} leave for employees.",
            "For {kind} leave, how many days does an employee get?",
        ),
        "Employees get {x} days of {kind} leave.",
        together=5,
    ),
    Family(
        "notice",
        {"years": ("two", "five", "ten", "15"), "side": ("employer", "employee")},
        (
            "What notice period applies to the {side} after {years} years of service?",
            "After {years} years of service, what is the notice period for the {side}?",
            "How long is the {side}'s notice period after {years} years?",
            "Notice period for the {side} after {years} years of service?",
        ),
        "After {years} years of service the {side} must give {x} days of notice.",
        together=2,
    ),
    Family(
        "oil",
        {"part": ("main bearing", "gearbox", "guide bearing", "hydraulic unit"), "unit": ("litres", "kilograms")},
        (
            "How many {unit} of oil does the {part} take?",
            "What amount of oil in {unit} goes into the {part}?",
            "How much oil, in {unit}, do I fill into the {part}?",
            "The {part}: how many {unit} of oil does it take?",
        ),
        "The {part} takes {x} {unit} of turbine oil.",
        together=2,
    ),
    Family(
        "office",
        {"city": ("Berlin", "Munich", "Vienna", "Zurich"), "day": ("Mondays", "Fridays", "Sundays")},
        (
            "When does the {city} office open on {day}?",
            "On {day}, at what time does the office in {city} open?",
            "What time does the {city} office open on {day}?",
            "Opening time of the {city} office on {day}?",
        ),
        "The office in {city} opens at 8:{x} on {day}.",
        together=3,
    ),
    Family(
        "budget",
        {"team": ("marketing", "research", "logistics"), "year": ("2023", "2024", "2025")},
        (
            "What was the {team} budget in {year}?",
            "How large was the budget of the {team} department in {year}?",
            "How much budget did {team} have in {year}?",
            "In {year}, what was the budget for {team}?",
        ),
        "In {year} the {team} department had a budget of {x} thousand euros.",
        together=3,
    ),
    Family(
        "insurance",
        {"thing": ("laptops", "bicycles", "glasses", "tools"), "not_": ("covered", "not covered")},
        (
            "Which damages to {thing} are {not_} by the insurance?",
            "What damage to {thing} is {not_} by our insurance?",
            "Tell me which damages to {thing} are {not_} by the insurance.",
            "What {thing} damage is {not_} by the insurance policy?",
        ),
        "Damages of class {x} to {thing} are {not_} by the insurance.",
        together=2,
    ),
    Family(
        "approval",
        {"amount": ("500", "5,000", "50,000"), "what": ("travel", "hardware", "training")},
        (
            "Who approves {what} expenses above {amount} euros?",
            "Who has to approve {what} expenses over {amount} euros?",
            "Whose approval do {what} expenses above {amount} euros need?",
            "{what} expenses above {amount} euros: who approves them?",
        ),
        "Expenses for {what} above {amount} euros are approved by the head of unit {x}.",
        together=3,
    ),
    Family(
        "alarm",
        {"code": ("E12", "E21", "F12"), "step": ("before", "after")},
        (
            "What do I check {step} resetting alarm {code}?",
            "What has to be checked {step} the reset of alarm {code}?",
            "Which check is needed {step} resetting the {code} alarm?",
            "What should I check {step} I reset alarm {code}?",
        ),
        "Check valve {x} {step} resetting alarm {code}.",
        together=2,
    ),
    Family(
        "contact",
        {"person": ("Anna Keller", "Jonas Weber", "Mia Brandt", "Paul Winter")},
        (
            "What is the phone extension of {person}?",
            "Which phone extension does {person} have?",
            "{person}'s phone extension?",
            "Under what extension can {person} be reached by phone?",
        ),
        "{person} can be reached by phone under extension {x}.",
        together=4,
    ),
    Family(
        "limits",
        {"bound": ("minimum", "maximum"), "what": ("water pressure", "oil temperature", "shaft speed")},
        (
            "What is the {bound} {what}?",
            "Which {bound} {what} is permitted?",
            "What {bound} {what} is allowed for the turbine?",
            "Tell me the {bound} {what} of the turbine.",
        ),
        "The turbine's {bound} {what} is {x}.",
        together=2,
    ),
)

# What quality is measured on: other subjects, other wordings. Nothing here was used to choose a rule or a threshold.
HELD_OUT = (
    Family(
        "loan",
        {"item": ("novels", "magazines", "board games", "DVDs"), "reader": ("children", "students", "adults")},
        (
            "For how long can {reader} borrow {item}?",
            "How long may {reader} keep borrowed {item}?",
            "What is the loan period of {item} for {reader}?",
            "{item} borrowed by {reader}: how long is the loan period?",
            "how long can {reader} borrow {item} for",
        ),
        "The loan period of {item} is {x} days for {reader}.",
        together=3,
    ),
    Family(
        "dose",
        {"drug": ("ibuprofen", "paracetamol", "amoxicillin"), "weight": ("10 kg", "20 kg", "40 kg")},
        (
            "What is the daily dose of {drug} for a child of {weight}?",
            "How much {drug} may a child weighing {weight} have daily?",
            "Daily {drug} dose for a {weight} child?",
            "Could you tell me the daily dose of {drug} for a child of {weight}?",
        ),
        "The daily dose of {drug} for a child of {weight} is {x} millilitres.",
        together=3,
    ),
    Family(
        "ticket",
        {"zone": ("zone A", "zone B", "zone C"), "span": ("day", "week", "month")},
        (
            "How much is a {span} ticket for {zone}?",
            "What does a {span} ticket for {zone} cost?",
            "What's the price of the {zone} {span} ticket?",
            "How much do I pay for a {span} ticket in {zone}?",
        ),
        "A {span} ticket for {zone} costs {x} euros.",
        together=3,
    ),
    Family(
        "release",
        {"version": ("2.1", "2.2", "3.0"), "what": ("support", "security updates")},
        (
            "When does {what} for version {version} end?",
            "Until when is there {what} for version {version}?",
            "On what date does {what} of version {version} end?",
            "End date of {what} for version {version}?",
        ),
        "For version {version}, {what} ends on day {x} of the following year.",
        together=2,
    ),
    Family(
        "plan",
        {"plan": ("Basic", "Team", "Enterprise"), "thing": ("projects", "users", "gigabytes of storage")},
        (
            "How many {thing} does the {plan} plan include?",
            "What number of {thing} is included in the {plan} plan?",
            "How many {thing} do I get with the {plan} plan?",
            "The {plan} plan comes with how many {thing}?",
        ),
        "The {plan} plan includes {x} {thing}.",
        together=3,
    ),
    Family(
        "pool",
        {"day": ("Tuesday", "Thursday", "Saturday"), "event": ("open", "close")},
        (
            "What time does the pool {event} on {day}?",
            "When does the swimming pool {event} on {day}?",
            "On {day}, when does the pool {event}?",
            "At what hour does the pool {event} on {day}s?",
        ),
        "On {day} the swimming pool {event}s at 9:{x}.",
        together=2,
    ),
    Family(
        "visa",
        {"country": ("Japan", "Brazil", "Kenya", "Norway"), "not_": ("need", "not need")},
        (
            "Which travellers do {not_} a visa for {country}?",
            "Who does {not_} a visa to enter {country}?",
            "For {country}, which travellers do {not_} a visa?",
            "Travelling to {country}: who does {not_} a visa?",
        ),
        "Travellers of category {x} do {not_} a visa for {country}.",
        together=2,
    ),
    Family(
        "exam",
        {"course": ("algebra", "chemistry", "history"), "month": ("June", "July", "January")},
        (
            "In which room is the {month} exam in {course}?",
            "Where does the {course} exam in {month} take place?",
            "Which room is the {course} exam in {month} held in?",
            "Where is the {month} {course} exam?",
        ),
        "The {course} exam in {month} takes place in room {x}.",
        together=3,
    ),
    Family(
        "transfer",
        {"way": ("from checking to savings", "from savings to checking"), "customer": ("private", "business")},
        (
            "What does a transfer {way} cost {customer} customers?",
            "How much is the fee for {customer} customers to transfer {way}?",
            "Transfer fee {way} for {customer} customers?",
            "What is the fee of a transfer {way} for {customer} customers?",
        ),
        "A transfer {way} costs {customer} customers {x} cents.",
        together=4,
    ),
    Family(
        "range",
        {"car": ("Model S", "Model T", "Model X"), "season": ("summer", "winter"), "unit": ("kilometres", "miles")},
        (
            "How many {unit} does the {car} go on one charge in {season}?",
            "What is the range of the {car} in {season}, in {unit}?",
            "In {season}, how many {unit} can the {car} drive per charge?",
            "Range in {unit} of a {car} in {season}?",
        ),
        "In {season} the {car} goes {x} {unit} on one charge.",
        together=2,
    ),
)
