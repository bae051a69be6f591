"""How many transitions become durable in a second? The journal's groups beside aiosqlite's one by one, as rows.

The measurement is `benchmarks.journal`: the same rows, SQL and pragmas (FULL) on the same disk.
"""

from __future__ import annotations

from benchmarks import journal
from benchmarks.measures import Goal, Options, Result, Row

__all__ = ["measure"]


def measure(options: Options) -> Result:
    """The rows of this question."""
    callers = 10 if options.is_quick else journal.CALLERS
    many, alone = (3, 5) if options.is_quick else (30, 100)
    rounds = [
        (
            journal._run(journal._ours_hz, callers=callers, transitions=many),
            journal._run(journal._aiosqlite_hz, callers=callers, transitions=2),
            journal._run(journal._ours_hz, callers=1, transitions=alone),
            journal._run(journal._aiosqlite_hz, callers=1, transitions=alone),
        )
        for _ in range(options.rounds)
    ]
    ours, theirs, ours_alone, theirs_alone = (
        [float(figure) for figure in column] for column in zip(*rounds, strict=True)
    )
    peer = "aiosqlite, one by one"
    return Result(
        rows=[
            Row(
                name="durable-transitions",
                measure=f"durable transitions per second, {callers} callers, FULL",
                unit="1/s",
                ours=ours,
                peer_name=peer,
                peer=theirs,
                goal=Goal.at_least(20),
            ),
            Row(
                name="durable-transitions-alone",
                measure="durable transitions per second, one caller, FULL",
                unit="1/s",
                ours=ours_alone,
                peer_name=peer,
                peer=theirs_alone,
            ),
        ]
    )
