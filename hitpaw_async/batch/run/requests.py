"""The input of a batch: any iterable of requests, pulled one at a time."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import TypeAlias

import attrs

from hitpaw_async.errors import ConfigurationError
from hitpaw_async.models import ExportRequest

__all__ = ["Requests", "pulled"]

Requests: TypeAlias = Iterable[ExportRequest] | AsyncIterable[ExportRequest]


def pulled(requests: Requests) -> AsyncIterator[ExportRequest]:
    """Any input as an async iterator, pulled one at a time.

    Raises:
        ConfigurationError: It can't be iterated over.
    """
    if isinstance(requests, str) or not isinstance(requests, (Iterable, AsyncIterable)):
        raise ConfigurationError(
            f"The videos must be an iterable of ExportRequest, sync or async, not {type(requests).__name__}."
        )
    if isinstance(requests, AsyncIterable):
        return aiter(requests)
    return _Pulled(iter(requests))


@attrs.define
class _Pulled(AsyncIterator[ExportRequest]):
    """A plain iterator, pulled one at a time."""

    _iterator: Iterator[ExportRequest]

    async def __anext__(self) -> ExportRequest:
        try:
            return next(self._iterator)
        except StopIteration:
            raise StopAsyncIteration from None
