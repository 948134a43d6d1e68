"""What an answer claims is held against its passages: planted errors are found, and what is true is left alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal

import pytest

from headrace.answering.verification import unsupported
from headrace.text.figures import figures_of
from headrace.types import Chunk, Doubt, Passage


@dataclass(frozen=True)
class Fact:
    """Two passages, the first of which says `right`; `other` is said by the second alone, `wrong` by none."""

    first: str
    second: str
    right: str  # a paraphrase of the first passage, its figure in another notation where there is one
    wrong: str  # with a figure that neither passage has
    swapped: str  # with the figure, and another unit
    other: str  # with the second passage's figure
    quote: str  # words of the first passage
    altered: str  # nearly these


FACTS = (
    Fact("The main bearing takes 18 litres of turbine oil.", "The gearbox weighs 240 kg when it is empty.", "Fill in 18 l", "Fill in 19 litres", "Fill in 18 kg", "It takes 240 litres", "takes 18 litres of turbine oil", "takes 18 litres of gear oil"),
    Fact("Parents may take 26 weeks of parental leave.", "Employees get 30 days of annual leave a year.", "Parental leave lasts twenty-six weeks, that is 26 of them", "It lasts 28 weeks", "It lasts 26 days", "It lasts 30 weeks", "may take 26 weeks of parental leave", "may take 26 weeks of sick leave"),
    Fact("The budget of the project is 1,250,000 EUR.", "In 2023 the project had 14 members.", "It costs 1.250.000 €", "It costs 1,350,000 EUR", "It costs 1,250,000 USD", "It costs 14 EUR", "budget of the project is 1,250,000", "budget of the programme is 1,250,000"),
    Fact("At 85 degrees Celsius, stop the machine.", "Reduce the load above 4.5 bar.", "Stop it at 85 °C", "Stop it at 95 °C", "Stop it at 85 °F", "Stop it at 4.5 °C", "At 85 degrees Celsius, stop the machine", "At 85 degrees Celsius, start the machine"),
    Fact("Die Kündigungsfrist für Mieter beträgt drei Monate.", "Vermieter zahlen die Kaution binnen 6 Wochen zurück.", "Mieter kündigen mit einer Frist von 3 Monaten", "Mieter kündigen mit 5 Monaten Frist", "Mieter kündigen mit 3 Wochen Frist", "Mieter kündigen mit 6 Monaten Frist", "Die Kündigungsfrist für Mieter beträgt drei Monate", "Die Kündigungsfrist für Vermieter beträgt drei Monate"),
    Fact("Der Zinssatz beträgt 5,75 % im Jahr.", "Die Laufzeit sind 120 Monate.", "Gezahlt werden 5.75 Prozent", "Gezahlt werden 5,25 %", "Gezahlt werden 5,75 EUR", "Gezahlt werden 120 %", "Der Zinssatz beträgt 5,75 % im Jahr", "Der Zinssatz beträgt 5,75 % im Monat"),
    Fact("The tank holds 2 500 l of water.", "The pump moves 40 l each minute.", "It holds 2,500 litres", "It holds 2,600 litres", "It holds 2,500 kg", "It holds 40 litres of water", "The tank holds 2 500 l of water", "The tank holds 2 500 l of fuel"),
    Fact("Adults take 500 mg three times a day.", "Children take 250 ml of the syrup.", "The dose for adults is 500 milligrams", "The dose for adults is 600 mg", "The dose for adults is 500 ml", "The dose for adults is 250 mg", "Adults take 500 mg three times a day", "Adults take 500 mg four times a day"),
    Fact("The tower is 324 m high.", "It was opened in 1889.", "Its height is 324 metres", "Its height is 330 m", "Its height is 324 feet", "Its height is 1889 m", "The tower is 324 m high", "The tower is 324 m wide"),
    Fact("La garantie dure 24 mois.", "La livraison coûte 12,50 €.", "Elle dure 24 mois", "Elle dure 36 mois", "Elle dure 24 jours", "Elle dure 12,50 mois", "La garantie dure 24 mois", "La garantie dure 24 ans"),
    Fact("La cuota es de 45 euros al mes.", "El contrato dura 18 meses.", "Se pagan 45 €", "Se pagan 55 euros", "Se pagan 45 dollars", "Se pagan 18 euros", "La cuota es de 45 euros al mes", "La cuota es de 45 euros al año"),
    Fact("The server has 64 GB of memory.", "Its disk holds 2 TB.", "It has 64 gigabytes", "It has 32 GB", "It has 64 MB", "It has 2 GB", "The server has 64 GB of memory", "The server has 64 GB of storage"),
    Fact("The shift begins at 6:30 and lasts 8 hours.", "The break is 45 minutes.", "A shift takes 8 h", "A shift takes 9 hours", "A shift takes 8 minutes", "A shift takes 45 hours", "The shift begins at 6:30 and lasts 8 hours", "The shift begins at 6:30 and lasts all night"),
    Fact("Beton braucht 28 Tage bis zur vollen Festigkeit.", "Die Schalung bleibt 72 Stunden stehen.", "Fest ist er nach 28 Tagen", "Fest ist er nach 21 Tagen", "Fest ist er nach 28 Stunden", "Fest ist er nach 72 Tagen", "Beton braucht 28 Tage bis zur vollen Festigkeit", "Beton braucht 28 Tage bis zur halben Festigkeit"),
    Fact("The fine is $350 for each offence.", "Appeals must be filed within 10 days.", "Each offence costs 350 dollars", "Each offence costs $450", "Each offence costs 350 EUR", "Each offence costs $10", "The fine is $350 for each offence", "The fine is $350 for each driver"),
    Fact("The motor gives 7.5 kW at full load.", "It turns with 50 Hz.", "Its power is 7,5 kW", "Its power is 9.5 kW", "Its power is 7.5 W", "Its power is 50 kW", "The motor gives 7.5 kW at full load", "The motor gives 7.5 kW at half load"),
    Fact("Return goods within 14 days of delivery.", "Refunds take 5 weeks.", "You have 14 days", "You have 21 days", "You have 14 weeks", "You have 5 days", "Return goods within 14 days of delivery", "Return goods within 14 days of purchase"),
    Fact("The trail is 12.4 km long.", "The climb takes 3 hours.", "It is 12,4 kilometres long", "It is 14.2 km long", "It is 12.4 miles long", "It is 3 km long", "The trail is 12.4 km long", "The trail is 12.4 km wide"),
    Fact("Mix 250 g of flour with the water.", "Let the dough rest for 19 hours.", "Take 250 grams", "Take 350 g", "Take 250 ml", "Take 19 g", "Mix 250 g of flour with the water", "Mix 250 g of sugar with the water"),
    Fact("Der Grundpreis beträgt 9,90 € im Monat.", "Die Mindestlaufzeit sind 24 Monate.", "Er kostet 9,90 Euro", "Er kostet 8,90 €", "Er kostet 9,90 %", "Er kostet 24 €", "Der Grundpreis beträgt 9,90 € im Monat", "Der Grundpreis beträgt 9,90 € im Jahr"),
    Fact("Vibration must stay below 7 mm.", "The alarm sounds after 30 seconds.", "It must stay below 7 millimetres", "It must stay below 9 mm", "It must stay below 7 cm", "It must stay below 30 mm", "Vibration must stay below 7 mm", "Vibration must stay above 7 mm"),
    Fact("The observatory's mirror measures 72 centimetres.", "The dome turns in 4 minutes.", "It measures 72 cm", "It measures 82 cm", "It measures 72 inches", "It measures 4 cm", "mirror measures 72 centimetres", "mirror weighs 72 centimetres"),
    Fact("The rent rises by 3.2 percent in May.", "The deposit is 2,100 CHF.", "It rises by 3.2 %", "It rises by 4.2 %", "It rises by 3.2 EUR", "It rises by 2,100 %", "The rent rises by 3.2 percent in May", "The rent falls by 3.2 percent in May"),
    Fact("Charge the battery at 48 V for the first time.", "A charge lasts for 6 hours.", "Use 48 volts", "Use 24 V", "Use 48 W", "Use 6 V", "Charge the battery at 48 V", "Charge the battery at 48 degrees"),
    Fact("Each delegate may speak for five minutes.", "The vote closes after 2 days.", "They may speak for 5 minutes", "They may speak for 8 minutes", "They may speak for 5 hours", "They may speak for 2 minutes", "may speak for five minutes", "may speak for five hours in all"),
)  # fmt: skip


def passages_of(*texts: str) -> list[Passage]:
    return [Passage(Chunk("documents/a.txt", 1, index, text), 0.5) for index, text in enumerate(texts)]


def answers(fact: Fact) -> list[tuple[str, Doubt | None]]:
    """Eight answers made of a fact, each with the doubt that it should raise."""
    return [
        (f"{fact.right} [1].", None),
        (f"Indeed: {fact.right}. [1] That is all.", None),
        (f"The text says “{fact.quote}” [1].", None),
        (f"{fact.right}; see “{fact.quote}”.", None),
        (f"{fact.wrong} [1].", Doubt.NUMBER),
        (f"{fact.swapped} [1].", Doubt.UNIT),
        (f"{fact.other} [1].", Doubt.MISATTRIBUTED),
        (f"It is written: “{fact.altered}” [1].", Doubt.QUOTATION),
    ]


def test_planted_errors_are_found_and_what_is_true_is_left_alone() -> None:
    """Two hundred answers: every planted error is flagged, and none of the hundred true ones."""
    assert len(FACTS) * 8 == 200
    found: Counter[str] = Counter()
    missed, wrongly = [], []
    for fact in FACTS:
        for answer, doubt in answers(fact):
            raised = list(unsupported(answer, passages_of(fact.first, fact.second), "What is it?"))
            if doubt is None:
                wrongly += [(answer, each.words) for each in raised]
            else:
                missed += [] if raised else [answer]
                found[doubt] += any(each.doubt is doubt for each in raised)
    assert missed == []
    assert wrongly == []
    # The kind of doubt is told, too: a number that stands elsewhere may have another unit there.
    assert sum(found.values()) >= 95, found


@pytest.mark.parametrize(
    ("answer", "question", "is_doubted"),
    [
        ("You asked about 2024: it is 18 litres [1].", "How much oil in 2024?", False),
        ("You asked about 2024: it is 18 litres [1].", "How much oil?", True),
        ("1. Fill in 18 litres [1].\n2. Close it [2].", "How?", False),
        ("Write `x[40]` and 18 litres [1].", "How?", False),
        ("```\nretries = 7\n```\nIt is 18 litres [1].", "How?", False),
        ("It takes 18 litres [2].", "How much?", True),
        ("It takes “oil … 18 litres” [1].", "How much?", True),
        ("It takes “bearing … 18 litres” [1].", "How much?", False),
        ("It takes eighteen litres [1].", "How much?", False),
        ('It says "a short one" [1].', "How much?", True),
        ("The so-called “oil” is 18 litres [1].", "How much?", False),
        ("", "How much?", False),
    ],
)  # fmt: skip
def test_what_is_looked_at(answer: str, question: str, is_doubted: bool) -> None:
    shown = passages_of("The bearing takes 18 litres of oil.", "Close the lid.")
    assert bool(list(unsupported(answer, shown, question))) is is_doubted


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,250,000", [1250000]), ("1.250.000", [1250000]), ("1.250", [1250, Decimal("1.25")]), ("12,5", [Decimal("12.5")]),
        ("1.234,56", [Decimal("1234.56")]), ("1,234.56", [Decimal("1234.56")]), ("2 500", [2500]), ("2’500", [2500]),
        ("007", [7]), ("3.0", [3]),
    ],
)  # fmt: skip
def test_a_number_has_the_values_that_its_notation_may_have(text: str, values: list[Decimal]) -> None:
    (figure,) = figures_of(text)
    assert figure.values == {Decimal(value).normalize() for value in values}


# What people write, of each kind: an answer, its passage, and whether it is doubted.
ORDINARY = (
    ("Frist: 15.03.2023 [1].", "Die Frist endet am 15.03.2024.", True), ("Frist: 15.03.2024 [1].", "Die Frist endet am 15.03.2024.", False),
    ("Due 15.03.2024 [1].", "It is due on 15 March 2024.", False), ("Due 2024-03-15 [1].", "It is due on March 15, 2024.", False),
    ("Due 16 March 2024 [1].", "It is due on 15 March 2024.", True), ("It was in 2024 [1].", "It is due on 15.03.2024.", False),
    ("Am 15. März 2024 [1].", "Fällig: 2024-03-15", False), ("Le 3 mai 2023 [1].", "Fait le 4 mai 2023.", True),
    ("Install 2.4.9 [1].", "Install version 2.4.1.", True), ("Version 2.4.1 [1].", "Use v2.4.1 here.", False),
    ("Use 10.0.0.9 [1].", "Use 10.0.0.1 for it.", True), ("It opens at 9:00 [1].", "It opens at 9 am.", False),
    ("It opens at 9:30 [1].", "It opens at 9:15.", True), ("年假为30天[1]。", "年假为26天。", True), ("年假为 26 天 [1]。", "年假为26天。", False),
    ("It costs 5 € [1].", "Price: EUR5", False), ("2 billion euros [1].", "It made 2 million euros.", True),
    ("2,5 Mio. Euro kostet es [1].", "Kosten: 2.500.000 Euro", False), ("€1.2 million [1].", "It made €1.2 billion.", True),
    ("2 million EUR [1].", "It made 2,000,000 EUR.", False), ("At -20 °C [1].", "At 20 °C it runs.", True), ("At -20 °C [1].", "At \N{MINUS SIGN}20 °C it runs.", False),
    ("From 10-20 kg [1].", "Between 10 and 20 kg.", False), ("It takes 5 mW [1].", "It takes 5 MW.", True), ("15 an hour [1].", "Pay is 15 euros per hour.", False),
    ("It lasts three days [1].", "It lasts five days.", True), ("Es dauert fünf Tage [1].", "Es dauert 5 Tage.", False), ("Es dauert 1 Tag [1].", "Es dauert ein Tag.", False),
    ("One of them fits [1].", "The pump fits.", False), ("Sono 3 mesi [1].", "Sono 3 giorni.", True), ("See page 12 [1].", "The pump fits.", True),
    ("Call 030 123456 [1].", "Call 030 123456.", False), ("100 Mbit/s [1].", "It has 100 Gbit/s.", True), ("5 % [1].", "It is 5 percent.", False),
)  # fmt: skip


@pytest.mark.parametrize(("answer", "passage", "is_doubted"), ORDINARY)
def test_ordinary_figures(answer: str, passage: str, is_doubted: bool) -> None:
    assert bool(list(unsupported(answer, passages_of(passage), "What is it?"))) is is_doubted


def test_the_question_lends_its_figures_and_words_and_no_more() -> None:
    shown = passages_of("Leave is 26 weeks.", "Notice is 9 days.")
    for answer, question, is_doubted in (
        ("It is not 30 weeks [1].", "Is leave 30 weeks?", False), ("It is 30 months [1].", "Is leave 30 weeks?", True),
        ("It is 1 year [2].", "Which one applies to me?", True),
        ("The documents do not define “gross misconduct”.", "What does “gross misconduct” mean?", False),
    ):  # fmt: skip
        assert bool(list(unsupported(answer, shown, question))) is is_doubted, answer
    page = Passage(Chunk("documents/a.pdf", 1, 0, "The pump fits.", page=12), 0.5)
    assert list(unsupported("See page 12 [1].", [page], "Where?")) == []
