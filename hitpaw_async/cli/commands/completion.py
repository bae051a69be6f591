"""`hitpaw completion`: the script that completes commands and flags."""

from typing import Annotated, Literal

from cyclopts import Parameter

from hitpaw_async.cli.exit_codes import ExitCode

__all__ = ["completion"]


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
    from hitpaw_async.cli.app import completion_script  # noqa: PLC0415 (it loads every command, and this one)

    print(completion_script(shell))
    return ExitCode.DONE
