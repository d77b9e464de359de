"""The marks of a replica: how far each step has come, and who waits for the next one.

What arrives passes these steps, and each mark rises in one place, after its step is done::

    step                              mark that rises then                  where
    append to the journal, sync       stream_epoch, durable, stream_chain   replica_intake
    append COMMIT, sync               committed_epoch                       replica_intake
    apply to home                     cursor (and the image's ``applied``)  replica_apply
    sync home, write a checkpoint     checkpointed                          replica_checkpointer

A step works only on what the mark before it covers.  So within one history, from the end of
recovery on, ``checkpointed <= applied <= durable``; and whatever a crash leaves, home is behind
the journal, never ahead.

Two signals.  Whoever *waits for* a mark looks at it and waits for ``changed``.  Whoever *wants*
the task that applies to do something says so and notifies ``asked``; the task itself waits for
that one.  With one signal for both, two who wait at a time would wake each other for ever.
"""

from __future__ import annotations

from replicator.errors import ProtocolViolation
from replicator.image import ReplicaImage
from replicator.journal import Position
from replicator.protocol import Acknowledgement
from replicator.records import EMPTY_CHAIN
from replicator.runtime.channels import Signal


class ReplicaMarks:
    """What the steps of a replica tell each other; nothing of it is on disk by itself.

    Arguments
    ---------
    image: what has been applied; its epoch and operation are marks, too.
    cursor: where apply begins.
    """

    def __init__(self, image: ReplicaImage, cursor: Position) -> None:
        self._image = image
        self.changed = Signal()
        """Notified whenever one of the marks moves."""
        self.asked = Signal()
        """Notified when there may be something to do for the task that applies."""

        self.stream_epoch = 0
        """Epoch of what arrives; of an image that is still being brought over: not yet ours."""
        self.durable = 0
        """Last operation of the stream that is durable in the journal."""
        self.stream_chain = EMPTY_CHAIN
        """Link of the chain behind it."""
        self.committed_epoch = 0
        """Epoch of the image that recovery would produce now."""
        self.cursor = cursor
        """Up to here the journal is applied."""
        self.checkpointed = 0
        """Last operation that the newest checkpoint includes."""

        self.promised_epoch = 0
        """No history of an epoch below this is taken any more."""
        self.promoted = False
        """The replica has taken over: no source is listened to."""
        self.stalled = ""
        """Why apply stands still; empty while it works."""

    def tell(self) -> None:
        """A mark has moved, or may have: wake all who look at one, and the task that applies."""
        self.changed.notify()
        self.asked.notify()

    @property
    def switching(self) -> bool:
        """Whether an image is committed that is not at home yet."""
        return self.committed_epoch != self._image.epoch

    @property
    def epoch_after(self) -> int:
        """The first epoch that could follow what is here."""
        return max(self._image.epoch, self.committed_epoch) + 1

    def refuse_when_promoted(self) -> None:
        """Raises ProtocolViolation when the replica has taken over."""
        if self.promoted:
            raise ProtocolViolation(
                f"the replica has taken over; epoch {self._image.epoch} is over"
            )

    def acknowledgement(self) -> Acknowledgement:
        """What may be promised to the source now."""
        image = self._image
        if image.epoch != self.stream_epoch:
            return Acknowledgement(self.stream_epoch, self.durable, 0, 0, image.as_of_ns)
        applied = min(image.applied, self.durable)
        checkpointed = min(applied, self.checkpointed)
        return Acknowledgement(image.epoch, self.durable, applied, checkpointed, image.as_of_ns)
