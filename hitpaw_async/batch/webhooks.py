"""Webhooks as a batch sees them: a path of its own for each export, and hints that come in on one.

Webhooks are unsigned: whoever knows a path may post to it. So a path is unguessable, only its digest is kept, and what
comes in is a hint. It makes a poll due, or names a candidate for a lost job id; the task call decides.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Protocol

import anyio
import attrs

from hitpaw_async._core.retry import PASSING
from hitpaw_async._urls.addresses import is_web_url
from hitpaw_async._validators import between
from hitpaw_async.batch.reconcile import bind_named
from hitpaw_async.errors import ConfigurationError, HitPawError
from hitpaw_async.models import ItemState

if TYPE_CHECKING:
    from collections.abc import Callable

    from hitpaw_async._core.itemstate import Item
    from hitpaw_async._vendor.calls import VendorCalls
    from hitpaw_async.batch.books import Bookkeeper

__all__ = ["ActiveRun", "Hint", "Hints", "Hook", "WebhookPolicy", "digest_of"]

_LOG = logging.getLogger("hitpaw_async")

TOKEN_BYTES: Final = 32
WAIT_MAX_S: Final = 7 * 24 * 3600.0
_ON_ITS_WAY: Final = (ItemState.SUBMITTING, ItemState.SUBMITTED)
"""A run may not have the item in flight yet: its reply is only just written down."""

HINTS_MAX: Final = 10_000
"""Hints that wait at once. A flood beyond that pushes the oldest out: polling finds out anyway."""


def digest_of(token: str) -> str:
    """What is kept of a path's token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _to_base(url: str) -> str:
    if not is_web_url(url) or not url.isprintable() or {"?", "#", " "} & {*url}:
        raise ConfigurationError("WebhookPolicy.base_url must be a public http or https URL without a query.")
    return url.rstrip("/")


@attrs.frozen(kw_only=True)
class WebhookPolicy:
    """Where the vendor's webhooks reach this batch.

    Raises:
        ConfigurationError: A value is not usable.
    """

    base_url: str = attrs.field(converter=_to_base)
    """The public address under which a `WebhookReceiver` of this batch listens. Each export gets a path below it."""
    wait_s: float = attrs.field(default=1800.0, validator=between(0, WAIT_MAX_S))
    """How long an export whose answer was lost waits for a webhook, before it is reported as UNCERTAIN."""


@attrs.frozen
class Hook:
    """The path of one export."""

    url: str = attrs.field(repr=False)
    digest: str

    @classmethod
    def new(cls, policy: WebhookPolicy, new_token: Callable[[], str] | None = None) -> Hook:
        """A path that nobody can guess."""
        token = secrets.token_urlsafe(TOKEN_BYTES) if new_token is None else new_token()
        return cls(f"{policy.base_url}/{token}", digest_of(token))


@attrs.frozen
class Hint:
    """What came in on a path."""

    digest: str
    job_id: str


class ActiveRun(Protocol):
    """A run whose items hints may be about."""

    def has(self, key: str) -> bool:
        """Whether the item is in flight."""
        ...

    def name_job(self, key: str, job_id: str) -> None:
        """Take a hint about an item in flight."""
        ...


class Hints:
    """Hints that wait to be looked into: one a path, a bounded number of paths, and each path only so often."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, str] = OrderedDict()
        self._resting: OrderedDict[str, float] = OrderedDict()
        """Until when a path that was looked into is left alone (the loop's clock)."""
        self._arrived = anyio.Event()

    def put(self, hint: Hint) -> None:
        """Let a hint wait. A later one on the same path replaces it."""
        self._waiting[hint.digest] = hint.job_id
        if len(self._waiting) > HINTS_MAX:
            self._waiting.popitem(last=False)
        self._arrived.set()

    async def follow_all(
        self,
        bookkeeper: Bookkeeper,
        calls: VendorCalls,
        active_run: Callable[[], ActiveRun | None],
        *,
        on_bound: Callable[[Item], None],
        pause_s: float,
        rest_s: float = 0.0,
    ) -> None:
        """Look into hints until cancelled. None of them changes anything that the task call doesn't confirm.

        Args:
            bookkeeper: The journal and the ledger.
            calls: The vendor's calls.
            active_run: The run under way, if there is one.
            on_bound: Told of an item that a hint settled and that no run has in hand.
            pause_s: How long to wait where the vendor can't be asked just now.
            rest_s: How long a path that was looked into is left alone: whoever replays a webhook makes no more polls
                than the poller would.
        """
        while True:
            hint = await self.get()
            self._rest(hint.digest, rest_s)
            try:
                bound = await _follow(hint, bookkeeper, calls, active_run())
                if bound is not None:
                    on_bound(bound)
            except PASSING as error:
                _LOG.warning("A webhook could not be looked into: %s It will be tried again.", error)
                self._waiting.setdefault(hint.digest, hint.job_id)
                await anyio.sleep(pause_s)
            except HitPawError as error:
                _LOG.warning("A webhook could not be looked into: %s", error)

    async def get(self) -> Hint:
        """The hint that waits longest, of those whose path is not left alone."""
        while True:
            self._arrived = anyio.Event()
            now = anyio.current_time()
            for digest in self._waiting:
                if self._resting.get(digest, now) <= now:
                    return Hint(digest, self._waiting.pop(digest))
            soonest = min((self._resting[digest] for digest in self._waiting), default=float("inf"))
            with anyio.CancelScope(deadline=soonest):
                await self._arrived.wait()

    def _rest(self, digest: str, rest_s: float) -> None:
        self._resting[digest] = anyio.current_time() + rest_s
        self._resting.move_to_end(digest)
        if len(self._resting) > HINTS_MAX:
            self._resting.popitem(last=False)


async def _follow(hint: Hint, bookkeeper: Bookkeeper, calls: VendorCalls, run: ActiveRun | None) -> Item | None:
    """Look into a hint. Returns the item that it settled, where no run has it in hand."""
    item = await bookkeeper.journal.do(lambda store: store.find_hook(hint.digest))
    if item is None:
        return None
    if run is not None and (item.state in _ON_ITS_WAY or run.has(item.key)):
        # Before the reply, or in place of it; or the job is final, and the poller may as well ask now.
        run.name_job(item.key, hint.job_id)
    elif item.state is ItemState.UNCERTAIN:
        # Reported already; the next run goes on with it, or the one that follows the journal.
        return await bind_named(bookkeeper, calls, item.key, hint.job_id)
    return None
