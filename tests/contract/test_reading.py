"""What people's files have that readers lose or mislabel, a case a kind; the files lie in tests/support/reading."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from headrace.parsers.readers import Source, read_blocks
from headrace.types import Block

FOLDER = Path("tests/support/reading")


@dataclass(frozen=True)
class Case:
    """A file; texts that are blocks, words that are in some block, words that are in none, and words of its notes."""

    name: str
    blocks: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


TABLES = (
    Case("colspan2.html", ("Model: Kite; 2025 · Net: 100; 2025 · Gross: 119; 2026 · Net: 110; 2026 · Gross: 131",)),
    Case("twohead.xlsx", ("Model: Kite; 2025 · Net: 100; 2025 · Gross: 119; 2026 · Net: 110; 2026 · Gross: 131",)),
    Case("rowspan.html", ("Region: North; Depot: Birch; Pallets: 57", "Region: South; Depot: Cedar; Pallets: 63")),
    Case("keyvalue.html", ("Weight: 14 kg", "Height: 52 cm", "Warranty: 36 months")),
    Case("form.xlsx", ("Company: Acme Ferries", "Lease end: 2027-03-31", "Deposit: 1800", "Contact: Ingrid")),
    Case("kvnohead.csv", ("Company: Acme Ferries", "Lease end: 2027-03-31", "Deposit: 1800")),
    Case("titlerow.xlsx", ("Fleet overview 2026", "Ship: Marlin; Crew: 16; Built: 1998; Port: Oslo")),
    Case("titlerow2.xlsx", ("Ship: Marlin; Crew: 16; Built: 1998; Port: Oslo",), ("Fleet overview", "Status: draft")),
    Case("preamble.csv", ("Sales report 2025", "Generated: 2026-01-04", "region: North; units: 12; revenue: 3400")),
    Case("preamble2.csv", ("Report: Sales", "Period: Q1", "region: South; units: 7; revenue: 2100; margin: 0.3")),
    Case("sep.csv", ("name: Ada; city: Bern", "name: Bob; city: Oslo"), gone=("sep=",)),
    Case("stacked.xlsx", ("Ship: Marlin; Crew: 16", "Port: Oslo; Depth (m): 12")),
    Case("wrongdim.xlsx", tuple(f"Ship: Ship{n}; Crew: {n + 10}" for n in range(5))),
    Case("farcell.xlsx", ("Ship: Marlin; Crew: 16", "1")),
    Case("nocache.xlsx", ("Item: Sum; Total: =SUM(D2:D3) (not calculated)",)),
    Case("formats.xlsx", ("Loan: Harbour; Rate: 5.75%; Amount: $56,701.03; Share: 65%; Start: Mar 2026; Zip: 01234",)),
    Case("types.xlsx", ("dur: 30:15:00", "err: #DIV/0!", "flt: 0.3", "big: 12345678901234570", "card: 0049123")),
    Case("hidden.xlsx", ("Visible: yes; Note: ok",), gone=("hiddenrow", "obsolete", "Salary"), notes=("Secret",)),
    Case(
        "table.pdf",
        ("Ship: Marlin; Crew: 16; Port: Oslo", "Ship: Tern; Port: Bergen", "Ship: Heron; Crew: 9; Port: Narvik"),
    ),
    Case("orgtable.org", ("Prices per metre, valid until June:", "Rope: Hemp; Price: 4", "Prices exclude tax.")),
    Case("mdtable.md", ("Prices follow:", "Size: S; Price: 4", "After the table.", "kelp --fast", "second item")),
)
WORDS = (
    Case("details.html", ("Deck: A; Cabins: 40", "Cabins per deck in 2026", "Accept", "Booking code", "Codes have six letters."),
         ("dogs under twelve kilos travel free", "Parking costs eight euros a day", "Can I bring a dog aboard?")),
    Case("hidden.html", ("You have 30 days to return goods.",), gone=("DRAFT", "OLD", "template", "JavaScript", "comment", "aria")),
    Case("footnote.docx", ("The deposit is refundable.", "Except after a breach, when it is forfeited.")),
    Case("textbox.docx", ("Lift with two people.", "WARNING: emergency stop is behind panel 6.")),
    Case("comment.docx", ("Rent is 900.",), ("agreed to lower it to 850",)),
    Case("revisions.docx",
         ("The fee is EUR 500 a year.", "Notice is ninety days.", "See Annex 7 and Rotterdam office.", "co-operate",
          "Block control: approved by Ingrid.", "Mass E = mc^2", "Document no. HR-778 rev C", "Valid until 30 June 2027"),
         gone=("400", "Moved clause")),
    Case("vanish.docx", ("Public text.",), gone=("Hidden draft",)),
    Case("deck.pptx", ("Grouped: budget is 77 kEUR", "Plan: Pro; Price: 25; Seats: 9", "Speaker note: do not promise March.",
                       "East: 19.2", "West: 21.4", "Second: right box")),
    Case("form.pdf", ("Surname: Lindqvist", "Monthly rent: 1475 EUR"), ("approved on 4 May",)),
    Case("twocol_rows.pdf", ("The ferry leaves at seven and takes two hours to the island. Tickets are sold at the harbour office.",
                             "Dogs travel free of charge on all decks except in cabins of first class, where a fee of ten is due.")),
    Case("apple.eml", ("First part: see the drawing.", "Second part: the rope must be 14 metres long."), notes=("d.png",)),
    Case("cal.eml", ("Event: Crane training; Start: 2026-04-01 09:00 UTC; Place: Shed four",)),
    Case("cap.org", ("Rope: Nylon; Price: 6", "Prices exclude tax.", "# stop first\nkelp stop", "See the kelp site for more."),
         ("DEADLINE: <2026-12-01 Tue>", "OWNER: Ingrid", "Term :: a definition")),
    Case("front.md", ("title: Boiler manual; author: ops team; status: retired", "Turn it on."), gone=("comment in yaml",)),
    Case("angle.md", ("Name: c; Value: 7", "nested bullet", "Hidden detail text.", "Term: Definition words"),
         ("<your-token>", "Map<String, Integer>", "Optional<Path>", "a<b and c>d", "help@kelp.example", "ninety days", "#NoSpace")),
    Case("wrapped.json", ("name: Pam; desk: 115; extension: 4115; start: 2019-07-01; skills: welding, crane 15",)),
)  # fmt: skip
ENCODINGS = (
    Case("latin2.html", ("Cennik",), ("Żółta łódź kosztuje sześćset złotych, a święta są wliczone.",)),
    Case("koi8.html", ("Отпуск длится двадцать восемь дней в году для каждого работника.",)),
    Case("onebad.txt", words=("Kündigungsfrist beträgt für Führungskräfte", "Broken byte \ufffd here"), notes=("no known encoding",)),
    Case("cp1250.csv", ("jméno: Řehoř; město: Třebíč", "jméno: Šárka; město: Plzeň")),
    Case("u16nobom.csv", ("name: Ada; city: Bern", "name: Bob; city: Oslo")),
    Case("bomhead.eml", ("Body with bom.",), ("Subject: Ropes",)),
    Case("cp1252lie.eml", ("It’s “fine” – costs € 40.",)),
)  # fmt: skip
PICTURES = (
    Case("exif.jpg", words=("The monthly rent is 940 euros.", "Notice must be given three months ahead.")),
    Case("scanfooter.pdf", ("Page 1 of 1 BATES-000417",), ("The monthly rent is 940 euros.",)),
    Case("mixedscan.pdf", ("Typed page: see the scanned letter below.",), ("The monthly rent is 940 euros.",)),
)


@pytest.mark.parametrize("case", TABLES + WORDS + ENCODINGS + PICTURES, ids=lambda case: case.name)
def test_what_a_file_shows_is_read(case: Case) -> None:
    blocks, notes = read_blocks(Source(FOLDER / case.name, case.name, languages="eng"))
    texts = [block.text for block in blocks]
    everything = "\n".join(texts)
    assert set(case.blocks) <= set(texts), texts
    assert all(words in everything for words in case.words), texts
    assert not any(words in everything for words in case.gone), texts
    assert all(any(words in note for note in notes) for words in case.notes), notes
    if not case.notes:
        assert not notes


def test_accents_far_into_a_file_are_told(tmp_path: Path) -> None:
    plain = "The harbour office keeps the log of every ship.\n\n" * 3_000
    (tmp_path / "a").write_bytes(f"{plain}Überführung der Fähre für 40 €.".encode("cp1252"))
    blocks, notes = read_blocks(Source(tmp_path / "a", "a.txt"))
    assert (blocks[-1].text, notes) == ("Überführung der Fähre für 40 €.", ())


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("outline.pdf", "Limit of pressure is nine bar.", (1, ("2 Limits",), "")),
        ("outline.pdf", "Cleaning goes on: rinse twice with water.", (2, ("3 Cleaning",), "")),
        ("outline.pdf", "Store below ten degrees.", (2, ("4 Storage",), "")),
        ("deck.pptx", "First: left box", (3, (), "")),
        ("preamble.csv", "region: South; units: 7; revenue: 2100", (None, ("Sales report 2025",), "row 6")),
        ("wrapped.json", "name: Dan; desk: 103; extension: 4103; start: 2019-04-01; skills: welding, crane 3",
         (None, ("employees",), "employees[3]")),
        ("rowspan.html", "Region: North; Depot: Aspen; Pallets: 41", (None, ("Depots",), "")),
        ("titlerow.xlsx", "Ship: Tern; Crew: 13; Built: 2004; Port: Bergen", (1, ("Sheet", "Fleet overview 2026"), "row 5")),
        ("details.html", "Yes, dogs under twelve kilos travel free.", (None, ("FAQ", "Can I bring a dog aboard?"), "")),
    ],
)  # fmt: skip
def test_a_block_is_where_a_person_finds_it(
    name: str, text: str, place: tuple[int | None, tuple[str, ...], str]
) -> None:
    blocks, _ = read_blocks(Source(FOLDER / name, name))
    (block,) = [block for block in blocks if block.text == text]
    assert (block.page, block.section, block.spot) == place


def read(name: str, content: str | bytes, folder: Path) -> list[Block]:
    path = folder / "file"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_blocks(Source(path, name))[0]


@pytest.mark.parametrize(
    ("name", "content", "texts"),
    [
        # No label rather than a false one: nothing says that the first row is a header.
        ("a.csv", "Aspen,41,7\nBirch,57,9\nCedar,63,8\n", ["Aspen; 41; 7", "Birch; 57; 9", "Cedar; 63; 8"]),
        ("a.csv", "Ada,Bern\nBob,Oslo\nCyd,Rome\n", ["Ada: Bern", "Bob: Oslo", "Cyd: Rome"]),
        ("a.csv", "Model,2025,,2026,\n,Net,Gross,Net,Gross\nKite,100,119,110,131\n",
         ["Model: Kite; 2025 · Net: 100; 2025 · Gross: 119; 2026 · Net: 110; 2026 · Gross: 131"]),
        ("a.csv", "Part;Price\nSeal;12\n\nValve;40\n", ["Part: Seal; Price: 12", "Part: Valve; Price: 40"]),
        ("a.csv", "Part;Price\nSeal;12\nPart;Price\nValve;40\n", ["Part: Seal; Price: 12", "Part: Valve; Price: 40"]),
        ("a.csv", "Ship,Crew,Port\nTern,9,Oslo\nMarlin,16,Rome\nSource: the harbour office,,\n",
         ["Ship: Tern; Crew: 9; Port: Oslo", "Ship: Marlin; Crew: 16; Port: Rome", "Source: the harbour office"]),
        ("a.csv", '"a, b";c\n"d; e";4\n"f\ng";5\n', ["a, b: d; e; c: 4", "a, b: f g; c: 5"]),
        ("a.html", "<table><tr><th>City</th><th>Fee</th></tr><tr><td colspan=2>North</td></tr><tr><td>Oslo</td><td>4</td></tr></table>",
         ["North", "City: Oslo; Fee: 4"]),
        ("a.html", "<table role=presentation><tr><td>Menu</td><td><p>Welcome aboard.</p></td></tr></table>", ["Menu", "Welcome aboard."]),
        ("a.html", "<table><tr><td><h2>Left</h2>one</td><td><h2>Right</h2>two</td></tr></table>", ["Left", "one", "Right", "two"]),
        ("a.html", "<table><tr><td>a<table><tr><th>K</th><th>V</th></tr><tr><td>x</td><td>1</td></tr></table></td><td>b</td></tr></table>",
         ["a", "K: x; V: 1", "b"]),
        ("a.html", "<style>.old{display:none}</style><p class='old'>14 days</p><p>30 days</p>", ["30 days"]),
        ("a.html", "<ol start=3><li>three</li><li value=7>seven</li><li>eight</li></ol>", ["3. three", "7. seven", "8. eight"]),
        ("a.html", "<dl><dt>Fee<dd>4 EUR<dt>Term<dd>2 years</dl>", ["Fee: 4 EUR", "Term: 2 years"]),
        ("a.html", "<p>See <img src=x alt='the red valve'> first.</p><pre>a  b\n  c</pre>", ["See the red valve first.", "a  b\n  c"]),
        ("a.html", "<p>漢<ruby>字<rp>(</rp><rt>じ</rt><rp>)</rp></ruby></p>", ["漢字(じ)"]),
        ("a.txt", "2026-01-01 start\n2026-01-02 stop", ["2026-01-01 start\n2026-01-02 stop"]),
        ("a.txt", "Name      Fee\nOslo        4\nBergen     12", ["Name      Fee\nOslo        4\nBergen     12"]),
        ("a.json", '{"data": {"people": [{"name": "Ada", "tags": ["a", "b"]}, {"name": "Bob"}]}}', ["name: Ada; tags: a, b", "name: Bob"]),
        ("a.xml", "<people><p id='1'><n>Ada</n></p><p id='2'><n>Bob</n></p></people>", ["id: 1; n: Ada", "id: 2; n: Bob"]),
        ("a.rtf", "{\\rtf1\\ansi\\ansicpg1250 {\\v hidden}\\'b3\\'f3d\\'9f\\par}", ["łódź"]),
        ("a.rst", ".. csv-table::\n   :header: City, Fee\n\n   Oslo, 4\n\n.. note:: Pay first.\n", ["City: Oslo; Fee: 4", "Note", "Pay first."]),
    ],
)  # fmt: skip
def test_what_a_format_means_is_kept(name: str, content: str, texts: list[str], tmp_path: Path) -> None:
    assert [block.text for block in read(name, content, tmp_path)] == texts


def test_a_long_record_says_in_each_part_whose_it_is(tmp_path: Path) -> None:
    visits = ", ".join(f'{{"port": "Port {n}", "remark": "{"calm " * 10}"}}' for n in range(30))
    blocks = read("a.json", f'{{"ships": [{{"name": "Marlin", "crew": 16, "visits": [{visits}]}}]}}', tmp_path)
    assert len(blocks) > 2
    assert all(block.text.startswith("name: Marlin; crew: 16") for block in blocks)
    assert blocks[-1].spot == "ships[0].visits[29]"


def test_what_is_attached_to_a_mail_is_read_below_its_name(tmp_path: Path) -> None:
    mail = (
        "From: a@example.org\nSubject: Offer\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=B\n\n"
        "--B\nContent-Type: text/plain\n\nSee the offer.\n"
        "--B\nContent-Type: text/csv; name=offer.csv\nContent-Disposition: attachment; filename=offer.csv\n\nPart,Price\nSeal,12\n"
        "--B\nContent-Type: message/rfc822\n\nSubject: Old offer\nFrom: c@example.org\n\nIt was 14.\n"
        "--B\nContent-Type: text/plain; name=blank.txt\nContent-Disposition: attachment; filename=blank.txt\n\n \n"
        "--B\nContent-Type: application/x-dosexec\nContent-Disposition: attachment; filename=run.exe\n\nMZ\x00\x00\n--B--\n"
    )
    path = tmp_path / "file"
    path.write_text(mail)
    blocks, notes = read_blocks(Source(path, "a.eml"))
    assert [(block.section, block.text) for block in blocks[1:]] == [
        ((), "See the offer."),
        (("offer.csv",), "Part: Seal; Price: 12"),
        (("Forwarded: Old offer",), "Subject: Old offer; From: c@example.org"),
        (("Forwarded: Old offer",), "It was 14."),
        ((), "Attached, and not read: blank.txt"),
        ((), "Attached, and not read: run.exe"),
    ]
    assert len(notes) == 2
    assert "'blank.txt', which is attached, was not read: No text was found in the file." in notes[0]
    assert "'run.exe', which is attached, was not read: Files of the type .exe can't be read." in notes[1]
    assert list(tmp_path.iterdir()) == [path], "what was unpacked is gone"


def test_running_lines_of_a_pdf_are_no_part_of_its_text(tmp_path: Path) -> None:
    from tests.support.files import pdf_with_margins

    blocks = read(
        "a.pdf", pdf_with_margins([f"Chapter text number {'abcdef'[n]} about pumps." for n in range(6)]), tmp_path
    )
    texts = [block.text for block in blocks]
    assert sum("Pump manual" in text for text in texts) == 1
    assert not any("Page" in text for text in texts)
    assert [text for text in texts if "Chapter" in text] == [
        f"Chapter text number {'abcdef'[n]} about pumps." for n in range(6)
    ]
