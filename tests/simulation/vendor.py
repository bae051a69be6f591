"""The simulated vendor: it accepts, charges, works and answers, and keeps books that nobody else sees."""

from __future__ import annotations

import heapq
import itertools
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs

from tests.simulation.videos import Video, real_price

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.simulation.scenario import Scenario
    from tests.simulation.world import World

__all__ = ["API_KEY", "Answer", "Charge", "Vendor"]

API_KEY = "key-of-the-simulation"


@attrs.frozen
class Answer:
    """An HTTP reply."""

    status: int
    fields: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict)
    job_id: str | None = None
    """The job that it announces, where no other item has that."""
    is_refusal: bool = False
    """Whether the vendor itself says that it has not accepted."""

    @property
    def body(self) -> bytes:
        return b"<html>gateway</html>" if self.fields is None else json.dumps(self.fields).encode()


@attrs.define(eq=False)
class Job:
    """The vendor's work on one video."""

    job_id: str
    known_at_s: float
    converting_at_s: float
    final_at_s: float
    shown_at_s: float
    """When its result has a URL."""
    is_doomed: bool
    is_gone: bool = False

    def status(self, now_s: float) -> str:
        if now_s < self.converting_at_s:
            return "WAITING"
        if now_s < self.final_at_s:
            return "CONVERTING"
        return "ERROR" if self.is_doomed else "COMPLETED"


@attrs.frozen(order=True)
class Post:
    """A webhook on its way."""

    due_at_s: float
    number: int
    token: str
    job_id: str
    status: str


@attrs.define(eq=False)
class Charge:
    """An accepted export. It costs from this moment on."""

    key: str
    job: Job
    credits: int
    at_s: float


class Vendor:
    """What happens at the other end of the wire.

    Args:
        world: Time, chance and the log.
        scenario: The videos, and whether a failed job is refunded.
        on_charge: Told of each charge the moment it is made.
    """

    def __init__(self, world: World, scenario: Scenario, *, on_charge: Callable[[Charge], None]) -> None:
        self._world = world
        self._is_refunding = not scenario.failed_jobs_are_charged
        self._on_charge = on_charge
        self._numbers = itertools.count(1)
        self._late: list[tuple[float, int, Mapping[str, Any]]] = []
        self._posts: list[Post] = []
        self._keys_by_token: dict[str, str] = {}
        self.videos: dict[str, Video] = {video.path: video for video in scenario.videos}
        self.charges: list[Charge] = []
        self.jobs: dict[str, Job] = {}
        self.durations_s: dict[str, float] = {}
        """How long the results are, by job."""
        self.is_key_revoked = False
        self.tells_credits = world.rng.random() < 0.3
        self.speed = world.rng.choice((0.3, 1.0, 1.0, 4.0))

    def net_credits(self, charge: Charge) -> int:
        """What a charge costs in the end, as far as anybody can tell now."""
        is_refunded = self._is_refunding and charge.job.status(self._world.now_s) == "ERROR"
        return 0 if is_refunded else charge.credits

    def charges_of(self, key: str) -> list[Charge]:
        return [charge for charge in self.charges if charge.key == key]

    def export(self, fields: Mapping[str, Any]) -> Answer:
        """Answer the call that submits a video; accept and charge it, unless something speaks against it."""
        world, video = self._world, self.video_of(fields)
        if world.chance("redirect"):
            world.is_cut_short = True
            return Answer(302, None, {"location": "https://elsewhere.example/"}, is_refusal=True)
        if self.is_key_revoked or world.chance("key revoked"):
            return self._refuse_key()
        if world.chance("no credits"):
            return _refusal(402, 501002)
        if world.chance("rate limit"):
            wait_s = world.rng.choice((None, "1", "7", "40", "4000"))
            return _refusal(429, 429, {} if wait_s is None else {"retry-after": wait_s})
        if world.chance("vendor failure"):
            return _failure(world.rng.choice((500, 503, 409)), 500100)
        if video.is_unusable:
            return _refusal(400, 501016)
        return self._acceptance(self.accept(fields))

    def video_of(self, fields: Mapping[str, Any]) -> Video:
        """The video that an export is about."""
        parts = urlsplit(str(fields["video_url"]))
        video = self.videos.get(parts.path)
        assert video is not None, f"an export of {parts.path}, which nobody may send"
        assert parts.query.startswith("sig="), f"an export without the signature of its URL: {parts.query}"
        return video

    def accept(self, fields: Mapping[str, Any]) -> Charge:
        """Accept an export: from now on it is charged."""
        world, video = self._world, self.video_of(fields)
        job = self._repeated_job(video) or self._new_job(video)
        charge = Charge(video.request().key, job, real_price(video), world.now_s)
        self.charges.append(charge)
        self.durations_s[job.job_id] = max(video.duration_s, self.durations_s.get(job.job_id, 0.0))
        world.note(f"vendor: charges {charge.credits} for {charge.key} as {job.job_id}")
        if "web_hook_url" in fields:
            self._post_later(str(fields["web_hook_url"]).rpartition("/")[2], charge)
        self._on_charge(charge)
        world.moment("charged")
        return charge

    def accept_late(self, fields: Mapping[str, Any], *, in_s: float) -> None:
        """Accept an export in a while, though nobody waits for the answer any more."""
        if not self.video_of(fields).is_unusable:
            heapq.heappush(self._late, (self._world.now_s + in_s, next(self._numbers), fields))

    def catch_up(self) -> None:
        """Accept what has waited long enough."""
        while self._late and self._late[0][0] <= self._world.now_s:
            self.accept(heapq.heappop(self._late)[2])

    def next_post_at_s(self) -> float:
        """When the next webhook is due."""
        return self._posts[0].due_at_s if self._posts else float("inf")

    def due_posts(self) -> list[tuple[str | None, Post]]:
        """The webhooks that are due, each with the key of the item that its path belongs to."""
        due = []
        while self._posts and self._posts[0].due_at_s <= self._world.now_s:
            post = heapq.heappop(self._posts)
            due.append((self._keys_by_token.get(post.token), post))
        return due

    def lose_posts(self) -> None:
        """While nobody listens, some webhooks are given up and some are tried again later."""
        self._posts = [
            post for post in self._posts if post.due_at_s > self._world.now_s or self._world.rng.random() < 0.5
        ]
        heapq.heapify(self._posts)

    def _post_later(self, token: str, charge: Charge) -> None:
        world, rng = self._world, self._world.rng
        self._keys_by_token[token] = charge.key
        due_at_s = charge.job.final_at_s + rng.uniform(0, 3)
        if world.chance("webhook early"):
            due_at_s = world.now_s + rng.uniform(0, 1)
        if world.chance("webhook late"):
            due_at_s += rng.uniform(0, 400)
        for _ in range(0 if world.chance("webhook lost") else 1 + world.chance("webhook twice")):
            self._post(due_at_s + rng.choice((0.0, rng.uniform(0, 60))), token, charge.job.job_id)
        if world.chance("webhook forged"):
            # On a path that nobody knows anything goes; on the right one comes what the vendor itself mixes up.
            others = [other.job.job_id for other in self.charges if other.key != charge.key]
            self._post(world.now_s + rng.uniform(0, 90), "a-guess", charge.job.job_id)
            self._post(world.now_s + rng.uniform(0, 90), token, "job-of-nobody")
            for job_id in others[-1:]:
                self._post(world.now_s + rng.uniform(0, 90), "another-guess", job_id)

    def _post(self, due_at_s: float, token: str, job_id: str) -> None:
        status = self._world.rng.choice(("COMPLETED", "ERROR", "WAITING"))
        heapq.heappush(self._posts, Post(due_at_s, next(self._numbers), token, job_id, status))

    def task(self, job_id: str) -> Answer:
        """Answer the call that asks for a job."""
        world, job = self._world, self.jobs.get(job_id)
        if self.is_key_revoked:
            return self._refuse_key()
        if world.chance("rate limit"):
            return _refusal(429, 429, {"retry-after": "2"})
        if world.chance("vendor failure"):
            return _failure(500, 500100)
        if world.chance("unknown code"):
            return _failure(*world.rng.choice(((200, 777), (404, 404), (403, 403))))
        if world.chance("no credits for polls"):
            return _refusal(402, 501002)
        if job is None or world.now_s < job.known_at_s:
            return _refusal(404, 501404)
        return self._status(job)

    def _refuse_key(self) -> Answer:
        self._world.is_cut_short = True
        self.is_key_revoked = True
        return _refusal(401, 501001)

    def _status(self, job: Job) -> Answer:
        world = self._world
        status = job.status(world.now_s)
        fields: dict[str, Any] = {"job_id": job.job_id, "status": status}
        if status in ("WAITING", "CONVERTING") and world.chance("unknown status"):
            fields["status"] = world.rng.choice(("PAUSED", "converting ", "Queued again"))
        if status == "ERROR":
            fields["status"] = world.rng.choice(
                ("ERROR", "ERROR_INTERRUPTION", "TIMEOUT", "CANCEL", "REJECTED", "NSFW")
            )
        if status == "COMPLETED" and (world.now_s >= job.shown_at_s or world.faults is None):
            fields["res_url"] = f"https://results.example/{job.job_id}.mp4?sig={next(self._numbers)}"
        if world.chance("another job's status"):
            fields |= {"job_id": "job-of-another", "status": world.rng.choice(("ERROR", "COMPLETED"))}
            fields["res_url"] = "https://results.example/job-of-another.mp4"
        return Answer(200, _enveloped(fields) if world.rng.random() < 0.5 else fields)

    def _acceptance(self, charge: Charge) -> Answer:
        world = self._world
        is_shared = sum(other.job is charge.job for other in self.charges) > 1
        if world.chance("vendor failure"):
            return _failure(world.rng.choice((500, 503, 409)), 500100)
        if world.chance("unknown code"):
            return _failure(200, 777)
        if world.chance("garbage"):
            return Answer(200, world.rng.choice(_GARBAGE))
        fields: dict[str, Any] = {"job_id": charge.job.job_id}
        if self.tells_credits:
            fields["consume_coins"] = charge.credits
        return Answer(200, _enveloped(fields), job_id=None if is_shared else charge.job.job_id)

    def _new_job(self, video: Video) -> Job:
        rng, now_s = self._world.rng, self._world.now_s
        converting_at_s = now_s + rng.uniform(0, 6) * self.speed
        final_at_s = converting_at_s + min(200.0, rng.expovariate(1 / 12)) * self.speed
        job = Job(
            job_id=f"job-{next(self._numbers)}",
            known_at_s=now_s + (rng.uniform(0, 40) if self._world.chance("not yet known") else 0.0),
            converting_at_s=converting_at_s,
            final_at_s=final_at_s,
            shown_at_s=final_at_s + (30.0 if self._world.chance("completed without a result") else 0.0),
            is_doomed=video.is_doomed,
        )
        self.jobs[job.job_id] = job
        return job

    def _repeated_job(self, video: Video) -> Job | None:
        """Another item's job, where the vendor hands out a job id twice."""
        others = [charge.job for charge in self.charges if charge.key != video.request().key]
        return self._world.rng.choice(others) if others and self._world.chance("job id again") else None


_GARBAGE = (
    {},
    {"code": 200},
    {"code": 200, "data": {"job_id": None}},
    {"code": 200, "data": {"job_id": 17}},
    {"code": 200, "data": {"job_id": " "}},
    {"code": 200, "data": []},
    {"code": "200", "data": {}},
)


def _enveloped(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"code": 200, "message": "success", "data": fields}


def _refusal(status: int, code: int, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status, {"code": code, "message": "no"}, headers or {}, is_refusal=True)


def _failure(status: int, code: int) -> Answer:
    return Answer(status, {"code": code, "message": "out of order"})
