"""A batch in a simulated world: the real scheduler, poller, ledger, journal and retries, everything else made up.

    python -m tests.simulation --seeds 1..1000        run a range of seeds
    python -m tests.simulation --seeds 17 --log       replay one, with all that happened
    python -m tests.simulation.mutations              plant bugs, and see each of them caught

A seed decides everything: the videos, the budget, the faults, where processes die, what the person at the desk does.
Time is virtual. Every invariant is looked at after every step, and the same seed is the same run, to the letter.
"""
