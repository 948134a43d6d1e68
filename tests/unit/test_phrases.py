"""What Headrace itself says comes in the question's language."""

from __future__ import annotations

import pytest

from headrace.answering.phrases import PHRASES, phrases_for


@pytest.mark.parametrize(
    ("question", "language"),
    [
        ("How long is parental leave?", "en"), ("What does the pump in Berlin cost?", "en"), ("parental leave weeks", "en"),
        ("Where do I find the die for the press?", "en"), ("ERR_42", "en"), ("育児休暇は何週間ですか", "en"), ("", "en"),
        ("Wie lang ist die Kündigungsfrist für Mieter?", "de"), ("Was kostet die Pumpe?", "de"), ("Wer zahlt die Kaution zurück?", "de"),
        ("Combien coûte la pompe pour les clients ?", "fr"), ("Quelle est la durée du congé parental ?", "fr"),
        ("¿Cuánto cuesta la bomba para los clientes?", "es"), ("¿Dónde está la oficina?", "es"),
        ("Quanto costa la pompa per i clienti?", "it"), ("Qual é o preço da bomba para os clientes?", "pt"),
        ("Hoeveel kost de pomp voor een klant?", "nl"),
    ],
)  # fmt: skip
def test_the_language_is_the_questions(question: str, language: str) -> None:
    assert phrases_for(question) is PHRASES[language]
