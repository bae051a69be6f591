"""`hitpaw probe`: read what videos are, and price them."""

from collections.abc import Sequence
from typing import Annotated, Any

import anyio
import attrs
from cyclopts import Parameter

from hitpaw_async import errors, media
from hitpaw_async._core.limits import broken_limits
from hitpaw_async._core.pricing import estimate
from hitpaw_async._format import span
from hitpaw_async._redact import excerpt, redact_url
from hitpaw_async._vendor.settings import DEFAULT_BASE_URL, host_from_environment
from hitpaw_async.cli.exit_codes import ExitCode, UsageError
from hitpaw_async.cli.inputs.flags import JSON
from hitpaw_async.cli.output.json_lines import write_line
from hitpaw_async.cli.output.tables import decimal, print_prose, print_table, quote_text, shortened
from hitpaw_async.models import CreditQuote, ExportRequest, Resolution, VideoFacts, VideoModel

__all__ = ["Probed", "print_facts", "probe", "probe_all"]

PROBES_AT_ONCE = 4


def probe(
    *sources: Annotated[str, Parameter(name="SOURCE", help="A video's URL or file.")],
    resolution: Annotated[str, Parameter(help="Target size to price, WIDTHxHEIGHT.")] = "1920x1080",
    trusted_host: Annotated[
        tuple[str, ...],
        Parameter(help="HOST or HOST:PORT of yours, whose private address is allowed. May be repeated."),
    ] = (),
    is_json: Annotated[bool, JSON] = False,
) -> int:
    """Read what videos are, from their first bytes, and price them.

    It exits 1 where one of them can't be read or breaks a limit.

    Examples:
        hitpaw probe holiday.mp4 https://example.com/clip.mkv --resolution 3840x2160
    """
    if not sources:
        raise UsageError("There is no video: give URLs or files.")
    target = Resolution.parse(resolution)
    vendor = host_from_environment() or DEFAULT_BASE_URL
    found = anyio.run(probe_all, sources, target, trusted_host, (vendor,))
    if is_json:
        for each in found:
            write_line(each.to_event())
    else:
        print_facts(found, target)
    return ExitCode.INCOMPLETE if any(each.problems for each in found) else ExitCode.DONE


@attrs.frozen(kw_only=True)
class Probed:
    """What a probe found out about a source."""

    source: str
    facts: VideoFacts | None = None
    quote: CreditQuote | None = None
    problems: tuple[str, ...] = ()
    """Why it can't be read, or the limits that it breaks."""

    @property
    def shown(self) -> str:
        """The source as it may be shown."""
        return excerpt(redact_url(self.source) if "://" in self.source else self.source)

    def to_event(self) -> dict[str, Any]:
        """The line that it makes with --json."""
        known = {} if self.facts is None else attrs.asdict(self.facts)
        rates = ("frame_rate", "peak_frame_rate", "frame_rate_max")
        exact = None if self.quote is None or self.quote.exact is None else float(self.quote.exact)
        return {
            "event": "facts",
            "source": self.shown,
            **{name: str(value) if name in rates and value is not None else value for name, value in known.items()},
            "credits_upper": None if self.quote is None else self.quote.upper,
            "credits_exact": exact,
            "assumptions": [] if self.quote is None else [*self.quote.assumptions],
            "problems": [*self.problems],
        }


async def probe_all(
    sources: tuple[str, ...],
    resolution: Resolution,
    trusted_hosts: tuple[str, ...] = (),
    trusted_origins: tuple[str, ...] = (),
) -> list[Probed]:
    """Read the facts of sources, a few at once, and price each for a target size.

    Sources lead to public addresses only, unless their host or their origin is a trusted one.

    Raises:
        ConfigurationError: PyAV is not installed, or not in a version that is known.
    """
    found: dict[int, Probed] = {}
    failures: list[errors.ConfigurationError] = []
    gate = anyio.Semaphore(PROBES_AT_ONCE)

    async def probe(index: int, source: str) -> None:
        async with gate:
            try:
                found[index] = await _probe(source, resolution, trusted_hosts, trusted_origins)
            except errors.ConfigurationError as error:
                failures.append(error)

    async with anyio.create_task_group() as tasks:
        for index, source in enumerate(sources):
            tasks.start_soon(probe, index, source)
    if failures:
        raise failures[0]
    return [found[index] for index in range(len(sources))]


async def _probe(
    source: str, resolution: Resolution, trusted_hosts: tuple[str, ...], trusted_origins: tuple[str, ...]
) -> Probed:
    try:
        facts = await media.probe(source, trusted_hosts=trusted_hosts, trusted_origins=trusted_origins)
    except (errors.MediaError, errors.TransportError, errors.InternalError) as error:
        return Probed(source=source, problems=(str(error),))
    # Any URL will do: the limits of the file are looked at, not its address.
    request = ExportRequest("https://example.com/any", model=VideoModel.GENERAL_DENOISE_BALANCE, resolution=resolution)
    problems = broken_limits(request, facts)
    quote = None if problems else estimate(request, facts=facts)
    return Probed(source=source, facts=facts, quote=quote, problems=problems)


def _facts_cells(facts: VideoFacts) -> tuple[str, str, str, str]:
    """What is known of a source: kind, size, length, rate."""
    kind = " ".join(part for part in (facts.container, facts.codec) if part)
    size = "" if facts.resolution is None else str(facts.resolution)
    length = "" if facts.duration_s is None else _length(facts.duration_s)
    rate = "" if facts.frame_rate is None else f"{decimal(facts.frame_rate)} fps"
    if facts.peak_frame_rate is not None:
        rate += f", peak {decimal(facts.peak_frame_rate)}"
    return kind, size, length, rate


def print_facts(found: Sequence[Probed], target: Resolution) -> None:
    """Print what sources are and cost, then what is wrong with them."""
    rows = [(shortened(each.source), *_facts_cells(each.facts), quote_text(each.quote)) for each in found if each.facts]
    if rows:
        headings = ["video", "kind", "size", "length", "rate", "credits"]
        print_table(headings, rows, right=["credits"], folded=["video", "rate"])
        print(f"\nCredits for {target}: the most it can cost, and by the second.")
    for each in found:
        for problem in each.problems:
            print_prose(problem if each.facts is None else f"{each.shown}: {problem}")


def _length(duration_s: float) -> str:
    return f"{duration_s:.1f} s" if duration_s < 100 else span(duration_s)
