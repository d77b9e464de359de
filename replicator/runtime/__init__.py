"""The port to the world and the kernel that runs our coroutines.

``kernel`` schedules tasks over a clock of three calls, ``waiting`` holds what a task can
wait for, ``scopes`` the deadlines and groups, ``channels`` the FIFO buffers between tasks,
``port`` names what a world has to offer: storage, streams, time.  Everything that decides
is written against these and therefore runs unchanged in the simulator and on real hosts.
"""

from replicator.runtime.channels import Queue, QueueClosed, Signal
from replicator.runtime.kernel import Clock, Kernel, Task
from replicator.runtime.scopes import (
    UNFINISHED,
    Cleanup,
    Deadline,
    Group,
    cleanup,
    deadline,
    first,
    group,
)
from replicator.runtime.waiting import (
    Cancelled,
    Completion,
    Crashed,
    TaskCancelled,
    TimedOut,
    Waitable,
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
    "Waitable",
    "cleanup",
    "deadline",
    "first",
    "group",
    "sleep_ns",
    "yield_now",
]
