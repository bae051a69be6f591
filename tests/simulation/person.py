"""The person at the desk, who looks into what is uncertain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hitpaw_async import errors
from hitpaw_async.batch.journal.store import JobIdTakenError

if TYPE_CHECKING:
    from hitpaw_async.batch.scheduler import BatchScheduler
    from tests.simulation.invariants import Invariants
    from tests.simulation.vendor import Vendor
    from tests.simulation.world import World

__all__ = ["settle", "settle_one"]


async def settle(batch: BatchScheduler, world: World, vendor: Vendor, invariants: Invariants) -> None:
    """Settle some of what is uncertain: bind the job that the account's pages show, give up, or pay again.

    Raises:
        AuthenticationError: The key was refused.
        ConfigurationError: The address redirects.
        JournalError: It could not be written down.
    """
    keys = [outcome.key async for outcome in batch.uncertain()]
    for key in keys:
        if world.rng.random() < 0.8:
            await settle_one(batch, key, world, vendor, invariants)


async def settle_one(batch: BatchScheduler, key: str, world: World, vendor: Vendor, invariants: Invariants) -> None:
    """Settle one item, if it is uncertain.

    Raises:
        AuthenticationError: The key was refused.
        ConfigurationError: The address redirects.
        JournalError: It could not be written down.
    """
    invariants.decided.add(key)
    jobs = [charge.job.job_id for charge in vendor.charges_of(key)]
    try:
        if jobs and world.rng.random() < 0.8:
            world.note(f"person: binds {jobs[-1]} to {key}")
            await batch.bind(key, jobs[-1])
        elif world.rng.random() < 0.6:
            world.note(f"person: pays again for {key}")
            await batch.resubmit(key)
        else:
            world.note(f"person: gives {key} up")
            await batch.give_up(key)
    except (JobIdTakenError, errors.InvalidRequestError) as error:
        world.note(f"person: {type(error).__name__}")
    except (errors.AuthenticationError, errors.ConfigurationError, errors.JournalError):
        raise
    except errors.HitPawError as error:
        world.note(f"person: {type(error).__name__}")
