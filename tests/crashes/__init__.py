"""Real crashes: a real process, a real server, real system calls, and SIGKILL at each of them.

A point is one folder with one journal and six videos. The process that works on it is killed, once or more; then it is
run again, undisturbed, until nothing is left to do. The simulated vendor outlives it and says what was charged.

    python -m tests.crashes --points 1000
    python -m tests.crashes.power_loss
    python -m tests.crashes.io_faults
    python -m tests.crashes.damage

Needs Linux and strace with the right to trace (`ptrace`); no network but loopback.
"""
