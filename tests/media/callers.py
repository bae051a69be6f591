"""Probes of the tests' own server, whose private address is allowed."""

from __future__ import annotations

from functools import partial

from hitpaw_async import media

probe = partial(media.probe, trusted_hosts=("127.0.0.1",))
