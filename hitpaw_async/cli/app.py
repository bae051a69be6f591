"""The command line's parser: a command is a module of `cli.commands`, loaded when it is typed."""

from __future__ import annotations

from inspect import cleandoc
from typing import TYPE_CHECKING, Final, Literal

from cyclopts import App, CycloptsError, Parameter

from hitpaw_async.cli.exit_codes import ExitCode
from hitpaw_async.cli.output.messages import complain
from hitpaw_async.cli.overview import ABOUT, COMMANDS
from hitpaw_async.cli.settings.files import configure

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["app", "completion_script", "run_command_line"]

_FUNCTIONS: Final = {"list": "list_items"}
"""Functions that are not called like their command, which is a builtin's name."""


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
    version_flags=("--version", "-V"),
    help_format="plaintext",
    default_parameter=Parameter(negative=()),
    suppress_keyboard_interrupt=False,
    config=configure,
)
for _name in COMMANDS:
    app.command(f"hitpaw_async.cli.commands.{_name}:{_FUNCTIONS.get(_name, _name)}", name=_name)


def _load(name: str) -> None:
    """Load a command, and take its docstring for its help."""
    command = app[name]
    command.help = _reflowed(command.default_command.__doc__ or "")


def completion_script(shell: Literal["bash", "zsh", "fish"]) -> str:
    """The script that completes every command and flag in a shell."""
    for name in COMMANDS:
        _load(name)
    return app.generate_completion(shell=shell)


def run_command_line(arguments: Sequence[str]) -> int:
    """Parse the arguments and run the command. Returns the exit code."""
    if arguments and arguments[0] in COMMANDS:
        _load(arguments[0])
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
