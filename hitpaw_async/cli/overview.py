"""The text of `hitpaw --help`, which is there before the parser of the command line has been loaded."""

from __future__ import annotations

from typing import Final

__all__ = ["ABOUT", "COMMANDS", "overview"]

ABOUT: Final = """\
Enhance videos through HitPaw's API: one, or a hundred thousand, and never pay
twice.

The key comes from HITPAW_API_KEY, or from the file that HITPAW_API_KEY_FILE
names. To begin without a key and without a network: hitpaw demo

Settings that don't change go into hitpaw.toml in the current folder, into
[tool.hitpaw] of its pyproject.toml, into the user's file (`hitpaw doctor` shows
where that is) or into variables such as HITPAW_BUDGET; a flag goes before all
of them.

Exit codes: 0 every video is done; 1 some failed, were rejected, are uncertain
or unfinished; 2 wrong usage or input, nothing was spent; 3 the key was refused;
4 budget or credits left videos unsubmitted, whatever became of the others;
5 another process works on the journal; 130 interrupted by Ctrl-C or SIGTERM."""

COMMANDS: Final = {
    "enhance": "Enhance videos and download the results.",
    "plan": "Show what a batch would submit, skip and reject, and what it would cost.",
    "status": "Show where a batch stands, even while it runs.",
    "list": "List a batch's videos: where each stands, and why it is not done.",
    "resume": "Go on with a batch that was stopped, as it was started.",
    "report": "Write a batch's report: one HTML page.",
    "reconcile": "List videos that may have been charged without an answer, or settle one.",
    "probe": "Read what videos are, from their first bytes, and price them.",
    "task": "Ask once how a job stands. Costs nothing.",
    "models": "List the models, the vendor's limits and its prices.",
    "doctor": "Show settings, versions, and whether the host answers.",
    "completion": "Print the script that completes commands and flags with the Tab key.",
    "simulate": "Serve a simulator of the vendor.",
    "demo": "Run a real batch without key or network, in under a minute.",
}
"""Every command with the first line of its docstring, which is read without loading it."""


def overview() -> str:
    """The text of `hitpaw --help`."""
    lines = [f"  {name:<11} {purpose}" for name, purpose in COMMANDS.items()]
    return "\n".join(
        (
            "Usage: hitpaw COMMAND\n",
            ABOUT,
            "\nCommands (hitpaw COMMAND --help or hitpaw help COMMAND tells more):",
            *lines,
            "\nhitpaw --version (-V) tells the version.",
        )
    )
