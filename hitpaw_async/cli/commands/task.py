"""`hitpaw task`: ask once how a job stands."""

from functools import partial
from typing import Annotated

import anyio
from cyclopts import Parameter

from hitpaw_async._redact import redact_url
from hitpaw_async.cli.exit_codes import ExitCode
from hitpaw_async.cli.inputs.flags import BASE_URL, JSON, NetworkFlags, switch
from hitpaw_async.cli.output.json_lines import write_line
from hitpaw_async.cli.settings.batch import (
    api_key,
)
from hitpaw_async.client import AsyncHitPaw
from hitpaw_async.models import Job

__all__ = ["ask_task", "task"]


def task(
    job_id: Annotated[str, Parameter(name="JOB_ID", help="As `enhance` or your account shows it.")],
    /,
    *,
    base_url: Annotated[str | None, BASE_URL] = None,
    shows_url: Annotated[
        bool, switch("--show-url", help="Show the result's whole URL: whoever has it has the video.")
    ] = False,
    is_json: Annotated[bool, JSON] = False,
    network: NetworkFlags | None = None,
) -> int:
    """Ask once how a job stands. Costs nothing.

    Examples:
        hitpaw task tZgnWAwQT80RgLNp4QToNHSW
    """
    way = network or NetworkFlags()
    job = anyio.run(partial(ask_task, job_id, api_key=api_key(), base_url=base_url, network=way))
    url = job.res_url if shows_url or job.res_url is None else redact_url(job.res_url)
    fields = {"job_id": job.job_id, "status": job.status_text, "res_url": url, "credits": job.credits}
    if is_json:
        write_line({"event": "task", **fields})
    else:
        for name, value in fields.items():
            if value is not None:
                print(f"{name:<8} {value}")
    return ExitCode.DONE


async def ask_task(job_id: str, *, api_key: str, base_url: str | None, network: NetworkFlags) -> Job:
    """Ask once how a job stands.

    Raises:
        HitPawError: The vendor refused, or can't be reached.
    """
    async with AsyncHitPaw(api_key=api_key, base_url=base_url, **network.client_arguments) as hitpaw:
        return await hitpaw.task(job_id)
