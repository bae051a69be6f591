"""How many items stay UNCERTAIN where replies to exports get lost, with webhooks and without.

    python -m tests.simulation.lost_replies --items 5000 --lost 0.01

Nothing else goes wrong, and nobody settles anything by hand: what stays UNCERTAIN a person would have to look up.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import attrs

from hitpaw_async import BatchLimits, VideoFacts
from hitpaw_async.policies import WhenFull
from tests.simulation.scenario import Ask, Ending, Faults, ProcessPlan, Scenario
from tests.simulation.seeds import run_scenario
from tests.simulation.videos import Video

if TYPE_CHECKING:
    from collections.abc import Mapping

BATCH_ITEMS: Final = 500
HOOK_WAIT_S: Final = 1800.0
"""How long an item waits for its webhook: the library's default."""


@attrs.frozen
class Exactly(Faults):
    """These faults, as often as said, and no others."""

    shares: Mapping[str, float] = attrs.field(factory=dict, kw_only=True)

    def share(self, name: str) -> float:
        return self.shares.get(name, 0.0)


def counted(items: int, *, lost: float, hooks_lost: float | None) -> Counter[str]:
    """How the items of as many batches as it takes ended.

    Args:
        items: How many there are.
        lost: The share of replies that get lost.
        hooks_lost: The share of webhooks that get lost; None: there are none.
    """
    figures: Counter[str] = Counter()
    for seed, begin in enumerate(range(0, items, BATCH_ITEMS), 1):
        count = min(BATCH_ITEMS, items - begin)
        report = run_scenario(_scenario(seed, count, lost=lost, hooks_lost=hooks_lost))
        assert report.violation is None, report.violation
        figures.update(dict(report.states))
        figures["uncertain and charged"] += report.uncertain_charged
        figures["charges"] += report.charges
    return figures


def _scenario(seed: int, items: int, *, lost: float, hooks_lost: float | None) -> Scenario:
    faults = Exactly(1.0, frozenset(), shares={"lost reply": lost, "webhook lost": hooks_lost or 0.0})
    plan = ProcessPlan(
        asks=(tuple(Ask(number) for number in range(items)),),
        limits=BatchLimits(jobs_in_flight=64, submissions=4),
        budget=None,
        ending=Ending.BY_ITSELF,
        faults=faults,
        hook_wait_s=None if hooks_lost is None else HOOK_WAIT_S,
    )
    return Scenario(
        seed=seed,
        videos=tuple(_video(number) for number in range(items)),
        processes=(plan,),
        when_full=WhenFull.WAIT,
        failed_jobs_are_charged=True,
        downloads=False,
        poll_s=(5.0, 10.0),
        probes=False,
        page_items=256,
        names_taken=(),
    )


def _video(number: int) -> Video:
    rate = Fraction(30)
    return Video(
        number=number,
        duration_s=30.0,
        frame_rate=rate,
        source=(1280, 720),
        target=(1920, 1080),
        told=VideoFacts(duration_s=30.0, frame_rate=rate, width=1280, height=720),
        has_key=True,
        priority=0,
        is_unusable=False,
        is_unreadable=False,
        is_doomed=False,
    )


def main() -> None:
    """Count, and print a line for each kind of webhooks."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.lost_replies", description=__doc__)
    parser.add_argument("--items", type=int, default=5000)
    parser.add_argument("--lost", type=float, default=0.01, help="share of the replies that get lost")
    arguments = parser.parse_args()
    kinds = {"without webhooks": None, "with webhooks": 0.0, "with webhooks, 20 % of them lost": 0.2}
    for kind, hooks_lost in kinds.items():
        figures = counted(arguments.items, lost=arguments.lost, hooks_lost=hooks_lost)
        sys.stdout.write(
            f"{kind}: of {arguments.items} items {figures['done']} DONE, {figures['uncertain']} UNCERTAIN, of which "
            f"{figures['uncertain and charged']} had been charged; {figures['charges']} charges\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
