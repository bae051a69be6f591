"""The wire: one call, one send. The only package that imports httpx, httpcore and h11.

It watches how far a send got (`SendWatch`), puts a deadline around the whole call, bounds what it reads, and turns
every foreign exception into one of the library's, without the original attached: that one carries the request, and the
request carries the key.

Facts of httpx 0.28.1 and httpcore 1.0.9 that shape it: waiting in their pool costs CPU and can leak slots (httpcore
#1093), and each request on it costs more the more connections it has; so callers are gated here (`HTTPPool`), and each
connection stands alone (`ConnectionStack`). Their timeouts are per read, so a deadline stands around the call. A reused
connection may be closing just as it is used, so exports always get a fresh one. `AsyncClient` logs whole URLs, so our
own requests don't go through it.
"""

from __future__ import annotations

from hitpaw_async._transport.bulk import BulkStream
from hitpaw_async._transport.exceptions import SlowHeadError
from hitpaw_async._transport.pool import HTTPPool
from hitpaw_async._transport.request import Connection, StreamedFile
from hitpaw_async._transport.response import REPLY_BYTES_MAX, ByteStream
from hitpaw_async._transport.send_progress import SendWatch
from hitpaw_async._transport.senders import HTTPClient

__all__ = [
    "REPLY_BYTES_MAX",
    "BulkStream",
    "ByteStream",
    "Connection",
    "HTTPClient",
    "HTTPPool",
    "SendWatch",
    "SlowHeadError",
    "StreamedFile",
]
