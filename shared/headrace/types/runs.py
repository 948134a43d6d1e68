"""What runs are called, answers that are being made, each with the log of its events; and who leads where askers share one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum

from headrace.types.principals import Principal

_EVENT_ID = re.compile(r"([0-9a-f]{16})\.(\d{1,9})")


class Lead(IntEnum):
    """How a process stands that leads a flight."""

    LOST = 0
    ALONE = 1
    FOLLOWED = 2


@dataclass(frozen=True, slots=True)
class RunName:
    """One asker's run: an id means nothing to anybody else."""

    tenant: str
    owner: str
    scope: str
    id: str

    @classmethod
    def of(cls, asker: Principal, run_id: str) -> RunName:
        """The asker's run of this id. What was asked with other groups is another's: it may show what these may not see."""
        return cls(asker.tenant, asker.owner, asker.scope.digest, run_id)


def event_id(run_id: str, number: int) -> str:
    """What a reader sends back as `Last-Event-ID` to go on after this event, the run's `number`th."""
    return f"{run_id}.{number}"


def read_event_id(text: str) -> tuple[str, int]:
    """The run and the number that `event_id` wrote. Raises ValueError for anything else."""
    match = _EVENT_ID.fullmatch(text)
    if match is None:
        raise ValueError("An event's id is a run's id, a dot and a number.")
    return match[1], int(match[2])
