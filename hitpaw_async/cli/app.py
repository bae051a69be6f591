"""The commands: their names, arguments and help, and nothing else."""

import math
from collections.abc import Callable, Sequence
from inspect import cleandoc
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from cyclopts import App, CycloptsError, Parameter

from hitpaw_async.cli.exit_codes import ExitCode
from hitpaw_async.cli.inputs.flags import (
    JOBS_IN_FLIGHT,
    SERVE_FROM,
    STOP_GRACE,
    WAIT_FOR_JOURNAL,
    BatchFlags,
    NetworkFlags,
    number,
    switch,
    whole_number,
)
from hitpaw_async.cli.output.messages import complain
from hitpaw_async.cli.overview import ABOUT
from hitpaw_async.cli.settings.files import configure

__all__ = ["run_command_line"]

F = TypeVar("F", bound=Callable[..., Any])

_JOURNAL = Parameter(name="JOURNAL", help="The journal that `hitpaw enhance` wrote, or the folder that it is in.")
_BASE_URL = Parameter(help="The vendor's address; by default HITPAW_API_BASE_URL, else the real one.")
_JSON = switch("--json", help="JSON Lines on standard output, everything else on standard error.")


def _version() -> str:
    from hitpaw_async._format import own_version  # noqa: PLC0415 (start-up stays light)

    return own_version()


def _reflowed(text: str) -> str:
    """A docstring as help: paragraphs become single lines, for the terminal to break; examples stay as they are."""
    paragraphs = cleandoc(text).split("\n\n")
    return "\n\n".join(
        part.replace("Examples:", "For example:") if part.startswith("Examples:") else part.replace("\n", " ")
        for part in paragraphs
    )


app = App(
    name="hitpaw",
    help=_reflowed(ABOUT),
    version=_version,
    help_format="plaintext",
    default_parameter=Parameter(negative=()),
    suppress_keyboard_interrupt=False,
    config=configure,
)


def run_command_line(arguments: Sequence[str]) -> int:
    """Parse the arguments and run the command. Returns the exit code."""
    try:
        code = app([*arguments], print_error=False, exit_on_error=False, result_action="return_value")
    except CycloptsError as error:
        words = " ".join(("hitpaw", *(error.command_chain or ())))
        said = str(error)
        token = getattr(error, "token", None)
        if token is not None and token.source != "cli":
            said = f"{said.rstrip('.')}. It comes from the {token.source}."
        complain(f"{said}{'' if said.endswith(('.', '?')) else '.'} See: {words} --help")
        return ExitCode.USAGE
    return ExitCode.DONE if code is None else int(code)


def _command(function: F) -> F:
    app.command(function, help=_reflowed(function.__doc__ or ""))
    return function


@_command
def enhance(
    *sources: Annotated[str, Parameter(name="SOURCE", help="A video's URL, which the vendor can reach.")],
    flags: BatchFlags | None = None,
    is_sure: Annotated[
        bool,
        switch("--yes", help="Don't ask before spending. Needed where nobody can be asked and there is no --budget."),
    ] = False,
    is_dry: Annotated[bool, switch("-n", "--dry-run", help="The same as `hitpaw plan`.")] = False,
) -> int:
    """Enhance videos and download the results.

    Every video is written into the journal before a credit is spent. Stopped by Ctrl-C, a crash or a power cut, it goes
    on with: hitpaw resume JOURNAL. A video that the journal knows is never paid for again.

    Examples:
        hitpaw enhance https://example.com/clip.mp4 --budget 10
        hitpaw enhance -i list.csv --resolution 3840x2160 --budget 500 --json
        hitpaw enhance -i list.csv --dry-run
    """
    from hitpaw_async.cli.commands import enhance as commands  # noqa: PLC0415 (start-up stays light)

    given = flags or BatchFlags()
    if is_dry:
        return commands.plan(sources, given)
    return commands.enhance(sources, given, is_sure=is_sure)


@_command
def plan(
    *sources: Annotated[str, Parameter(name="SOURCE", help="A video's URL, which the vendor can reach.")],
    flags: BatchFlags | None = None,
) -> int:
    """Show what `enhance` would submit, skip and reject, and what it would cost.

    It spends nothing, changes nothing and needs no key. It exits 0 whatever the plan says.

    Examples:
        hitpaw plan -i list.csv --budget 500
    """
    from hitpaw_async.cli.commands import enhance as commands  # noqa: PLC0415 (start-up stays light)

    return commands.plan(sources, flags or BatchFlags())


@_command
def status(journal: Annotated[Path, _JOURNAL], /, *, is_json: Annotated[bool, _JSON] = False) -> int:
    """Show where a batch stands, even while it runs.

    It exits 0 whatever it finds.

    Examples:
        hitpaw status enhanced/hitpaw-journal.db
    """
    from hitpaw_async.cli.commands import enhance as commands  # noqa: PLC0415 (start-up stays light)

    return commands.status(journal, is_json=is_json)


@app.command(name="list")
def list_items(
    journal: Annotated[Path, _JOURNAL],
    /,
    *,
    state: Annotated[tuple[str, ...], Parameter(help="Only those in this state, e.g. failed. May be repeated.")] = (),
    is_csv: Annotated[bool, switch("--csv", help="CSV on standard output, with the list's own columns.")] = False,
    is_json: Annotated[bool, _JSON] = False,
) -> int:
    """List a batch's videos: where each stands, what it cost, and why it is not done."""
    from hitpaw_async.cli.commands import list as listing  # noqa: PLC0415 (start-up stays light)

    return listing.list_items(journal, state, is_json=is_json, is_csv=is_csv)


@_command
def resume(  # noqa: PLR0913 (flags, each with a meaning of its own)
    journal: Annotated[Path, _JOURNAL],
    /,
    *,
    budget: Annotated[
        int | None, Parameter(help="CREDITS: another budget, over all runs.", converter=whole_number)
    ] = None,
    output: Annotated[Path | None, Parameter(name=("-o", "--output"), help="Another folder for results.")] = None,
    base_url: Annotated[str | None, Parameter(help="Another address of the vendor.")] = None,
    jobs_in_flight: Annotated[int | str | None, JOBS_IN_FLIGHT] = None,
    again: Annotated[
        tuple[str, ...],
        Parameter(help="KEY: look again at a video that has ended, by its key or how that begins. May be repeated."),
    ] = (),
    is_failed: Annotated[bool, switch("--failed", help="Look again at all that failed: ask for their jobs.")] = False,
    pays_again: Annotated[
        bool, switch("--pay-again", help="Submit what failed anew, and pay anew, in place of asking for its job.")
    ] = False,
    video_url: Annotated[
        str | None, Parameter(help="The URL of --again's video, where it was signed: the journal forgets that.")
    ] = None,
    is_sure: Annotated[bool, switch("--yes", help="Don't ask before it is paid again.")] = False,
    stop_grace_s: Annotated[float | None, STOP_GRACE] = None,
    is_json: Annotated[bool, _JSON] = False,
    is_quiet: Annotated[bool, switch("-q", "--quiet", help="Say only what went wrong.")] = False,
    waits_for_journal: Annotated[bool, WAIT_FOR_JOURNAL] = False,
    network: NetworkFlags | None = None,
) -> int:
    """Go on with a batch that was stopped, as it was started.

    Looking again costs nothing: the job of a video that failed, or whose file was deleted, is asked for again, and what
    was rejected is checked anew.

    Examples:
        hitpaw resume enhanced/hitpaw-journal.db
        hitpaw resume enhanced/hitpaw-journal.db --budget 800
        hitpaw resume enhanced/hitpaw-journal.db --failed
    """
    from hitpaw_async.cli.commands import enhance as commands  # noqa: PLC0415 (start-up stays light)
    from hitpaw_async.cli.commands import settle as settling  # noqa: PLC0415 (the same)

    if again or is_failed:
        goes_on = settling.look_again(
            journal,
            again,
            is_failed=is_failed,
            pays=pays_again,
            video_url=video_url,
            is_sure=is_sure,
            wait_s=math.inf if waits_for_journal else 0.0,
        )
        if not goes_on:
            return ExitCode.INCOMPLETE
    elif pays_again or video_url is not None:
        complain("--pay-again and --video-url need --again KEY or --failed. See: hitpaw resume --help")
        return ExitCode.USAGE
    changes = {
        "budget": budget,
        "output": output,
        "base_url": base_url,
        "jobs_in_flight": jobs_in_flight,
        "stop_grace_s": stop_grace_s,
    }
    return commands.resume(
        journal,
        changes,
        is_json=is_json,
        is_quiet=is_quiet,
        waits_for_journal=waits_for_journal,
        network=network or NetworkFlags(),
    )


@_command
def report(
    journal: Annotated[Path, _JOURNAL],
    /,
    *,
    output: Annotated[Path, Parameter(name=("-o", "--output"), help="FILE: the page to write.")] = Path("report.html"),
    served: Annotated[tuple[str, ...], SERVE_FROM] = (),
    is_offline: Annotated[
        bool, switch("--offline", help="Fetch no source: pictures before come from local files alone.")
    ] = False,
) -> int:
    """Write a batch's report: one HTML page with figures, charts, and pictures before and after.

    The page needs no network and no other file. The batch may still be running; nothing is spent.

    Examples:
        hitpaw report enhanced/hitpaw-journal.db -o report.html
    """
    from hitpaw_async.cli.commands import enhance as commands  # noqa: PLC0415 (start-up stays light)

    return commands.report(journal, output, served, is_offline=is_offline)


@_command
def reconcile(  # noqa: PLR0913 (the same)
    journal: Annotated[Path, _JOURNAL],
    /,
    *,
    key: Annotated[
        tuple[str, ...], Parameter(help="The video to settle, by its key or how that begins. May be repeated.")
    ] = (),
    is_all: Annotated[bool, switch("--all", help="Settle all of them, with --lost or --resubmit.")] = False,
    job_id: Annotated[str | None, Parameter(help="Its job is this one: take it over.")] = None,
    is_lost: Annotated[bool, switch("--lost", help="Give it up; what it may have cost counts as spent.")] = False,
    is_resubmitted: Annotated[bool, switch("--resubmit", help="Submit it again and pay again.")] = False,
    base_url: Annotated[str | None, Parameter(help="The vendor's address; by default the batch's.")] = None,
    is_sure: Annotated[bool, switch("--yes", help="Don't ask before it is to be paid again.")] = False,
    waits_for_journal: Annotated[bool, WAIT_FOR_JOURNAL] = False,
    is_json: Annotated[bool, _JSON] = False,
    network: NetworkFlags | None = None,
) -> int:
    """List videos that may have been charged without an answer, or settle one.

    Without --key and --all it lists them, and on a terminal asks about each. With one of these, give exactly one of
    --job-id, --lost and --resubmit.

    Examples:
        hitpaw reconcile enhanced/hitpaw-journal.db
        hitpaw reconcile enhanced/hitpaw-journal.db --key clip-7 --job-id tZgnWAwQT80RgLNp4QToNHSW
        hitpaw reconcile enhanced/hitpaw-journal.db --all --lost
    """
    from hitpaw_async.cli.commands import settle as settling  # noqa: PLC0415 (start-up stays light)

    way = network or NetworkFlags()
    if not key and not is_all and job_id is None and not (is_lost or is_resubmitted):
        return settling.list_uncertain(journal, base_url=base_url, network=way, is_json=is_json)
    ways = (job_id is not None) + is_lost + is_resubmitted
    if bool(key) == is_all or ways != 1 or (job_id is not None and len(key) != 1):
        complain("Give --key and exactly one of --job-id, --lost and --resubmit. See: hitpaw reconcile --help")
        return ExitCode.USAGE
    wait_s = math.inf if waits_for_journal else 0.0
    return settling.settle(
        journal,
        key,
        is_all=is_all,
        job_id=job_id,
        is_lost=is_lost,
        base_url=base_url,
        network=way,
        is_sure=is_sure,
        wait_s=wait_s,
    )


@_command
def probe(
    *sources: Annotated[str, Parameter(name="SOURCE", help="A video's URL or file.")],
    resolution: Annotated[str, Parameter(help="Target size to price, WIDTHxHEIGHT.")] = "1920x1080",
    trusted_host: Annotated[
        tuple[str, ...],
        Parameter(help="HOST or HOST:PORT of yours, whose private address is allowed. May be repeated."),
    ] = (),
    is_json: Annotated[bool, _JSON] = False,
) -> int:
    """Read what videos are, from their first bytes, and price them.

    It exits 1 where one of them can't be read or breaks a limit.

    Examples:
        hitpaw probe holiday.mp4 https://example.com/clip.mkv --resolution 3840x2160
    """
    from hitpaw_async.cli.commands import enhance as commands  # noqa: PLC0415 (start-up stays light)

    return commands.probe(sources, resolution, trusted_host, is_json=is_json)


@_command
def task(
    job_id: Annotated[str, Parameter(name="JOB_ID", help="As `enhance` or your account shows it.")],
    /,
    *,
    base_url: Annotated[str | None, _BASE_URL] = None,
    shows_url: Annotated[
        bool, switch("--show-url", help="Show the result's whole URL: whoever has it has the video.")
    ] = False,
    is_json: Annotated[bool, _JSON] = False,
    network: NetworkFlags | None = None,
) -> int:
    """Ask once how a job stands. Costs nothing.

    Examples:
        hitpaw task tZgnWAwQT80RgLNp4QToNHSW
    """
    from hitpaw_async.cli.commands import enhance as commands  # noqa: PLC0415 (start-up stays light)

    given = network or NetworkFlags()
    return commands.task(job_id, base_url, shows_url=shows_url, is_json=is_json, network=given)


@_command
def models(*, is_json: Annotated[bool, _JSON] = False) -> int:
    """List the models, the vendor's limits and its prices."""
    from hitpaw_async.cli.commands import enhance as commands  # noqa: PLC0415 (start-up stays light)

    return commands.models(is_json=is_json)


@_command
def doctor(
    *,
    is_offline: Annotated[bool, switch("--offline", help="Don't ask whether the host answers.")] = False,
    is_json: Annotated[bool, _JSON] = False,
    network: NetworkFlags | None = None,
) -> int:
    """Show which settings are in force and where they come from, versions, extras, and whether the host answers.

    It neither shows nor sends the key, and spends nothing. It exits 1 where something keeps videos from being enhanced.

    Examples:
        hitpaw doctor
    """
    from hitpaw_async.cli.commands import enhance as commands  # noqa: PLC0415 (start-up stays light)

    return commands.doctor(is_offline=is_offline, is_json=is_json, network=network or NetworkFlags())


@_command
def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], Parameter(name="SHELL", help="bash, zsh or fish.")], /
) -> int:
    """Print the script that completes commands and flags with the Tab key.

    For bash, the line below belongs in ~/.bashrc; for zsh, the folder must be one of fpath.

    Examples:
        eval "$(hitpaw completion bash)"
        hitpaw completion zsh > ~/.zfunc/_hitpaw
        hitpaw completion fish > ~/.config/fish/completions/hitpaw.fish
    """
    print(app.generate_completion(shell=shell))
    return ExitCode.DONE


@_command
def simulate(
    *,
    host: Annotated[str, Parameter(help="Address to listen on. Keep it on this machine.")] = "127.0.0.1",
    port: Annotated[int, Parameter(help="Port; 0 is any free one.", converter=whole_number)] = 8787,
    credits_given: Annotated[
        int, Parameter(name="--credits", help="CREDITS in the account.", converter=whole_number)
    ] = 1000,
    speed: Annotated[
        float, Parameter(help="How many times faster jobs go than at the vendor.", converter=number)
    ] = 1.0,
    faults: Annotated[Path | None, Parameter(help="FILE: a JSON script of what goes wrong.")] = None,
    files: Annotated[Path | None, Parameter(help="DIR: a folder of videos to serve under /files/.")] = None,
) -> int:
    """Serve a simulator of the vendor: same calls, its own ledger, real (lanczos, not AI) results.

    Examples:
        hitpaw simulate --credits 100 --speed 20 --files clips
    """
    from hitpaw_async.cli.commands import enhance as commands  # noqa: PLC0415 (start-up stays light)

    return commands.simulate(host=host, port=port, credits_given=credits_given, speed=speed, faults=faults, files=files)


@_command
def demo(
    *,
    output: Annotated[
        Path, Parameter(name=("-o", "--output"), help="Folder for the results; a fresh one within, where it is in use.")
    ] = Path("hitpaw-demo"),
) -> int:
    """Run a real batch without key or network: simulator, sample videos, budget, downloads. Under a minute.

    Examples:
        hitpaw demo
    """
    from hitpaw_async.cli.commands import enhance as commands  # noqa: PLC0415 (start-up stays light)

    return commands.demo(output)
