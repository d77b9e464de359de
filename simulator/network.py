"""The emulated network: hosts with names, listeners, and how connections begin and break.

Models
------
* A connection costs one round trip.  It is refused when the machine is up and nobody
  listens; it hangs while the machine is down or the way is cut, and goes through one round
  trip after the machine is back or the cut is healed.
* Death of a process (:meth:`Network.process_died`): its machine ends every connection, with
  what its kernel still holds of it, or resets it (:mod:`simulator.stream`).
* Loss of a machine (:meth:`Network.machine_down`): the peers hear nothing, also of what dead
  processes had left to it.  When the
  machine is up again, the first bytes that reach it for an old connection, or those that
  reached it in vain while it was down, come back as a reset.
* One :class:`Attachment` for each incarnation of a host: what a dead one left behind never
  wakes a later one.

Leaves out: names other than the hosts' own, routing over several links, the timing of
repeated connection attempts (a real one retries after 1, 3, 7 ... seconds), a full backlog
other than by refusal, connections of a host to itself.

Compared with: Linux TCP sockets for refusal, the end or reset after a process's death, silence
after a power loss, and reset by a rebooted machine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

from replicator.errors import ConnectionLost, ListenerClosed
from replicator.runtime import Cancelled, Clock, Completion
from replicator.runtime.channels import Signal
from simulator.link import Line, Link
from simulator.slow_start import SlowStartStream
from simulator.stream import SimStream, StreamWatch, Trace, connect_ends

SEND_BUFFER_BYTES = 256 * 1024
BACKLOG_LIMIT = 128


def _no_trace(_event: str, *_values: int) -> None:
    return None


class Machine:
    """What outlives the incarnations of a host: its name and whether it is powered."""

    def __init__(self, name: str, clock: Clock) -> None:
        self.name = name
        self.up = False
        self.process: Attachment | None = None
        self.orphans: dict[SimStream, None] = {}
        """Connections of dead processes that are still being ended in good order."""
        self._clock = clock
        self._unanswered: dict[SimStream, None] = {}
        self._callers: list[tuple[Callable[[], None], int]] = []

    def power_up(self) -> None:
        """What was sent in vain is repeated by its senders, and arrives one round trip later."""
        self.up = True
        now = self._clock.now()
        unanswered, self._unanswered = self._unanswered, {}
        for stream in unanswered:
            self._clock.at(now + stream.rtt_ns, stream.reach_again)
        callers, self._callers = self._callers, []
        for call, rtt_ns in callers:
            self._clock.at(now + rtt_ns, call)

    def power_down(self) -> None:
        """It says nothing any more, neither for the living nor for the dead."""
        self.up = False
        if self.process is not None:
            self.process.detach(vanish=True)
        for stream in list(self.orphans):
            stream.die(vanish=True)

    def reached_unknown(self, stream: SimStream) -> None:
        """Bytes have come for a connection of an earlier boot."""
        if self.up:
            stream.answer_unknown()
        else:
            self._unanswered[stream] = None

    def wait_for_power(self, call: Callable[[], None], rtt_ns: int) -> None:
        self._callers.append((call, rtt_ns))


class SimListener:
    """Implements ``replicator.runtime.port.Listener``."""

    def __init__(self, host: Attachment, port: str) -> None:
        self._host = host
        self._port = port
        self._backlog: deque[SimStream] = deque()
        self._arrived = Signal()
        self._closed = False

    async def accept(self) -> SimStream:
        """The next connection, in the order of their arrival; raises ListenerClosed."""
        while not self._backlog:
            if self._closed:
                raise ListenerClosed("the listener is closed")
            await self._arrived
        stream = self._backlog.popleft()
        stream.taken = True
        return stream

    def close(self) -> None:
        """Accept nothing more; connections nobody has accepted are reset."""
        if not self._closed:
            self._closed = True
            self._host.listeners.pop(self._port, None)
            backlog, self._backlog = self._backlog, deque()
            for stream in backlog:
                stream.abort()
            self._arrived.notify()

    @property
    def full(self) -> bool:
        return len(self._backlog) >= BACKLOG_LIMIT

    def push(self, stream: SimStream) -> None:
        self._backlog.append(stream)
        self._arrived.notify()


class Attachment:
    """One incarnation of a host on the network, and its half of the port."""

    def __init__(self, network: Network, machine: Machine, is_alive: Callable[[], bool]) -> None:
        self.machine = machine
        self.streams: dict[SimStream, None] = {}
        self.listeners: dict[str, SimListener] = {}
        self._network = network
        self._is_alive = is_alive
        self._gone = False

    @property
    def name(self) -> str:
        return self.machine.name

    @property
    def alive(self) -> bool:
        """False once the process or the machine is gone: nothing of it is woken then."""
        return not self._gone and self._is_alive()

    async def connect(self, address: str) -> SimStream:
        """Open a connection to ``host:port``; raises ConnectionLost."""
        return await self._network.connect(self, address)

    async def listen(self, address: str) -> SimListener:
        """Listen on ``name:port`` or ``:port``; raises ConnectionLost when it is taken."""
        host_name, port = _split(address)
        if host_name not in ("", self.name):
            raise ConnectionLost(f"{address} is not an address of {self.name}")
        if port in self.listeners:
            raise ConnectionLost(f"address {address} is in use")
        listener = self.listeners[port] = SimListener(self, port)
        return listener

    def detach(self, *, vanish: bool) -> None:
        """The process is gone; ``vanish``: and its machine with it."""
        self._gone = True
        self.listeners.clear()
        for stream in list(self.streams):
            stream.die(vanish=vanish)


class _Attempt:
    """A connection in the making."""

    def __init__(self, host: Attachment, address: str) -> None:
        self.host = host
        self.address = address
        self.abandoned = False
        self.result: Completion[SimStream] = Completion()

    @property
    def wanted(self) -> bool:
        return not self.abandoned and self.host.alive

    def refuse(self) -> None:
        if self.wanted:
            self.result.fail(ConnectionLost(f"refused: nobody listens on {self.address}"))

    def accept(self, stream: SimStream) -> None:
        if self.abandoned:
            stream.abort()
        elif self.host.alive:
            if stream.failure is not None:
                self.result.fail(ConnectionLost(stream.failure))
            else:
                stream.taken = True
                self.result.set(stream)


class Network:
    """Hosts and the links between them.

    Arguments
    ---------
    clock: where its events go.
    trace: called as ``trace(event, *ints)`` for each chunk delivered (connection, receiving
        side, stream offset, size), each connection opened and each one lost.
    send_buffer_bytes: what a connection holds that is not yet on the wire, before a send waits.
    """

    def __init__(
        self,
        clock: Clock,
        trace: Trace = _no_trace,
        send_buffer_bytes: int = SEND_BUFFER_BYTES,
    ) -> None:
        self._clock = clock
        self._trace = trace
        self._send_buffer_bytes = send_buffer_bytes
        self._machines: dict[str, Machine] = {}
        self._links: dict[frozenset[str], Link] = {}
        self._connections = 0
        self.watch: StreamWatch | None = None

    def add_link(self, link: Link) -> Link:
        """Let the two hosts of a link talk over it."""
        self._links[frozenset((link.a_name, link.b_name))] = link
        return link

    def link_between(self, one: str, other: str) -> Link | None:
        return self._links.get(frozenset((one, other)))

    def attach(self, name: str, is_alive: Callable[[], bool] = lambda: True) -> Attachment:
        """A new incarnation of the host ``name`` starts; its machine is up."""
        machine = self._machine(name)
        if machine.process is not None and not machine.process._gone:
            raise ValueError(f"the incarnation of {name} before this one has not ended")
        attachment = machine.process = Attachment(self, machine, is_alive)
        self.machine_up(name)
        return attachment

    def machine_up(self, name: str) -> None:
        """The machine has booted, its process may come later: connections are refused."""
        machine = self._machine(name)
        if not machine.up:
            machine.power_up()

    def process_died(self, host: Attachment) -> None:
        """The process is gone, its machine lives on and ends what the process had open."""
        host.detach(vanish=False)

    def machine_down(self, name: str) -> None:
        """The machine is gone without a word (power loss, or lost for ever)."""
        self._machine(name).power_down()

    async def connect(self, host: Attachment, address: str) -> SimStream:
        """Open a connection; hangs while the way or the machine is down (use a deadline)."""
        name, port = _split(address)
        link = self.link_between(host.name, name)
        if link is None:
            raise ConnectionLost(f"no route from {host.name} to {address}")
        out, back = link.lines_from(host.name)
        attempt = _Attempt(host, address)
        out.carry(partial(self._call_arrives, attempt, self._machine(name), port, out, back))
        try:
            return await attempt.result
        except Cancelled:
            attempt.abandoned = True
            raise

    def _call_arrives(
        self, attempt: _Attempt, machine: Machine, port: str, out: Line, back: Line
    ) -> None:
        if not attempt.wanted:
            return
        if not machine.up:
            again = partial(self._call_arrives, attempt, machine, port, out, back)
            machine.wait_for_power(partial(out.arrive, again), out.model.rtt_ns)
            return
        process = machine.process
        listener = process.listeners.get(port) if process is not None else None
        if process is None or not process.alive or listener is None or listener.full:
            back.carry(attempt.refuse)
            return
        number = self._connections
        self._connections += 1
        buffer_bytes, trace = self._send_buffer_bytes, self._trace
        cold = out.model.initial_window_segments is not None
        end = SlowStartStream if cold else SimStream
        client = end(attempt.host, (out, back), number, 0, buffer_bytes, trace)
        server = end(process, (back, out), number, 1, buffer_bytes, trace)
        connect_ends(client, server)
        client.watch = server.watch = self.watch
        attempt.host.streams[client] = None
        process.streams[server] = None
        trace("network.open", number)
        back.carry(partial(attempt.accept, client))
        listener.push(server)

    def _machine(self, name: str) -> Machine:
        machine = self._machines.get(name)
        if machine is None:
            machine = self._machines[name] = Machine(name, self._clock)
        return machine


def _split(address: str) -> tuple[str, str]:
    host_name, separator, port = address.rpartition(":")
    if not separator or not port:
        raise ConnectionLost(f"{address!r} is not an address like replica:7000")
    return host_name, port
