"""The errors of the local stack.

EmulatorError
├── TopologyError      the roles file is wrong; the message starts with the path inside it
├── StartError         something did not start; the message says what to do
├── AlreadyRunningError  another stack owns the state directory
├── FilterError        a subscription filter does not follow the Pub/Sub grammar
└── Refusal            what a server answers with an error status (emulator.refusals)
"""

from __future__ import annotations


class EmulatorError(Exception):
    """Base of all errors that the local stack raises on purpose."""


class TopologyError(EmulatorError):
    """The roles file is wrong; the message starts with the path inside the file."""


class StartError(EmulatorError):
    """A part of the stack did not start; the message says what to do."""


class AlreadyRunningError(EmulatorError):
    """Another stack owns the state directory."""


class FilterError(EmulatorError):
    """A subscription filter does not follow the Pub/Sub filter grammar."""
