"""Live messages by topic: stored in order, fanned out to streams, resumed without a gap or a repeat.

`Appends` puts a message into the `History`, `Hub` hands it to the streams of this instance, `Relay` opens a stream
that joins both.
"""

from agent_mesh.relay.history import History, Published
from agent_mesh.relay.hub import Hub
from agent_mesh.relay.messages import Draft, Message
from agent_mesh.relay.replay import GapReason, Replay
from agent_mesh.relay.stream import Delivery, End, Gap, Heartbeat, OpenStream, Relay, StreamEvent, StreamLimits
from agent_mesh.relay.subscriber import EndReason, QueueLimits
from agent_mesh.relay.tickets import Ticket, Tickets
from agent_mesh.relay.together import Appends
from agent_mesh.relay.topics import Topic, TopicPattern, checked_topic, parse_patterns

__all__ = [
    "Appends",
    "Delivery",
    "Draft",
    "End",
    "EndReason",
    "Gap",
    "GapReason",
    "Heartbeat",
    "History",
    "Hub",
    "Message",
    "OpenStream",
    "Published",
    "QueueLimits",
    "Relay",
    "Replay",
    "StreamEvent",
    "StreamLimits",
    "Ticket",
    "Tickets",
    "Topic",
    "TopicPattern",
    "checked_topic",
    "parse_patterns",
]
