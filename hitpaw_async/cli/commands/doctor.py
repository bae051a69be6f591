"""`hitpaw doctor`: what is in force, where it comes from, and whether all that is needed is there. It sends no key."""

import os
import platform
import shutil
import sqlite3
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import as_file
from typing import Annotated, Any, Final
from urllib.request import getproxies_environment

import anyio
import attrs

from hitpaw_async import errors
from hitpaw_async._format import own_version
from hitpaw_async._redact import redact_url
from hitpaw_async._transport.authorities import (
    AUTHORITIES_FILE_NAME,
    AUTHORITIES_FOLDER_NAME,
    authorities_from_environment,
)
from hitpaw_async._transport.proxies import Proxies
from hitpaw_async._vendor.credentials import KEY_FILE_NAME, KEY_NAME
from hitpaw_async._vendor.settings import DEFAULT_BASE_URL, checked_base_url
from hitpaw_async.batch.journal.sqlite import has_wal_reset_bug
from hitpaw_async.cli.exit_codes import ExitCode
from hitpaw_async.cli.inputs.flags import JSON, BatchFlags, NetworkFlags, switch
from hitpaw_async.cli.output.json_lines import write_line
from hitpaw_async.cli.output.tables import PIPE_COLUMNS
from hitpaw_async.cli.settings.batch import api_key
from hitpaw_async.cli.settings.files import Origin, key_file_of_user, setting_files, settings_in_force, user_file
from hitpaw_async.media import probe_file
from hitpaw_async.media._pyav import AV_MAJORS
from hitpaw_async.models import Resolution
from hitpaw_async.simulator.clips import SAMPLE

__all__ = ["Finding", "doctor", "examine"]

ANSWER_S: Final = 10.0
PYTHONS_TESTED: Final = "3.11 to 3.13"
SAMPLE_FACTS: Final = (Resolution(640, 360), Fraction(25), 5.0)
"""The sample's size, rate and length."""
EXTRAS: Final = {
    "cli": ("cyclopts", "platformdirs", "rich"),
    "media": ("av",),
    "report": ("jinja2",),
    "simulator": ("starlette", "uvicorn"),
}


@attrs.frozen(kw_only=True)
class Finding:
    """One thing that was looked at."""

    section: str
    name: str
    value: str
    source: str = ""
    is_bad: bool = False
    """Whether it keeps videos from being enhanced."""

    def to_event(self) -> dict[str, Any]:
        """The line that it makes with --json."""
        return {"event": "finding", **attrs.asdict(self)}


def doctor(
    *,
    is_offline: Annotated[bool, switch("--offline", help="Don't ask whether the host answers.")] = False,
    is_json: Annotated[bool, JSON] = False,
    network: NetworkFlags | None = None,
) -> int:
    """Show settings, versions, and whether the host answers.

    Of each setting that is in force it says where it comes from.
    It neither shows nor sends the key, and spends nothing. It exits 1 where something keeps videos from being enhanced.

    Examples:
        hitpaw doctor
    """
    found = []
    for finding in examine(os.environ, is_offline=is_offline, network=network or NetworkFlags()):
        found.append(finding)
        if is_json:
            write_line(finding.to_event())
    if not is_json:
        print_findings(found)
    return ExitCode.INCOMPLETE if any(finding.is_bad for finding in found) else ExitCode.DONE


def examine(environment: Mapping[str, str], *, is_offline: bool, network: NetworkFlags) -> Iterator[Finding]:
    """Look at everything, one finding after another.

    Args:
        environment: The process's environment variables.
        is_offline: Whether the host is not to be asked.
        network: How it is reached.

    Raises:
        UsageError: A file with settings can't be used.
    """
    yield from _settings()
    yield _key(environment)
    kept = settings_in_force().get("base_url")
    base_url = DEFAULT_BASE_URL if kept is None else kept.value
    yield _proxy(base_url, network)
    yield _authorities()
    if not is_offline:
        yield _host(base_url, network)
    yield from _programs()
    yield from _extras()
    yield _media()


def _settings() -> Iterator[Finding]:
    files = setting_files()
    absent = {Origin.PROJECT: "none here (hitpaw.toml)", Origin.USER: f"none (it would be {user_file()})"}
    for origin, words in absent.items():
        yield Finding(section="files", name=str(origin), value=str(files.get(origin, words)))
    kept = settings_in_force()
    defaults = {"base_url": DEFAULT_BASE_URL, **attrs.asdict(BatchFlags())}
    for name in sorted({*kept} | {"base_url", "budget", "model", "resolution", "output", "jobs_in_flight"}):
        setting = kept.get(name)
        if setting is None:
            default = defaults[name] or ("none" if name == "budget" else DEFAULT_BASE_URL)
            yield Finding(section="settings", name=name, value=str(default), source="default")
        else:
            source = f"{setting.origin} {setting.place}"
            value = redact_url(setting.value) if name == "proxy" else setting.value
            yield Finding(section="settings", name=name, value=value, source=source)


def _key(environment: Mapping[str, str]) -> Finding:
    kept = key_file_of_user()
    source = next((name for name in (KEY_NAME, KEY_FILE_NAME) if environment.get(name)), None)
    if source is None and kept is not None:
        source = f"api_key_file in {kept.place}"
    try:
        api_key()
    except errors.ConfigurationError as error:
        return Finding(section="settings", name="API key", value=str(error), is_bad=True)
    return Finding(section="settings", name="API key", value="set (not shown, not sent)", source=source or "")


def _proxy(base_url: str, network: NetworkFlags) -> Finding:
    """Which proxy the host is reached through, and which of the environment's is left out."""
    try:
        url = Proxies.chosen(network.proxy, trust_env=network.trust_env).for_url(base_url)
        value, is_bad = "none" if url is None else redact_url(url), False
    except errors.HitPawError as error:
        return Finding(section="network", name="proxy", value=str(error), is_bad=True)
    source = "--proxy" if network.proxy is not None else "--trust-env" if network.trust_env else ""
    unused = [] if source else [f"{name.upper()}_PROXY" for name in ("https", "http", "all") if _has_proxy(name)]
    if unused:
        value = f"none; {', '.join(unused)} set in the environment and not used (--trust-env uses it)"
    return Finding(section="network", name="proxy", value=value, source=source, is_bad=is_bad)


def _has_proxy(scheme: str) -> bool:
    return scheme in getproxies_environment()


def _authorities() -> Finding:
    """Whose certificates are trusted."""
    try:
        named = authorities_from_environment()
    except errors.ConfigurationError as error:
        return Finding(section="network", name="authorities", value=str(error), is_bad=True)
    names = {AUTHORITIES_FILE_NAME: named.file, AUTHORITIES_FOLDER_NAME: named.folder}
    given = {variable: name for variable, name in names.items() if name is not None}
    value = ", ".join(given.values()) or "the list that comes with it (certifi)"
    source = f"environment {', '.join(given)}" if given else "default"
    return Finding(section="network", name="authorities", value=value, source=source)


def _host(base_url: str, network: NetworkFlags) -> Finding:
    try:
        proxies = Proxies.chosen(network.proxy, trust_env=network.trust_env)
        value, is_bad = anyio.run(_answer_of, checked_base_url(base_url), proxies), False
    except errors.HitPawError as error:
        value, is_bad = str(error), True
    source = "" if base_url in value else base_url
    return Finding(section="network", name="host", value=value, source=source, is_bad=is_bad)


async def _answer_of(base_url: str, proxies: Proxies) -> str:
    """What the host says to a request without a key, for nothing in particular: any answer will do.

    Raises:
        TransportError: It says nothing.
    """
    from hitpaw_async._transport import HTTPPool  # noqa: PLC0415 (brings httpx)

    pool = HTTPPool(max_connections=1, proxies=proxies)
    try:
        began = time.monotonic()
        with anyio.move_on_after(ANSWER_S):
            async with pool.get(f"{base_url}/", headers={}, read_timeout_s=ANSWER_S) as stream:
                return f"answers (HTTP {stream.status_code} in {1000 * (time.monotonic() - began):.0f} ms)"
    finally:
        with anyio.CancelScope(shield=True):
            await pool.aclose()
    raise errors.TransportError(f"No answer in {ANSWER_S:.0f} s. Check the network, a proxy or firewall.")


def _programs() -> Iterator[Finding]:
    yield Finding(section="versions", name="hitpaw-async", value=own_version())
    python = f"{platform.python_version()} on {platform.platform()}"
    yield Finding(section="versions", name="Python", value=python, source=f"tested with {PYTHONS_TESTED}")
    has_bug = has_wal_reset_bug(sqlite3.sqlite_version_info)
    mode = "TRUNCATE (this version can lose commits in WAL mode)" if has_bug else "WAL"
    value = f"{sqlite3.sqlite_version}, journals in mode {mode}, every commit flushed"
    yield Finding(section="versions", name="SQLite", value=value)
    encoding = sys.stdout.encoding
    yield Finding(section="versions", name="output encoding", value=encoding)


def _extras() -> Iterator[Finding]:
    for extra, packages in EXTRAS.items():
        found = [f"{package} {_version_of(package) or 'missing'}" for package in packages]
        is_whole = all(map(_version_of, packages))
        value = ", ".join(found) if is_whole else f"no: pip install 'hitpaw-async[{extra}]'"
        yield Finding(section="extras", name=extra, value=value)


def _media() -> Finding:
    """Whether videos can be read here: the shipped sample is."""
    tested = f"tested with PyAV {AV_MAJORS[0]} to {AV_MAJORS[-1]}"
    installed = _version_of("av")
    found = "PyAV is not installed" if installed is None else f"PyAV {installed}"
    is_bad = False
    try:
        with as_file(SAMPLE) as sample:
            facts = probe_file(sample)
        rate = "?" if facts.frame_rate is None else f"{float(facts.frame_rate):.4g}"
        value = f"works: the sample is {facts.resolution}, {rate} fps, {facts.duration_s or 0:.3g} s"
        is_bad = (facts.resolution, facts.frame_rate, facts.duration_s) != SAMPLE_FACTS
        value = f"{value}, and should be otherwise" if is_bad else value
    except errors.MissingExtraError as error:
        value = f"no. {error}"
    except errors.HitPawError as error:
        value, is_bad = str(error), True
    except OSError as error:  # a package in a zip is unpacked for it
        value, is_bad = f"no: the sample can't be unpacked into a temporary file: {error.strerror}", True
    return Finding(section="media", name="reading", value=value, source=f"{found}, {tested}", is_bad=is_bad)


def _version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def print_findings(found: Sequence[Finding]) -> None:
    """Print what was found out about the set-up, and what is wrong with it."""
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPE_COLUMNS
    for before, finding in zip([None, *found], found, strict=False):
        if before is None or before.section != finding.section:
            print(f"{'' if before is None else chr(10)}{finding.section}")
        start = f"  {'!' if finding.is_bad else ' '} {finding.name:<16} "
        source = f" ({finding.source})" if finding.source else ""
        print(
            textwrap.fill(
                f"{finding.value}{source}",
                max(columns, 2 * len(start)),
                initial_indent=start,
                subsequent_indent=" " * len(start),
                break_long_words=False,
                break_on_hyphens=False,
            )
        )
