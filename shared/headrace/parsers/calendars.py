"""Invitations and calendars (iCalendar) to blocks: an event's title, time, place and people. Runs in the parser's process.

Reference: RFC 5545
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from headrace.types import Block

NAMES = {
    "SUMMARY": "Event", "DTSTART": "Start", "DTEND": "End", "DUE": "Due", "LOCATION": "Place", "DESCRIPTION": "Description",
    "ORGANIZER": "Organizer", "ATTENDEE": "Attendee", "RRULE": "Repeats", "STATUS": "Status", "COMMENT": "Comment",
    "CATEGORIES": "Categories", "URL": "Link",
}  # fmt: skip
EVENTS = frozenset({"VEVENT", "VTODO", "VJOURNAL"})
_LINE = re.compile(r'([\w-]+)((?:;[^:;"]*(?:"[^"]*"[^:;"]*)*)*):(.*)', re.DOTALL)
_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)\d\d(Z?))?")


def read_calendar(text: str) -> Iterator[Block]:
    """A block an event."""
    fields: list[str] = []
    within = ""
    # A line that begins with a space goes on from the one above.
    for line in re.sub(r"\r?\n[ \t]", "", text).splitlines():
        match = _LINE.match(line)
        if not match:
            continue
        name, options, value = match[1].upper(), match[2], match[3].strip()
        if name == "BEGIN" and value.upper() in EVENTS:
            within, fields = value.upper(), []
        elif name == "END" and value.upper() == within:
            yield from [Block("; ".join(fields))] if fields else []
            within = ""
        elif within and name in NAMES and value:
            fields.append(f"{NAMES[name]}: {_plain(name, options, value)}")


def _plain(name: str, options: str, value: str) -> str:
    if name in {"ORGANIZER", "ATTENDEE"}:
        called = re.search(r'CN="?([^";:]+)', options)
        address = re.sub(r"^mailto:", "", value, flags=re.IGNORECASE)
        return f"{called[1]} <{address}>" if called else address
    if time := _TIME.fullmatch(value):
        zone = re.search(r"TZID=([^;:]+)", options)
        day = f"{time[1]}-{time[2]}-{time[3]}"
        clock = f" {time[4]}:{time[5]}{' UTC' if time[6] else ''}" if time[4] else ""
        return f"{day}{clock}{f' ({zone[1]})' if zone else ''}"
    return " ".join(re.sub(r"\\(.)", lambda mark: " " if mark[1] in "nN" else mark[1], value).split())
