"""What can go wrong on the way, as a test asks for it: `hub.faults.append({...})`."""

import re
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Fault:
    """What happens to the requests whose "METHOD /path?query" matches.

    Attributes:
        match: regular expression, searched.
        status, headers: answered instead of doing the work.
        delay: seconds to wait first (after the work, with `after`).
        drop: close the connection without an answer.
        truncate: close the connection after so many bytes of the answer's body.
        corrupt: flip one bit in the middle of the answer's body.
        after: the server does the work, and then fails.
        times: for how many matching requests; None is for ever.
        skip: how many matching requests go through first.
        hits: how often it has struck; the fixture wants at least once.
    """

    match: str
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drop: bool = False
    truncate: int | None = None
    corrupt: bool = False
    after: bool = False
    times: int | None = 1
    skip: int = 0
    hits: int = 0

    @property
    def works(self) -> bool:
        """Whether the server does what was asked."""
        return self.after or (self.status is None and not self.drop)

    def strikes(self, line: str) -> bool:
        if self.hits == self.times or not re.search(self.match, line):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.hits += 1
        return True


NONE = Fault("")


class Faults:
    """The faults of one test, in order; the first that strikes a request is its only one."""

    def __init__(self):
        self.faults: list[Fault] = []

    def append(self, fault: dict[str, Any]) -> None:
        self.faults.append(Fault(**fault))

    def clear(self) -> None:
        self.faults.clear()

    def strike(self, line: str) -> Fault:
        return next((fault for fault in self.faults if fault.strikes(line)), NONE)

    @property
    def idle(self) -> list[Fault]:
        """Those that no request has come for."""
        return [fault for fault in self.faults if not fault.hits]
