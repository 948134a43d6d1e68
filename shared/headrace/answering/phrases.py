"""What Headrace itself says in an answer, in the language of the question."""

from __future__ import annotations

from dataclasses import dataclass

from headrace.text.function_words import language_of
from headrace.text.sentences import words


@dataclass(frozen=True, slots=True)
class Phrases:
    """The sentences of one language."""

    refusal: str  # nothing was found
    quotes: str  # no language model wrote
    unstyled: str  # instructions about tone and form have no effect
    needs_model: str  # what no quote can answer
    nearest: str  # before quotes that are near it


PHRASES = {
    "en": Phrases(
        "I found nothing in your documents that answers this.",
        "No language model wrote this: these are quotes from your documents.",
        "They stand as they are, so instructions about tone and form have no effect.",
        "Summing up, comparing and ranking needs a language model, and none is configured (CHAT_MODEL).",
        "Nearest in your documents:",
    ),
    "de": Phrases(
        "In Ihren Dokumenten habe ich nichts gefunden, was das beantwortet.",
        "Das hat kein Sprachmodell geschrieben: Es sind Zitate aus Ihren Dokumenten.",
        "Sie stehen da, wie sie sind; Vorgaben zu Ton und Form wirken nicht.",
        "Zusammenfassen, Vergleichen und Reihen braucht ein Sprachmodell, und keines ist eingerichtet (CHAT_MODEL).",
        "Am nächsten kommen in Ihren Dokumenten:",
    ),
    "fr": Phrases(
        "Je n'ai rien trouvé dans vos documents qui y réponde.",
        "Aucun modèle de langue n'a écrit ceci : ce sont des citations de vos documents.",
        "Elles restent telles quelles : les consignes de ton et de forme sont sans effet.",
        "Résumer, comparer et classer demande un modèle de langue, et aucun n'est configuré (CHAT_MODEL).",
        "Le plus proche dans vos documents :",
    ),
    "es": Phrases(
        "No he encontrado nada en sus documentos que lo responda.",
        "Esto no lo ha escrito ningún modelo de lenguaje: son citas de sus documentos.",
        "Están tal cual, de modo que las indicaciones de tono y forma no tienen efecto.",
        "Resumir, comparar y ordenar requiere un modelo de lenguaje, y no hay ninguno configurado (CHAT_MODEL).",
        "Lo más cercano en sus documentos:",
    ),
    "it": Phrases(
        "Nei vostri documenti non ho trovato nulla che risponda a questo.",
        "Nessun modello linguistico ha scritto questo: sono citazioni dai vostri documenti.",
        "Restano come sono: le indicazioni di tono e forma non hanno effetto.",
        "Riassumere, confrontare e ordinare richiede un modello linguistico, e nessuno è configurato (CHAT_MODEL).",
        "Il più vicino nei vostri documenti:",
    ),
    "pt": Phrases(
        "Não encontrei nada nos seus documentos que responda a isto.",
        "Nenhum modelo de linguagem escreveu isto: são citações dos seus documentos.",
        "Ficam como estão, por isso instruções de tom e forma não têm efeito.",
        "Resumir, comparar e ordenar requer um modelo de linguagem, e nenhum está configurado (CHAT_MODEL).",
        "O mais próximo nos seus documentos:",
    ),
    "nl": Phrases(
        "Ik heb in uw documenten niets gevonden dat dit beantwoordt.",
        "Dit heeft geen taalmodel geschreven: het zijn citaten uit uw documenten.",
        "Ze staan er zoals ze zijn; aanwijzingen over toon en vorm werken niet.",
        "Samenvatten, vergelijken en rangschikken vraagt een taalmodel, en er is er geen ingesteld (CHAT_MODEL).",
        "Het dichtst in uw documenten:",
    ),
}  # fmt: skip


def phrases_for(question: str) -> Phrases:
    """The phrases in the question's language; in English where it has none."""
    return PHRASES[language_of(words(question))]
