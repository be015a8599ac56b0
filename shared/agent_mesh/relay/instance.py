"""One instance of the relay: everything that it is made of, wired once per process.

Any function may be one: it publishes and streams in its own process, and others get what it publishes through Pub/Sub.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Final

from agent_mesh.contracts.problems import Unavailable
from agent_mesh.platform.crash_points import crash_point
from agent_mesh.platform.function_parts import FunctionParts
from agent_mesh.platform.ids import random_id
from agent_mesh.policy.active import ActivePolicy
from agent_mesh.relay.beat import Beat, Beats
from agent_mesh.relay.catch_up import catch_up
from agent_mesh.relay.connections import Connection, Connections
from agent_mesh.relay.fan_in import FanIn
from agent_mesh.relay.history import History
from agent_mesh.relay.hub import Hub
from agent_mesh.relay.live_topic import as_published
from agent_mesh.relay.messages import Draft, Message
from agent_mesh.relay.own_subscription import OwnSubscriptions
from agent_mesh.relay.permissions import TopicPermissions
from agent_mesh.relay.presence import Patterns, PresenceBoard, count_for
from agent_mesh.relay.stream import OpenStream, Relay, StraightWriter, StreamEvent
from agent_mesh.relay.tickets import Tickets
from agent_mesh.relay.together import Appends

_NAME: Final = "relay"


@dataclass(frozen=True)
class Heard:
    """How many streams get a topic's messages: here, and on each other instance that has any."""

    here: int
    elsewhere: Sequence[int]


@dataclass(frozen=True)
class Receipt:
    """A message is stored and on its way. `message` is None where it was deleted since it was first published."""

    message_id: str
    message: Message | None
    repeated: bool


class RelayInstance:
    """Publishes and streams for one process. Nothing connects and no thread begins before the first use."""

    def __init__(self, parts: FunctionParts) -> None:
        """Wire from `parts`."""
        settings, database, clock = parts.settings, parts.database, parts.clock
        self.name: Final = random_id("relay")
        self.history: Final = History(database, clock)
        self.hub: Final = Hub(self.history)
        self.tickets: Final = Tickets(database, clock)
        self.permissions: Final = TopicPermissions(ActivePolicy.of(parts), settings, parts.events)
        self._relay = Relay(self.hub, self.history, clock)
        self._appends = Appends(self.history, lambda messages: self.hub.publish(*messages))
        self._publisher = parts.publisher
        self._topic = settings.relay_topic
        self._stream_limit = settings.relay_stream_limit
        self._board = PresenceBoard(database, clock, self.name)
        self._beat = Beat(self._board, self.catch_up, Beats(catch_up_s=settings.relay_catch_up_seconds))
        prefix = f"projects/{settings.project}/subscriptions/{settings.name_prefix}{_NAME}-"
        subscriptions = OwnSubscriptions(prefix, self._topic, self.name)
        self._fan_in = FanIn(subscriptions, self.hub.publish, self.catch_up)
        self._connections = Connections(self.close)

    def publish(self, topic: str, draft: Draft, caller: str = "") -> Receipt:
        """Store a message and tell every stream of it, here and elsewhere; `caller` is who asked for it.

        A key that is known stores nothing and tells of the first message again: whoever published it may have died
        before. Raises `Unavailable`: nothing may have happened, or all but telling the others. Repeat it with its key.
        """
        published = self._appends.append(topic, draft)
        crash_point("relay.appended")
        message = published.message or self.history.find(topic, int(published.message_id))
        if message:
            if published.message is None:
                self.hub.publish(message)
            self._publisher.publish(self._topic, [as_published(message, self.name, caller)])
            crash_point("relay.told")
        return Receipt(published.message_id, message, repeated=published.message is None)

    def stream(
        self,
        email: str,
        patterns: Patterns,
        last_event_id: str | None = None,
        client: socket.socket | None = None,
        readable: Callable[[LiveStream], object] | None = None,
    ) -> LiveStream:
        """Open a stream of what `email` may read, whose bytes go to `client`. Whether it may at all was asked before.

        `readable` is called when something came from the client; without one the stream ends if that is its end. Raises
        `InvalidRequest` and `Unavailable`, and nothing is open then.
        """
        if sum(self._beat.streams.values()) >= self._stream_limit:
            raise Unavailable("This instance has as many streams as it can; connect again.", retry_after_s=1)
        self._beat.join(patterns)
        try:
            self._fan_in.join()
            try:
                stream = self._relay.open(patterns, last_event_id, self.permissions.readable(email))
            except BaseException:
                self._fan_in.leave()
                raise
        except BaseException:
            self._beat.leave(patterns)
            raise
        return LiveStream(self, stream, client, readable)

    def presence(self, topic: str) -> Heard:
        """Return how many streams get the messages of a topic; raise `Unavailable`."""
        return Heard(count_for(topic, self._beat.streams), self._board.elsewhere(topic))

    def catch_up(self) -> None:
        """Hand out what the history has and this instance was not told; raise `Unavailable`."""
        catch_up(self.hub, self.history)

    def close(self) -> None:
        """The process stops: end all streams and take no new one, and pull no more."""
        self.hub.close()
        self._fan_in.stop()

    def watch(self, connection: Connection) -> None:
        """Watch the socket of a stream."""
        self._connections.add(connection)

    def watch_again(self, connection: Connection) -> None:
        """Watch a socket for the next thing that comes."""
        self._connections.listen_again(connection)

    def left(self, patterns: Patterns, connection: Connection | None) -> None:
        """A stream has ended."""
        if connection:
            self._connections.remove(connection)
        self._fan_in.leave()
        self._beat.leave(patterns)


class LiveStream:
    """An open stream, and what its instance does for it. Close it, also where nothing was read of it."""

    def __init__(
        self,
        instance: RelayInstance,
        stream: OpenStream,
        client: socket.socket | None,
        readable: Callable[[LiveStream], object] | None,
    ) -> None:
        """Watch the client's socket, where there is one."""
        self._instance = instance
        self._stream = stream
        self._closed = threading.Lock()
        self._connection: Connection | None = None
        if client:
            self._connection = Connection(client, lambda: readable(self) if readable else self._end_if_closed())
            instance.watch(self._connection)

    def batches(self) -> Iterator[Sequence[StreamEvent]]:
        """Yield what is ready at once; until the next is asked for, it is being written."""
        for batch in self._stream.batches():
            if self._connection:
                self._connection.writing_since = monotonic()
            yield batch
            if self._connection:
                self._connection.writing_since = None

    def write_straight(self, writer: Callable[[Connection], StraightWriter]) -> None:
        """Let publishers write to the client, where there is a socket."""
        if self._connection:
            self._stream.write_straight(writer(self._connection))

    def wake(self) -> None:
        """Let the reading thread have a heartbeat now."""
        self._stream.wake()

    def listen_again(self) -> None:
        """Call `readable` for the next thing that comes from the client."""
        if self._connection:
            self._instance.watch_again(self._connection)

    def close(self) -> None:
        """Free what it holds; once more changes nothing."""
        if self._closed.acquire(blocking=False):
            self._stream.close()
            self._instance.left(self._stream.patterns, self._connection)

    def _end_if_closed(self) -> None:
        if self._connection and self._connection.closed_by_reader:
            self._stream.abandon()
