"""The port to the world and the kernel that runs our coroutines.

``kernel`` schedules tasks over a clock of three calls, ``channels`` holds the FIFO
buffers between tasks, ``port`` names what a world has to offer: storage, streams,
time.  Everything that decides is written against these three modules and therefore
runs unchanged in the simulator and on real hosts.
"""

from replicator.runtime.channels import Queue, QueueClosed, Signal
from replicator.runtime.kernel import (
    UNFINISHED,
    Cancelled,
    Cleanup,
    Clock,
    Completion,
    Crashed,
    Deadline,
    Group,
    Kernel,
    Task,
    TaskCancelled,
    TimedOut,
    cleanup,
    deadline,
    first,
    group,
    sleep_ns,
    yield_now,
)

__all__ = [
    "UNFINISHED",
    "Cancelled",
    "Cleanup",
    "Clock",
    "Completion",
    "Crashed",
    "Deadline",
    "Group",
    "Kernel",
    "Queue",
    "QueueClosed",
    "Signal",
    "Task",
    "TaskCancelled",
    "TimedOut",
    "cleanup",
    "deadline",
    "first",
    "group",
    "sleep_ns",
    "yield_now",
]
