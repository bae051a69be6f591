"""Settings as frozen values, checked when they are built: retries, polling, downloads, limits of a batch, budget."""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Final, Literal

import attrs

from hitpaw_async._errors import ConfigurationError
from hitpaw_async._redact import shown
from hitpaw_async._urls.addresses import trusted_names
from hitpaw_async._validators import between

__all__ = [
    "BatchLimits",
    "CreditBudget",
    "DownloadPolicy",
    "PollPolicy",
    "RetryPolicy",
    "Transport",
    "WhenFull",
]


_HOUR_S: Final = 3600.0

PATIENCE_MAX_S: Final = 300.0
PATIENCE_INTERVALS: Final = 600.0
"""So many of the shortest intervals are enough, where who asks that often asks a vendor of his own."""


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """Retries of a call that certainly was not accepted, or that costs nothing. Bounded in number and in time.

    The waits are exponential with full jitter. All retries of a client draw on one token bucket, so that an outage is
    not made worse: a success puts `budget_refill` tokens back, a retry takes one.

    Raises:
        ConfigurationError: A value is out of its range.
    """

    attempts_max: int = attrs.field(default=5, validator=between(1, 100, whole=True))
    """Number of attempts of a call, the first one included."""
    time_max_s: float = attrs.field(default=60.0, validator=between(0, 24 * _HOUR_S))
    """Seconds from the first attempt after which none begins, unless the vendor named the wait (`Retry-After`).

    Time that a pause of the whole client takes does not count."""
    backoff_first_s: float = attrs.field(default=0.5, validator=between(0, _HOUR_S))
    """The longest first wait; each further one may be twice as long."""
    backoff_max_s: float = attrs.field(default=20.0, validator=between(0, _HOUR_S))
    """The longest wait."""
    retry_after_max_s: float = attrs.field(default=300.0, validator=between(0, 24 * _HOUR_S))
    """The longest `Retry-After` that is waited for; a longer one ends the call."""
    budget_tokens: float = attrs.field(default=50.0, validator=between(0, 1e6))
    """Tokens at the beginning, and at most."""
    budget_refill: float = attrs.field(default=0.1, validator=between(0, 1e6))


@attrs.frozen(kw_only=True)
class PollPolicy:
    """Frequency of polls. A batch learns when an answer is likely, and polls then.

    Until the first jobs have finished, and for a single job: every 5 to 10 s, as the vendor's platform recommends for
    video, within the bounds.

    Raises:
        ConfigurationError: A value is out of its range.
    """

    interval_min_s: float = attrs.field(default=5.0, validator=between(0.001, 24 * _HOUR_S))
    interval_max_s: float = attrs.field(default=60.0, validator=between(0.001, 24 * _HOUR_S))
    """A job is asked for at least this often, unless the jobs in flight exceed what `rate_max_hz` allows."""
    _interval_mean_s: float = attrs.field(default=12.0, alias="interval_mean_s", validator=between(0.001, 24 * _HOUR_S))
    rate_max_hz: float = attrs.field(default=250.0, validator=between(0.001, 1e6))
    """Questions per second, all batches of a client together. A process makes 500 to 700 requests a second."""
    jitter: float = attrs.field(default=0.1, validator=between(0, 1))
    """Share of an interval by which it is varied at random, so that jobs don't ask in step."""
    _patience_s: float | None = attrs.field(
        default=None, alias="patience_s", validator=attrs.validators.optional(between(0, 24 * _HOUR_S))
    )

    def __attrs_post_init__(self) -> None:
        if self.interval_max_s < self.interval_min_s:
            raise ConfigurationError("PollPolicy.interval_max_s must not be below interval_min_s.")

    def __repr__(self) -> str:
        return shown(self)

    @property
    def interval_mean_s(self) -> float:
        """Seconds between two polls of a job, on average; within the bounds.

        Polls saved while no answer is likely are spent while one is: by default a job is polled less often than
        every 10 s, and its end is found out no later.
        """
        return min(max(self._interval_mean_s, self.interval_min_s), self.interval_max_s)

    @property
    def patience_s(self) -> float:
        """Seconds for which a job must be unknown to the vendor, or its result to the host, before that is believed.

        Replicas lag, and files reach a CDN late. By default 5 minutes.
        """
        if self._patience_s is not None:
            return self._patience_s
        return min(PATIENCE_MAX_S, PATIENCE_INTERVALS * self.interval_min_s)


def _host_names(names: Iterable[str]) -> frozenset[str]:
    return trusted_names(names, setting="DownloadPolicy.trusted_hosts")


@attrs.frozen(kw_only=True)
class DownloadPolicy:
    """From where, how much and how patiently results are fetched.

    Raises:
        ConfigurationError: A value is out of its range.
    """

    trusted_hosts: frozenset[str] = attrs.field(default=frozenset(), converter=_host_names)
    """Hosts ("host" for all ports, or "host:port") for which http and private addresses are allowed, also for sources
    that are probed. For local development; `base_url` is trusted as well, by its scheme, host and port."""
    size_bytes_max: int = attrs.field(default=1 << 36, validator=between(1, 1 << 50, whole=True))
    """The largest result that is fetched. By default 64 GiB: the vendor's longest video, ten minutes, at 900 Mbit/s."""
    attempts_max: int = attrs.field(default=5, validator=between(1, 100, whole=True))
    """Attempts in a row that bring nothing new (less than 1 MiB)."""
    backoff_first_s: float = attrs.field(default=0.5, validator=between(0, _HOUR_S))
    backoff_max_s: float = attrs.field(default=20.0, validator=between(0, _HOUR_S))
    read_timeout_s: float = attrs.field(default=30.0, validator=between(0.001, _HOUR_S))
    """The longest silence that is borne: resolving, connecting, reading. The head of an answer, with the connecting,
    has half as long again; after two that did not come to an end in time the download ends."""
    refused_wait_s: float = attrs.field(default=15.0, validator=between(0, 24 * _HOUR_S))
    """Seconds for which a single download retries a result that its host refuses (HTTP 403, 404, 410): results often
    get to the hosts that hand them out some seconds late. A batch goes on with its other results meanwhile."""
    gone_after_s: float = attrs.field(default=900.0, validator=between(0, 366 * 24 * _HOUR_S))
    """Seconds for which a batch retries such a result before it counts as lost; a tenth of it if the job is more than
    a day old. Each time the job is asked for a fresh URL."""
    bytes_per_s_min: int = attrs.field(default=8192, validator=between(1, 1 << 40, whole=True))
    """A server that sends less, measured over each MiB, is left and tried again."""
    redirects_max: int = attrs.field(default=5, validator=between(0, 5, whole=True))


def _places(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value != "auto":
        between(1, 1_000_000, whole=True)(instance, attribute, value)


PLACES_FIRST: Final = 16
PLACES_MAX: Final = 1024
"""Of `jobs_in_flight="auto"`: what the vendor takes in beyond that may only be waiting there."""


@attrs.frozen(kw_only=True)
class BatchLimits:
    """Bounds of a batch's concurrency. Memory use grows with these and with nothing else.

    Raises:
        ConfigurationError: A value is out of its range.
    """

    jobs_in_flight: int | Literal["auto"] = attrs.field(default=16, validator=_places)
    """Items between being pulled from the input and their outcome being taken.

    "auto" begins with 16, takes more while the vendor keeps pace, up to 1024, and fewer when it answers HTTP 429 or
    accepts exports much more slowly than it used to.
    """
    submissions: int = attrs.field(default=4, validator=between(1, 1000, whole=True))
    """Exports, with the probing before them, under way at once."""
    downloads: int = attrs.field(default=4, validator=between(1, 1000, whole=True))
    """Results that are fetched at once."""
    polls: int = attrs.field(default=4, validator=between(1, 1000, whole=True))
    """Task calls under way at once."""
    job_timeout_s: float | None = attrs.field(
        default=None, validator=attrs.validators.optional(between(0.001, 366 * 24 * _HOUR_S))
    )
    """Seconds to wait for a job after it was accepted. It goes on at the vendor, and stays in the journal."""
    unknown_status_max_s: float = attrs.field(default=_HOUR_S, validator=between(0.001, 366 * 24 * _HOUR_S))
    """Seconds for which a job holds its slot without an answer that is understood. A later run goes on."""
    stop_grace_s: float = attrs.field(default=1.2, validator=between(0, _HOUR_S))
    """Seconds that a stopping batch waits for the answer to an export that has been sent."""

    @property
    def places_first(self) -> int:
        """Largest number of items that a run begins with."""
        return PLACES_FIRST if self.jobs_in_flight == "auto" else self.jobs_in_flight

    @property
    def places_max(self) -> int:
        """Largest number of items at once."""
        return PLACES_MAX if self.jobs_in_flight == "auto" else self.jobs_in_flight


class Transport(StrEnum):
    """Transport of the vendor's calls."""

    HTTPX = "httpx"
    """Connections of the library's own, on asyncio and trio."""
    AIOHTTP = "aiohttp"
    """Task calls over aiohttp, on asyncio alone, at a good deal less CPU (extra `fast`). Exports stay on our own."""


class WhenFull(StrEnum):
    """Treatment of an item that does not fit the rest of the budget."""

    WAIT = "wait"
    """It waits while reservations are open that may yet be given back; then it is SKIPPED."""
    SKIP = "skip"
    """It is SKIPPED at once."""


def _credits(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= math.inf:
        raise ConfigurationError(
            f"CreditBudget.{attribute.name} must be a whole number of credits >= 0, not {value!r}."
        )


@attrs.frozen
class CreditBudget:
    """The most that a batch may spend, over all its runs on one journal.

    Spent and reserved together never exceed it.

    Raises:
        ConfigurationError: A value is not usable.
    """

    credits: int = attrs.field(validator=_credits)
    when_full: WhenFull = attrs.field(default=WhenFull.WAIT, kw_only=True, converter=WhenFull)
    failed_jobs_are_charged: bool = attrs.field(default=True, kw_only=True)
    """Count a job that ends in ERROR as spent. The vendor's rule is unknown; True never overspends."""
