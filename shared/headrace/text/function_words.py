"""Words that carry no meaning of their own, in ten languages besides English: articles, pronouns, prepositions, auxiliaries.

The commonest of each in Snowball's stop word lists (https://snowballstem.org, BSD), without those that people ask about in
English (`war`, `men`, `pour`): a text's language is not known where words are counted.
"""

from __future__ import annotations

from collections.abc import Iterable

_LISTS = (
    # German
    """
    aber alle allem allen aller als also auch auf aus bei beim bin bis bist da damit dann das dass dem den denn der des dich dir
    du durch ein eine einem einen einer eines er es euch für gegen gibt habe haben hatte hier ich ihm ihn ihr ihre ihrem ihren
    ihrer im ist jede jedem jeden jeder kann können könnte man mein meine meinem meinen meiner mich mir mit muss müssen nach nicht
    noch nur ob oder ohne sehr sein seine seinem seinen sich sie sind soll sollen sondern über um und uns unser unter viel viele
    vom von vor wann warum wäre weil welche welchem welchen welcher welches wenn wer werde werden wie wieder wir wird wo wurde
    wurden zu zum zur zwischen darf dürfen
    """,
    # French
    """
    au aux avec ce ces cette comme dans de du elle elles en est et été eux il ils je la le les leur leurs lui ma mais mes moi mon
    nos notre nous on ont ou où par pas plus qu que quel quelle quels quelles qui quoi sa sans ses sont sous sur ta te
    tes toi ton très tu un une vos votre vous combien comment quand pourquoi
    """,
    # Spanish
    """
    al algo ante antes como con contra cual cuál cuando cuándo cuánto cuánta cuántos cuántas del desde donde dónde el él ella
    ellas ellos entre era es esa ese eso esta está están este esto fue ha hay la las lo los más mi mis muy nos nuestra nuestro
    para pero por porque puede puedo que qué quien quién se según ser si sí sobre su sus también tengo tiene un una uno unos y ya
    """,
    # Italian
    """
    agli ai al alla alle anche che chi ci come con cosa cui da dal dalla dei del della delle di dove gli ha hanno ho il io la le
    lei lo loro lui ma mi mio nel nella nelle noi non nostro per perché più possono può quale quali quando quanto quanta quanti
    quante questa questo se sono su sua sue sui suo tra una uno vi voi è
    """,
    # Portuguese
    """
    à às ao aos até como com da das de dela dele do dos e ela elas ele eles em entre era essa esse esta está este eu foi há isso
    isto já lhe mais mas me meu minha na nas não nem no nos num numa o onde os ou para pela pelas pelo pelos por porque posso
    pode qual quais quando quanto quantos quantas que quem são se sem ser seu sua são também tem tenho um uma você vocês
    """,
    # Dutch
    """
    aan als bij dan dat de deze die dit door een en er haar heb hebben heeft het hij hoe hoeveel ik je kan kunnen maar mag mijn
    mij moet naar niet nog nu om onder ons ook op over te tot uit van veel voor waar waarom wanneer wat welke wie wij worden
    wordt ze zich zij zijn zonder
    """,
    # Swedish, Danish, Norwegian
    """
    af alla alle att av både blev bli blir blive bliver da de deg dem den denne der deras deres det dette detta di din ditt du
    där eg ej eller en er et ett eta finns for fra från får för ha han har hans hon hos hun hur hva hvad hvem hver hvilken hvor
    hvordan hvornår hvorfor här i icke ikke ingen inte jag jeg kan kun kunne man med mellem mellom mig min mit mitt mycket må
    måste na när någon något några när och og også om op oss over på samma sedan selv sig sin sina sine sitt ska skal skulle som
    så til till ut uten utan vad var vara varför varje vart vem vi vid vilka vilken vilket ville være vår åt än är över
    """,
    # Polish
    """
    albo ale bez być był była było były dla czy czym co do gdy gdzie go i ich ile jak jaka jaki jakie jako je jego jej jest
    jeszcze jeśli już kiedy kto która które który ma mam może można mu na nad nie niego nim o od oraz po pod przez przy są się
    ta tak także tam te tego tej ten to tu tylko tym w we więc wszystko z za ze że
    """,
)
# They are words of English or of computing, or English stop words already.
_ENGLISH = (
    "also den do eta go had han has he i in is man me men mine no of on or over son so te then to was we where who com dos os"
).split()
# A single letter is as likely a name: plan E, type A.
FUNCTION_WORDS = frozenset(word for words in _LISTS for word in words.split() if len(word) > 1) - frozenset(_ENGLISH)
# Of the languages that write compounds as one word: German, Dutch, Scandinavia's.
COMPOUNDING_WORDS = frozenset(word for place in (0, 5, 6) for word in _LISTS[place].split()) - frozenset(_ENGLISH)
# By language, as far as answers speak it; English for everything else.
BY_LANGUAGE = {
    "en": frozenset(
        """
        a about all an and any are at be by can compare could describe did do does explain find for from give had has have how i if
        in into is it its list many may me much must my no per show summarise summarize tell than then these those who
        not of on or our shall should that the their there this to we were what when where which who whose why will with
        would you your
        """.split()
    ),
    # `was` and `die` are left out above, for English.
    **{
        code: frozenset("was die".split() if code == "de" else ()) | frozenset(_LISTS[place].split())
        for place, code in enumerate(("de", "fr", "es", "it", "pt", "nl"))
    },
}


_IN_ENGLISH_TOO = frozenset(
    """
    per die van os dos la las los le les de des di da del den der el en es est et il in is la ma me mi mon no non nos on os ou per plus
    qui sa se si sin so son sur sus te ten tot tu un una van vis was con come sale sono elle par pour comment man bin also die der
    """.split()
)


def language_of(words: Iterable[str]) -> str:
    """The language that most of the function words among these (lower case) are of; English where none is.

    One word that is an English one, or a name, as well does not make another language.
    """
    found = set(words)
    counts = {code: len(found & known) for code, known in BY_LANGUAGE.items()}
    best = max(counts, key=lambda code: (counts[code], code == "en"))
    return best if counts[best] > 1 or found & (BY_LANGUAGE[best] - _IN_ENGLISH_TOO) else "en"
