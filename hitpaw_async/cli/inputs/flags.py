"""The flags that several commands share. Their types and texts are read by cyclopts at run time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import attrs
from cyclopts import Parameter

from hitpaw_async._urls.addresses import trusted_names
from hitpaw_async.cli.inputs.cells import seconds_of
from hitpaw_async.cli.inputs.rows import InputFormat, Order
from hitpaw_async.policies import DownloadPolicy

__all__ = [
    "BASE_URL",
    "JOBS_IN_FLIGHT",
    "JOURNAL",
    "JSON",
    "SERVE_FROM",
    "STOP_GRACE",
    "WAIT_FOR_JOURNAL",
    "BatchFlags",
    "NetworkFlags",
    "number",
    "switch",
    "whole_number",
]

_JOBS_IN_FLIGHT_MAX: Final = 1_000_000
"""As `BatchLimits` has it."""


def whole_number(_: Any, tokens: Sequence[Any]) -> int:
    """A number of credits, jobs or ports: digits and nothing else (cyclopts itself would round 2.5)."""
    text: str = tokens[0].value
    if not text.isascii() or not text.isdecimal() or len(text) > 12:
        raise ValueError(f"{text!r} is not a whole number from 0 up")
    return int(text)


def number(_: Any, tokens: Sequence[Any]) -> float:
    """A positive number."""
    try:
        value = float(tokens[0].value)
    except ValueError:
        raise ValueError(f"{tokens[0].value!r} is not a number") from None
    if not 0 < value < float("inf"):
        raise ValueError("a positive number is needed")
    return value


def _time(text: str) -> float:
    try:
        return seconds_of(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a time such as 90, 5m or 1h30m") from None


def seconds(_: Any, tokens: Sequence[Any]) -> float:
    """A time: seconds, or with units."""
    value = _time(tokens[0].value)
    if not 0 < value < float("inf"):
        raise ValueError("a time longer than 0 is needed")
    return value


def seconds_or_none(_: Any, tokens: Sequence[Any]) -> float:
    """A time that may be 0, and is an hour at most."""
    value = _time(tokens[0].value)
    if not 0 <= value <= 3600:
        raise ValueError("a time from 0 to 1h is needed")
    return value


def switch(*names: str, help: str, negative: str | tuple[str, ...] = ()) -> Parameter:  # noqa: A002 (as Parameter has it)
    """A switch, off by default."""
    return Parameter(name=names, help=help, negative=negative, show_default=False)


JOURNAL = Parameter(name="JOURNAL", help="The journal that `hitpaw enhance` wrote, or the folder that it is in.")
BASE_URL = Parameter(help="The vendor's address; by default HITPAW_API_BASE_URL, else the real one.")
JSON = switch("--json", help="JSON Lines on standard output, everything else on standard error.")
SERVE_FROM = Parameter(
    name="--serve-from",
    help="DIR=URL: a folder that you publish, and where. Files in it can be named by their paths. Repeatable.",
    negative=(),
    show_default=False,
)


def _places(_: Any, tokens: Sequence[Any]) -> int | str:
    """A whole number of places, or "auto"."""
    text: str = tokens[0].value
    if text == "auto":
        return text
    if not text.isascii() or not text.isdecimal() or len(text) > 7 or not 1 <= int(text) <= _JOBS_IN_FLIGHT_MAX:
        raise ValueError(f"{text!r} is neither auto nor a whole number from 1 to {_JOBS_IN_FLIGHT_MAX}")
    return int(text)


JOBS_IN_FLIGHT = Parameter(
    name=("-j", "--jobs-in-flight"),
    help="Videos under way at once; auto finds out how many the vendor keeps pace with.",
    converter=_places,
)


WAIT_FOR_JOURNAL = switch("--wait-for-journal", help="Where another process works on the journal, wait until it ends.")
STOP_GRACE: Final = Parameter(
    help="Seconds that a stop waits for the answers to exports already sent; by default 1.2 after Ctrl-C, 9 after "
    "SIGTERM or a closed terminal.",
    converter=seconds_or_none,
)


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class NetworkFlags:
    """How the network is reached. No journal keeps it: another machine may reach it otherwise."""

    proxy: Annotated[
        str | None,
        Parameter(
            help="URL of an http proxy for everything. With a password, set HITPAW_PROXY: flags are visible to others."
        ),
    ] = attrs.field(default=None, repr=False)
    trust_env: Annotated[
        bool, switch("--trust-env", help="Use the environment's proxies: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY.")
    ] = False

    trusted_host: Annotated[
        tuple[str, ...],
        Parameter(
            help="HOST or HOST:PORT of yours that may have a private address, or one of a proxy's (198.18.*): results "
            "are fetched and videos read from it all the same. May be repeated."
        ),
    ] = ()

    @property
    def client_arguments(self) -> dict[str, Any]:
        """Keyword arguments of a client that is to reach the network so.

        Raises:
            ConfigurationError: What is trusted is no host.
        """
        # A variable and a file name several with commas.
        words = [word for text in self.trusted_host for word in text.replace(",", " ").split()]
        hosts = trusted_names(words, setting="--trusted-host")
        return {"proxy": self.proxy, "trust_env": self.trust_env, "download": DownloadPolicy(trusted_hosts=hosts)}


@Parameter(name="*")
@attrs.frozen(kw_only=True)
class BatchFlags(NetworkFlags):
    """What `enhance` and `plan` take."""

    input_name: Annotated[
        str | None,
        Parameter(
            name=("-i", "--input"),
            help="FILE: a list of videos, .txt (a URL a line), .csv, .json or .jsonl; - is standard input.",
            allow_leading_hyphen=True,
        ),
    ] = None
    input_format: Annotated[
        InputFormat | None,
        Parameter(help="The list's format, where its name doesn't tell it."),
    ] = None
    served: Annotated[tuple[str, ...], SERVE_FROM] = ()
    model: Annotated[str, Parameter(help="Name or id; `hitpaw models` lists them.")] = "17"
    resolution: Annotated[str, Parameter(help="Target size, WIDTHxHEIGHT.")] = "1920x1080"
    extension: Annotated[str, Parameter(help="File extension of the results.")] = ".mp4"
    web_hook_url: Annotated[str | None, Parameter(help="Where the vendor posts when a job is final.")] = None
    budget: Annotated[
        int | None,
        Parameter(
            help="CREDITS: the most to spend, over all runs on this journal. Without it the journal's holds, if any.",
            converter=whole_number,
        ),
    ] = None
    order: Annotated[
        Order,
        Parameter(
            help="Which new videos go first: by the list's column priority (else as given), as given, or the cheapest."
        ),
    ] = Order.PRIORITY
    jobs_in_flight: Annotated[int | str, JOBS_IN_FLIGHT] = 16
    journal: Annotated[
        Path | None,
        Parameter(help="FILE that remembers every video; by default hitpaw-journal.db in the output folder."),
    ] = None
    output: Annotated[Path, Parameter(name=("-o", "--output"), help="Folder for the results.")] = Path("enhanced")
    name: Annotated[
        str,
        Parameter(help="TEMPLATE of the results' names, of {stem} {ext} {model} {width} {height} {key}."),
    ] = "{stem}{ext}"
    probe: Annotated[
        bool | None,
        Parameter(
            help="Read length, rate and size from each video before it is priced; by default where PyAV is installed.",
            negative="--no-probe",
        ),
    ] = None
    timeout_s: Annotated[
        float | None,
        Parameter(
            help="Seconds (or 5m, 1h) a job is waited for; it goes on at the vendor, and `resume` waits again.",
            converter=seconds,
        ),
    ] = None
    export_timeout_s: Annotated[
        float,
        Parameter(
            help="Seconds in which an export must be answered; an answer that is late is lost.", converter=seconds
        ),
    ] = 120.0
    poll_interval_s: Annotated[
        float, Parameter(help="Seconds between two questions about a job, at least.", converter=seconds)
    ] = 5.0
    stop_grace_s: Annotated[float | None, STOP_GRACE] = None
    base_url: Annotated[
        str | None, Parameter(help="The vendor's address; by default HITPAW_API_BASE_URL, else the real one.")
    ] = None
    waits_for_journal: Annotated[bool, WAIT_FOR_JOURNAL] = False
    is_json: Annotated[
        bool, switch("--json", help="JSON Lines on standard output, everything else on standard error.")
    ] = False
    is_quiet: Annotated[bool, switch("-q", "--quiet", help="Say only what went wrong.")] = False
