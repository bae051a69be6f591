"""What a batch knows of a source before it pays: it reads by itself what it can, and never reserves too little."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest

from hitpaw_async import (
    AsyncHitPaw,
    ItemState,
    MediaError,
    MissingExtraError,
    Resolution,
    TransportError,
    VideoFacts,
    estimate,
)
from hitpaw_async._session import Session
from hitpaw_async.batch.probe import joined
from tests.batch.laboratory import HALF_A_MINUTE, Laboratory, laboratory, outcomes_of, video

if TYPE_CHECKING:
    from hitpaw_async import Outcome

pytestmark = pytest.mark.anyio

WORST_CREDITS = 160
FAILURES = (MediaError("It is no video."), TransportError("no way"), MissingExtraError("probe", "media"))


class Probes:
    """Stands in for the reading of sources, and counts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answer: VideoFacts | Exception) -> None:
        self.sources: list[str] = []

        async def probe(_: AsyncHitPaw, source: str, **__: Any) -> VideoFacts:
            self.sources.append(source)
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(Session, "probe", probe)


async def outcome_of(lab: Laboratory, *, facts: VideoFacts | None = None, **settings: Any) -> Outcome:
    async with lab.hitpaw.batch(**settings) as batch:
        return (await outcomes_of(batch, video("clip", facts=facts)))["clip"]


@pytest.mark.parametrize("probe", [None, True])
async def test_unknown_facts_are_read_where_nobody_said_otherwise(
    monkeypatch: pytest.MonkeyPatch, probe: bool | None
) -> None:
    probes = Probes(monkeypatch, HALF_A_MINUTE)
    async with laboratory() as lab:
        outcome = await outcome_of(lab, budget=1, probe=probe)
    assert (outcome.state, outcome.credits) == (ItemState.DONE, 1)
    assert probes.sources == ["https://videos.test/clip.mp4"]


async def test_a_plan_reads_them_too(monkeypatch: pytest.MonkeyPatch) -> None:
    Probes(monkeypatch, HALF_A_MINUTE)
    async with laboratory() as lab, lab.hitpaw.batch(budget=1) as batch:
        plan = await batch.plan([video("clip", facts=None)])
    assert (plan.credits_upper, plan.credits_left) == (1, 0)


@pytest.mark.parametrize(("facts", "probe"), [(HALF_A_MINUTE, None), (HALF_A_MINUTE, True), (None, False)])
async def test_nothing_is_read_where_all_is_known_or_somebody_said_no(
    monkeypatch: pytest.MonkeyPatch, facts: VideoFacts | None, probe: bool | None
) -> None:
    probes = Probes(monkeypatch, HALF_A_MINUTE)
    async with laboratory() as lab:
        outcome = await outcome_of(lab, facts=facts, probe=probe)
    assert outcome.credits == (WORST_CREDITS if facts is None else 1)
    assert not probes.sources


@pytest.mark.parametrize("failure", FAILURES, ids=lambda error: type(error).__name__)
async def test_what_nobody_asked_to_be_read_is_reserved_at_its_worst_where_it_cannot_be(
    monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    """The vendor may reach what we can't, and refuses what it can't use: it is never refused for our sake."""
    Probes(monkeypatch, failure)
    async with laboratory() as lab:
        poor = await outcome_of(lab, budget=WORST_CREDITS - 1)
        rich = await outcome_of(lab, budget=WORST_CREDITS)
        assert lab.charged == {"clip": 1}
    assert (poor.state, rich.state) == (ItemState.SKIPPED, ItemState.DONE)
    assert rich.credits == WORST_CREDITS


async def test_without_pyav_it_is_tried_once_and_not_for_each_video(monkeypatch: pytest.MonkeyPatch) -> None:
    probes = Probes(monkeypatch, MissingExtraError("probe", "media"))
    async with laboratory() as lab, lab.hitpaw.batch() as batch:
        for number in range(3):
            await outcomes_of(batch, video(number, facts=None))
    assert len(probes.sources) == 1


async def test_what_is_no_video_is_refused_where_somebody_asked_for_it_to_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Probes(monkeypatch, FAILURES[0])
    async with laboratory() as lab:
        outcome = await outcome_of(lab, probe=True)
        assert not lab.charged
    assert outcome.state is ItemState.REJECTED


async def test_what_is_read_and_breaks_a_limit_is_refused_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    Probes(monkeypatch, attrs.evolve(HALF_A_MINUTE, duration_s=601))
    async with laboratory() as lab:
        outcome = await outcome_of(lab)
        assert not lab.charged
    assert outcome.state is ItemState.REJECTED


@pytest.mark.parametrize("source", ["/etc/passwd", "file:///etc/passwd", "passwd", "ftp://a.example/a.mp4"])
@pytest.mark.parametrize("probe", [None, True])
async def test_what_is_no_web_address_is_refused_and_not_read(
    monkeypatch: pytest.MonkeyPatch, source: str, probe: bool | None
) -> None:
    """A stranger may have queued it: whether there is such a file is nobody's business."""
    probes = Probes(monkeypatch, HALF_A_MINUTE)
    request = attrs.evolve(video("clip", facts=None), video_url=source)
    async with laboratory() as lab, lab.hitpaw.batch(probe=probe) as batch:
        plan = await batch.plan([request])
        [outcome] = [outcome async for outcome in batch.run([request])]
    assert outcome.state is ItemState.REJECTED
    assert plan.credits_upper == 0
    assert not probes.sources


SMALL = VideoFacts(duration_s=30, frame_rate=30, width=640, height=360)


@pytest.mark.parametrize(
    ("told", "read", "upper"),
    [
        (VideoFacts(), SMALL, 1),
        (SMALL, VideoFacts(), 1),
        (VideoFacts(duration_s=30), attrs.evolve(SMALL, duration_s=500), 9),
        (VideoFacts(duration_s=500), SMALL, 9),
        (VideoFacts(frame_rate=30), attrs.evolve(SMALL, frame_rate=50), 2),
        (VideoFacts(frame_rate=50), SMALL, 2),
        (VideoFacts(frame_rate=30), attrs.evolve(SMALL, peak_frame_rate=120), 4),
        (VideoFacts(width=640, height=360), attrs.evolve(SMALL, width=3840, height=2160), 3),
        (VideoFacts(width=3840, height=2160), SMALL, 3),
        (VideoFacts(width=360, height=640), SMALL, 1),
        (VideoFacts(width=1280, height=128), attrs.evolve(SMALL, width=128, height=720), 1),
        (VideoFacts(duration_s=30), attrs.evolve(SMALL, duration_max_s=500.0), 9),
        (VideoFacts(duration_max_s=500.0), SMALL, 9),
    ],
)
def test_facts_that_contradict_each_other_are_priced_at_the_worst_of_them(
    told: VideoFacts, read: VideoFacts, upper: int
) -> None:
    facts = joined(told, read)
    assert estimate(facts, resolution=Resolution.HD).upper == upper
    for name in ("duration_s", "frame_rate", "width", "height"):
        assert getattr(facts, name) == (getattr(told, name) or getattr(read, name)), "what is told is the likeliest"
