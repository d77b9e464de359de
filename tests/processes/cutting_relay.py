"""A relay on loopback that cuts a connection at a chosen place of the stream of frames.

It stands where the sender expects the replica.  What comes from the source is read frame by
frame (24 bytes of header with the payload's length at offset 8, and the payload) and handed on;
what comes from the replica is handed on as it comes.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections import deque
from enum import Enum
from typing import NamedTuple

from replicator.protocol import HEADER_BYTES
from tests.processes.trial import PATIENCE_S

_POLL_S = 0.2
"""How soon the thread that listens sees that the relay was closed."""
_STALL_S = 5.0
"""How long one call on a connection may take under load."""
_TYPE_OFFSET, _LENGTH_OFFSET = 4, 8


class Place(Enum):
    """Where in the next frame the cut is; frames go on whole before it."""

    BOUNDARY = "boundary"
    HEADER = "header"
    MIDDLE = "middle"
    LAST_BYTE = "last byte"


class Cut(NamedTuple):
    """The connection ends after so many whole frames of the source and part of the next."""

    frames: int
    place: Place = Place.BOUNDARY

    def length_bytes(self, frame_bytes: int) -> int:
        """How much of the next frame gets through."""
        return {
            Place.BOUNDARY: 0,
            Place.HEADER: HEADER_BYTES // 2,
            Place.MIDDLE: max(HEADER_BYTES, frame_bytes // 2),
            Place.LAST_BYTE: frame_bytes - 1,
        }[self.place]


class CuttingRelay:
    """Listens on a port of loopback and connects to another one.

    Arguments
    ---------
    target_port: of the replica.
    """

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(_POLL_S)
        self.port = int(self._listener.getsockname()[1])
        self._guard = threading.Lock()
        self._plan: deque[Cut] = deque()
        self._current: list[socket.socket] = []
        self.cuts_made = 0
        self.frame_types: list[int] = []
        """Of the frames that the source sent over the newest connection and that got through."""
        self.seen_types: set[int] = set()
        """Of all connections."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._accept, name="relay", daemon=True)
        self._thread.start()

    def plan(self, cuts: list[Cut]) -> None:
        """Cut the connections that come next, one after the other; the present one ends now."""
        with self._guard:
            assert not self._plan
            self._plan.extend(cuts)
            for sock in self._current:
                _end(sock, abruptly=False)

    def close(self) -> None:
        """End everything."""
        self._over.set()
        with self._guard:
            for sock in self._current:
                _end(sock, abruptly=False)
        self._listener.close()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    # -- threads ---------------------------------------------------------------------------

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                source, _address = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return  # closed
            self._serve(source)

    def _serve(self, source: socket.socket) -> None:
        """One connection to its end."""
        try:
            replica = socket.create_connection(("127.0.0.1", self._target_port), _STALL_S)
        except OSError:  # the replica is not up: no connection, so none of the cuts
            source.close()
            return
        for sock in (source, replica):
            sock.settimeout(_STALL_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._guard:
            cut = self._plan[0] if self._plan else None
            self._current = [source, replica]
            self.frame_types = []
        back = threading.Thread(target=self._hand_back, args=(replica, source), daemon=True)
        back.start()
        try:
            if self._hand_on(source, replica, cut):
                with self._guard:
                    self._plan.popleft()
                    self.cuts_made += 1
        except OSError:
            pass  # one of the ends, or the other thread, has ended the connection
        with self._guard:
            # A reset every other time: bytes that wait at the receiver may be lost with it.
            for sock in (source, replica):
                _end(sock, abruptly=cut is not None and self.cuts_made % 2 == 1)
            self._current = []
        back.join(PATIENCE_S)
        source.close(), replica.close()

    def _hand_on(self, source: socket.socket, replica: socket.socket, cut: Cut | None) -> bool:
        """Frames from the source to the replica; returns whether the cut's place was reached."""
        waiting = bytearray()
        frames = 0
        while True:
            due = cut is not None and frames == cut.frames
            if cut is not None and due and cut.place is Place.BOUNDARY:
                return True
            size_bytes = self._frame_bytes(waiting)
            wanted_bytes = cut.length_bytes(size_bytes or HEADER_BYTES) if cut and due else 0
            known = size_bytes > 0 or (cut is not None and cut.place is Place.HEADER)
            if cut is not None and due and known and len(waiting) >= wanted_bytes:
                replica.sendall(waiting[:wanted_bytes])
                return True
            if size_bytes and len(waiting) >= size_bytes:
                replica.sendall(waiting[:size_bytes])
                self.frame_types.append(waiting[_TYPE_OFFSET])
                self.seen_types.add(waiting[_TYPE_OFFSET])
                del waiting[:size_bytes]
                frames += 1
                continue
            data = _receive(source, self._over)
            if not data:
                return False
            waiting += data

    @staticmethod
    def _frame_bytes(waiting: bytearray) -> int:
        """Size of the first frame, 0 while its header is not there."""
        if len(waiting) < HEADER_BYTES:
            return 0
        return HEADER_BYTES + int(struct.unpack_from("<I", waiting, _LENGTH_OFFSET)[0])

    def _hand_back(self, replica: socket.socket, source: socket.socket) -> None:
        with contextlib.suppress(OSError):  # as above
            while data := _receive(replica, self._over):
                source.sendall(data)
        # The replica has ended it: so does the other thread, which reads from the source.
        _end(source, abruptly=False)


def _receive(sock: socket.socket, over: threading.Event) -> bytes:
    """What comes next; empty at the end."""
    while not over.is_set():
        try:
            return sock.recv(1 << 16)
        except TimeoutError:
            continue
    return b""


def _end(sock: socket.socket, *, abruptly: bool) -> None:
    """End a connection for both directions, and for a thread that waits for it.

    Abruptly: nothing is said now, and the close that follows resets the connection.
    """
    with contextlib.suppress(OSError):  # it has ended already
        if abruptly:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.shutdown(socket.SHUT_RD if abruptly else socket.SHUT_RDWR)
