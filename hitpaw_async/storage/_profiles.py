"""The credentials that the AWS command line keeps in a folder: obstore reads the environment, and not these files."""

from __future__ import annotations

import configparser
import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hitpaw_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["profile_settings"]

_FOUND_ELSEWHERE: Final = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
_GIVEN: Final = ("access_key_id", "credential_provider", "skip_signature", "token")
_NEEDS_BOTO3: Final = ("role_arn", "credential_process", "sso_session", "sso_account_id")
_COPIED: Final = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
    "region": "region",
    "endpoint_url": "endpoint",
}


def profile_settings(given: Iterable[str], environment: Mapping[str, str]) -> dict[str, Any]:
    """What a profile of the AWS command line adds to settings of an S3 store; nothing where others say it. Reads files.

    Args:
        given: The names of the settings that there are.
        environment: E.g. `os.environ`.

    Raises:
        ConfigurationError: The profile can't be used.
    """
    names = {name.lower().removeprefix("aws_") for name in given}
    if names.intersection(_GIVEN) or any(environment.get(name) for name in _FOUND_ELSEWHERE):
        return {}
    profile = environment.get("AWS_PROFILE") or environment.get("AWS_DEFAULT_PROFILE")
    section = _section(profile or "default", environment)
    if section is None:
        if profile is not None:
            raise ConfigurationError(f"There is no AWS profile {profile!r}. Correct AWS_PROFILE, or make it.")
        return {}
    read: dict[str, Any] = {ours: section[theirs] for theirs, ours in _COPIED.items() if theirs in section}
    for name, variables in (("region", ("AWS_REGION", "AWS_DEFAULT_REGION")), ("endpoint", ("AWS_ENDPOINT_URL",))):
        if name in names or any(environment.get(variable) for variable in variables):
            read.pop(name, None)
    if "access_key_id" not in read and any(name in section for name in _NEEDS_BOTO3):
        read["credential_provider"] = _boto3_provider(profile)
    return read


def _section(profile: str, environment: Mapping[str, str]) -> dict[str, str] | None:
    """All that the two files say of a profile; None where neither has it."""
    folder = Path(environment.get("HOME") or os.path.expanduser("~"), ".aws")  # noqa: PTH111 (HOME as it was given)
    files = (
        (environment.get("AWS_CONFIG_FILE") or folder / "config", ("default",) if profile == "default" else ()),
        (environment.get("AWS_SHARED_CREDENTIALS_FILE") or folder / "credentials", (profile,)),
    )
    found: dict[str, str] | None = None
    for path, plain_names in files:
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as error:
            problem = f"The AWS settings in {str(path)!r} can't be read ({type(error).__name__}). Correct the file."
        else:
            for name in (*plain_names, f"profile {profile}"):
                if parser.has_section(name):
                    found = {**(found or {}), **dict(parser.items(name))}
            continue
        raise ConfigurationError(problem)
    return found


def _boto3_provider(profile: str | None) -> object:
    """Credentials of a role, a single sign-on or a program, which boto3 knows how to get."""
    try:
        session: Any = import_module("boto3.session")
        provider: Any = import_module("obstore.auth.boto3")
    except ImportError:
        provider = session = None
    if provider is None:
        raise ConfigurationError(
            "The AWS profile takes its credentials from a role, a single sign-on or a program. That needs boto3: "
            "pip install boto3. Or set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN."
        )
    made: object = provider.Boto3CredentialProvider(session.Session(profile_name=profile))
    return made
