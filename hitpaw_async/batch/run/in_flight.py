"""What a run holds of an item at the vendor: a few words, for there may be a hundred thousand of them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

import attrs

from hitpaw_async._core.durations import Traits
from hitpaw_async._redact import redact_url
from hitpaw_async.batch.events.event import EventKind, WaitReason
from hitpaw_async.batch.run.poller import Waiting
from hitpaw_async.models import ItemState, Job, JobStatus

if TYPE_CHECKING:
    from hitpaw_async._core.itemstate import Item
    from hitpaw_async._core.patience import Doubt
    from hitpaw_async.batch.events.event import BatchEvent
    from hitpaw_async.models import ExportRequest

__all__ = ["Flight"]

_KINDS: Final = {ItemState.UNCERTAIN: EventKind.WAITING, ItemState.FETCHING: EventKind.DOWNLOADING}
"""How such an item is told to a late reader, whatever the vendor said last."""


@attrs.define(eq=False, weakref_slot=False)
class Flight(Waiting):
    """An item at the vendor, or on its way to disk. Fields are named as in `Item`; the rest of it is in the journal."""

    key: str
    state: ItemState
    job_id: str | None
    accepted_at: float
    """When the vendor accepted it, by the event loop's clock: a wall clock that is set makes no job older."""
    _label: bytes | None
    kind: _Kind
    """What it has in common with many others."""
    source_s: float | None
    """Length of the source, where it is known."""
    given: _Given | None
    """What the journal does not keep of the request as this run was given it; None where there is nothing."""
    asked_age_s: float | None
    """The age at which it was last known to be running; None where an earlier process knew."""
    said: _Said | Job | None = None
    """What the vendor said last, all of it once it is final; None where it was not asked yet."""
    doubt: Doubt | None = None
    """What speaks against the job since the last good word."""
    converting_at: float | None = None
    """When the job was first seen CONVERTING, in this run."""

    @classmethod
    def of(
        cls,
        item: Item,
        request: ExportRequest | None,
        *,
        label: str | None,
        source_s: float | None,
        asked_age_s: float | None,
        accepted_at: float = 0.0,
    ) -> Flight:
        """The flight of an item that is SUBMITTED, FETCHING or UNCERTAIN.

        Args:
            item: The item.
            request: The request as it was given, where this run was given it.
            label: What to call it on a screen.
            source_s: Length of the source in seconds, where it is known.
            asked_age_s: 0 where it was accepted just now, None where an earlier process knows when it asked.
            accepted_at: When it was accepted, by the event loop's clock.
        """
        return cls(
            item.key,
            item.state,
            item.job_id,
            accepted_at,
            None if label is None else label.encode(errors="surrogatepass"),
            _kind(
                _group(item.request),
                has_target=item.target is not None,
                was_fetching=item.state is ItemState.FETCHING,
                is_earlier=asked_age_s is None,
                may_give_back=item.minute_credits is not None,
            ),
            source_s,
            _Given.of(request, item.key),
            asked_age_s,
        )

    def request_of(self, item: Item) -> ExportRequest:
        """The request as it was given, where this run was given it; else as the journal has it."""
        return item.request if self.given is None else self.given.restored(item.request)

    def follow(self, item: Item) -> None:
        """Take over what changed in the journal."""
        self.state = item.state
        self.job_id = item.job_id

    def saw(self, job: Job) -> bool:
        """Note what the vendor says. Returns whether it is news."""
        is_news = self.said is None or self.said.status_text != job.status_text
        self.said = job if job.status.is_final else _said(job.status, job.status_text)
        return is_news

    def told(self, snapshot: BatchEvent) -> BatchEvent:
        """How it stands, for a reader who begins with this snapshot."""
        kind = EventKind.SUBMITTED if self.said is None else EventKind.STATUS
        return attrs.evolve(
            snapshot,
            kind=_KINDS.get(self.state, kind),
            key=self.key,
            label=self.label,
            state=self.state,
            job_id=self.job_id,
            status=None if self.said is None else self.said.status,
            waiting_for=WaitReason.WEBHOOK if self.state is ItemState.UNCERTAIN else None,
            statistics=None,
        )

    @property
    def label(self) -> str | None:
        """The result's file name, else the source's. Held as UTF-8, which takes 16 bytes less than a text."""
        return None if self._label is None else self._label.decode(errors="surrogatepass")

    @property
    def traits(self) -> Traits:
        """What a plan knows of the job."""
        return Traits(self.kind.group, self.source_s)

    @property
    def job(self) -> Job | None:
        """The job as last seen in this run."""
        if not isinstance(self.said, _Said):
            return self.said
        assert self.job_id is not None
        return Job(job_id=self.job_id, status=self.said.status, status_text=self.said.status_text)


@attrs.frozen
class _Kind:
    """What many flights have in common."""

    group: str
    """Of jobs that are alike but for their length."""
    has_target: bool
    """Whether the label is the result's file name."""
    was_fetching: bool
    """Whether an earlier process was bringing it to disk: it may have got as far as giving the file its name."""
    is_earlier: bool
    """Whether an earlier run paid for it, perhaps with another key, or at another address."""
    may_give_back: bool
    """Whether the result's length tells that less was charged than was set aside."""


@functools.lru_cache
def _kind(group: str, *, has_target: bool, was_fetching: bool, is_earlier: bool, may_give_back: bool) -> _Kind:
    """Held once for all flights of a kind."""
    return _Kind(group, has_target, was_fetching, is_earlier, may_give_back)


@attrs.frozen
class _Said:
    """What the vendor said of a job that goes on."""

    status: JobStatus
    status_text: str


@functools.lru_cache
def _said(status: JobStatus, status_text: str) -> _Said:
    """Held once for all flights of which the same was said."""
    return _Said(status, status_text)


@attrs.frozen(weakref_slot=False)
class _Given:
    """What a journal leaves out of a request: signatures, and that its key was derived."""

    video_url: str | None
    web_hook_url: str | None
    has_key: bool = attrs.field(kw_only=True)

    @classmethod
    def of(cls, request: ExportRequest | None, key: str) -> _Given | None:
        if request is None:
            return None
        has_key = request.identity != key
        video_url, web_hook_url = _signed(request.video_url), _signed(request.web_hook_url)
        is_plain = video_url is None and web_hook_url is None
        return _UNSIGNED[has_key] if is_plain else cls(video_url, web_hook_url, has_key=has_key)

    def restored(self, request: ExportRequest) -> ExportRequest:
        """The request of a journal's row with what was left out put back."""
        return attrs.evolve(
            request,
            video_url=self.video_url or request.video_url,
            web_hook_url=self.web_hook_url or request.web_hook_url,
            key=request.key if self.has_key else None,
        )


def _signed(url: str | None) -> str | None:
    """A URL that a journal keeps only in part."""
    return None if url is None or redact_url(url) == url else url


_UNSIGNED: Final = {has_key: _Given(None, None, has_key=has_key) for has_key in (False, True)}
"""Held once for all flights whose URLs have no signature."""


def _group(request: ExportRequest) -> str:
    """Jobs of one model and one size class, each class twice the pixels of the one below."""
    model = request.model_name if request.model is None else int(request.model)
    return f"{model}/{(request.resolution.width * request.resolution.height).bit_length()}"
