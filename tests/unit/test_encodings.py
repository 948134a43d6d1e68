"""In which encoding a text is that doesn't say so: sentences are told rightly, single words mostly."""

# ruff: noqa: RUF001 - letters of many alphabets, and that is the point

from __future__ import annotations

import pytest

from headrace.parsers.detection import decoded, encoding_of
from headrace.parsers.encodings import likely_encoding

SENTENCES = {
    "cp1252": [
        "Die Kündigungsfrist beträgt für Führungskräfte fünf Monate. Größere Änderungen müssen schriftlich bestätigt werden.",
        "L’été à Genève coûte 40 € – c’est très agréable, où êtes-vous allés ?",
        "El año pasado, la niña comió piñas; ¿cuántas más querrá mañana?",
        "Até amanhã, não há razão para a situação ficar pior.",
        "Räksmörgås är gott på våren, sade Åsa.",
        "name;city\nJosé;Málaga\nZoë;Köln",
        "Smith’s “quoted” text – with dashes… and bullets •",
    ],
    "cp1250": [
        "jméno;město\nŽofie;Děčín\nŘehoř;Třebíč\nŠárka;Plzeň",
        "Żółta łódź kosztuje sześćset złotych, a święta są wliczone. Zażółć gęślą jaźń.",
        "Árvíztűrő tükörfúrógép, a hűvös időben többször is.",
        "Přístav je otevřen od šesti hodin ráno, loď vypluje každý den.",
    ],
    "iso8859_2": [
        "Żółta łódź kosztuje sześćset złotych, a święta są wliczone.",
        "Příliš žluťoučký kůň úpěl ďábelské ódy",
    ],
    "cp1251": ["Отпуск длится двадцать восемь дней в году для каждого работника.", "имя;город\nАда;Берн\nБоб;Осло"],
    "koi8_r": ["Отпуск длится двадцать восемь дней в году для каждого работника.", "имя;город\nАда;Берн\nБоб;Осло"],
    "cp1253": ["Το λιμάνι είναι ανοιχτό από τις έξι το πρωί κάθε μέρα."],
    "cp1254": ["İstanbul'da güneşli bir gün, çocuklar şarkı söylüyor ve ağaçların altında oturuyor."],
    "cp1255": ["הנמל פתוח משעה שש בבוקר בכל יום"],
    "cp1256": ["الميناء مفتوح من الساعة السادسة صباحا كل يوم"],
    "cp1257": [
        "Uostas atidarytas nuo šeštos valandos ryto, laivas išplaukia kiekvieną dieną į Rygą.",
        "Osta ir atvērta katru dienu no pulksten sešiem rītā, kuģis izbrauc šodien",
    ],
    "cp874": ["ท่าเรือเปิดทุกวันตั้งแต่หกโมงเช้า เรือออกเดินทางทุกชั่วโมง"],
    "cp932": ["港は毎日午前六時から開いています。船は一時間ごとに出発します。"],
    "euc_jp": ["港は毎日午前六時から開いています。船は一時間ごとに出発します。"],
    "gb18030": ["港口每天早上六点开放,船每小时出发一次。价格是四十元。"],
    "big5": ["港口每天早上六點開放,船每小時出發一次。價格是四十元。"],
    "cp949": ["항구는 매일 아침 여섯 시에 문을 엽니다. 배는 한 시간마다 출발합니다."],
    "mac_roman": [
        "Die Kündigungsfrist beträgt für Führungskräfte fünf Monate. Größere Änderungen müssen bestätigt werden."
    ],
    "cp850": [
        "Die Kündigungsfrist beträgt für Führungskräfte fünf Monate. Größere Änderungen müssen bestätigt werden."
    ],
}
WORDS = {
    "cp1252": [
        "Preis: 40 €",
        "Café",
        "Ø 14 mm, 30 °C",
        "naïve façade",
        "Señor Núñez vive en Cádiz.",
        "Það er gott veður á Íslandi",
        "Größe;Maß\nklein;5",
        "Die Straße ist für Fußgänger.",
        "Ils reçoivent l’œuvre à Noël",
        "München",
        "Çà et là",
    ],
    "cp1250": [
        "Łódź",
        "Škoda",
        "Gdańsk i Poznań",
        "Město;Kraj",
        "Győr és Pécs között",
        "Bucureşti şi Iaşi sunt orase frumoase, dacă ţii la ele",
        "Čačak i Niš, Đakovo",
    ],
    "cp1251": ["Москва", "Київ є столицею України, її населення", "Цена: 40 руб", "ОТПУСК ДЛИТСЯ"],
    "koi8_r": ["Москва", "Цена: 40 руб", "Санкт-Петербург и Казань"],
    "cp866": ["Отпуск длится двадцать восемь дней"],
    "cp1253": ["Αθήνα", "Τιμή: 40 ευρώ", "Θεσσαλονίκη και Πάτρα"],
    "cp1254": ["Fiyat: kırk lira, ödeme peşin", "Iğdır ve Muğla", "şehir;nüfus"],
    "cp1255": ["שלום", "המחיר הוא ארבעים שקל", "תל אביב"],
    "cp1256": ["السعر أربعون درهما", "مرحبا", "المدينة كبيرة جدا"],
    "cp1257": ["Šiauliai ir Kaunas, gražūs miestai", "Rīga un Liepāja", "Tõnu on väga õnnelik, jõgi on sügav"],
    "cp874": ["กรุงเทพ", "ราคาสี่สิบบาท"],
    "cp932": ["東京", "価格は四十円です", "カメラ", "ご案内"],
    "euc_jp": ["価格は四十円です", "東京都のホテル"],
    "gb18030": ["价格", "上海和北京", "合同期限为两年"],
    "big5": ["價格是四十元", "臺北市政府", "合約期限為兩年"],
    "cp949": ["서울", "가격은 사십 원입니다", "계약 기간은 2년이다"],
}
RIGHT_WORDS = 0.75


@pytest.mark.parametrize(
    ("encoding", "text"), [(encoding, text) for encoding, texts in SENTENCES.items() for text in texts]
)
def test_a_sentence_is_told_by_its_letters(encoding: str, text: str) -> None:
    assert text.encode(encoding).decode(likely_encoding(text.encode(encoding)), "replace") == text


def test_most_single_words_are_told_by_their_letters() -> None:
    cases = [(text, text.encode(encoding)) for encoding, texts in WORDS.items() for text in texts]
    right = [text for text, content in cases if content.decode(likely_encoding(content), "replace") == text]
    assert len(right) >= RIGHT_WORDS * len(cases), set(dict(cases)) - set(right)


@pytest.mark.parametrize(
    ("content", "declared", "encoding"),
    [
        ("Größe".encode("utf-16"), "", "utf-16"),
        ("Größe".encode("utf-16-be"), "iso-8859-1", "utf-16-be"),
        ("Größe".encode(), "iso-8859-1", "utf-8"),
        ("Größe".encode("cp1252"), "utf-8", "cp1252"),
        ("łódź".encode("iso8859_2"), "latin2", "iso8859-2"),
        ("“x”".encode("cp1252"), "ISO-8859-1", "cp1252"),
        ("価格".encode("iso2022_jp"), "iso-2022-jp", "iso2022_jp"),
        ("Größe ".encode() * 20 + b"\xe4", "", "utf-8"),
        (b"plain", "no-such-encoding", "utf-8"),
    ],
)
def test_marks_come_before_what_is_said_and_that_before_guesses(content: bytes, declared: str, encoding: str) -> None:
    assert encoding_of(content, declared=declared) == encoding


def test_characters_that_are_not_told_are_counted() -> None:
    assert decoded("Größe ".encode() * 20 + b"\xe4 end").replaced == 1
    assert decoded("a real \ufffd".encode()).replaced == 0
