"""What a journal may say of where the key goes and where results go: only what this key's owner wrote into it.

A journal may come from anybody: a bug report, a shared folder, a download. The settings in it are sealed with the key
that they were written with, which no stranger has.
"""

from __future__ import annotations

import hashlib
import hmac
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from hitpaw_async._redact import excerpt
from hitpaw_async._vendor.settings import DEFAULT_BASE_URL, checked_base_url, host_from_environment
from hitpaw_async.cli.exit_codes import UsageError
from hitpaw_async.cli.output.messages import confirm, is_terminal

if TYPE_CHECKING:
    from hitpaw_async.cli.settings.batch import BatchSettings

__all__ = ["host_of_journal", "require_own_output", "sealed_settings"]

_PURPOSE = b"hitpaw: this host and folder were named by the key's owner\n"


def _seal(settings: BatchSettings, key: str) -> str:
    said = f"{settings.base_url}\n{settings.output}".encode("utf-8", "surrogatepass")
    return hmac.new(key.encode(), _PURPOSE + said, hashlib.sha256).hexdigest()


def sealed_settings(settings: BatchSettings, key: str) -> BatchSettings:
    """Settings with a seal over their host and their folder, for a journal."""
    return attrs.evolve(settings, seal=_seal(settings, key))


def _is_own(kept: BatchSettings, key: str) -> bool:
    return hmac.compare_digest(kept.seal.encode("utf-8", "replace"), _seal(kept, key).encode())


def host_of_journal(kept: BatchSettings, key: str, *, given: str | None = None) -> str:
    """The host that the key may be sent to: the one that was given, or the journal's, if it is the owner's.

    Args:
        kept: The settings that the journal keeps.
        key: The key.
        given: The host that the command line names.

    Raises:
        UsageError: The journal names a host that nobody here has named, or the person doesn't know it.
    """
    if given is not None:
        return checked_base_url(given)
    host = checked_base_url(kept.base_url)
    configured = (host_from_environment() or DEFAULT_BASE_URL).strip().rstrip("/")
    if host == configured or _is_own(kept, key):
        return host
    if _may_ask() and confirm(
        f"This journal names {host} as the vendor's address, which is not yours ({configured}). Send your key there?"
    ):
        return host
    raise UsageError(
        f"Nothing was sent: the journal names {host} as the vendor's address, and the key goes only to addresses that "
        f"you name. If you know it, say so: --base-url {host}. If not, somebody may want your key."
    )


def require_own_output(kept: BatchSettings, key: str, journal: Path) -> None:
    """Let results go to the folder that a journal names if its owner named it, or it lies beside or below the journal.

    Raises:
        UsageError: It lies elsewhere, and the person doesn't know it.
    """
    folder = Path(kept.output).resolve()
    named = excerpt(str(folder))
    nearby = (journal.resolve().parent, Path.cwd().resolve())
    if _is_own(kept, key) or any(folder.is_relative_to(place) for place in nearby):
        return
    if _may_ask() and confirm(f"This journal names {named} as the folder for results. Write them there?"):
        return
    raise UsageError(
        f"Nothing was sent: the journal names {named} as the folder for results, which is not beside it. If that "
        "is right, name it: -o DIR."
    )


def _may_ask() -> bool:
    return is_terminal(sys.stdin) and is_terminal(sys.stderr)
