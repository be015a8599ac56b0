"""What the console switches: faults, clocks, snapshots and resets of the embedded servers, through their controls."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Final

from emulator.console.answers import Problem, invalid
from emulator.console.sources import Control, Json

_CLOCK_ACTS: Final = ("advance", "freeze", "now", "run")
_FREEZE: Final = {"firestore": "clock.stop", "pubsub": "clock.freeze"}
_UNITS_PER_SECOND: Final = {"firestore": 1e6, "pubsub": 1.0}
"""Of what a server's clock tells."""
_LONGEST_ADVANCE: Final = 366 * 24 * 3600.0

Act = Callable[[Mapping[str, Json]], Json]


class Acts:
    """The acts on all servers that can be controlled. Every one may raise Problem and ``grpc.RpcError``."""

    def __init__(self, controls: Mapping[str, Control], cloud: str) -> None:
        """``controls`` by the service's name; empty for a cloud that has none."""
        self._controls = controls
        self._cloud = cloud

    def by_name(self) -> Mapping[str, Act]:
        """The acts, each from what it is given to what it answers."""
        return {
            "faults": self._inject,
            "clock": self._clock,
            "snapshot": self._snapshot,
            "restore": self._restore,
            "reset": self._reset,
        }

    def _inject(self, given: Mapping[str, Json]) -> Json:
        service, fault = given.get("service"), given.get("fault")
        control = self._some().get(service) if isinstance(service, str) else None
        if control is None:
            raise invalid(f"service must be one of {_listed(self._controls)}, not {service!r}")
        if not isinstance(fault, dict):
            raise invalid('fault must be an object such as {"method": "Commit", "code": "ABORTED", "count": 1}')
        control.act("inject", **fault)
        return {"service": service, "fault": fault}

    def _clock(self, given: Mapping[str, Json]) -> Json:
        act = given.get("act", "now")
        if act not in _CLOCK_ACTS:
            raise invalid(f"act must be one of {_listed(_CLOCK_ACTS)}, not {act!r}")
        arguments = {"seconds": _seconds(given.get("seconds"))} if act == "advance" else {}
        for name, control in self._some().items():
            control.act(_FREEZE[name] if act == "freeze" else f"clock.{act}", **arguments)
        return {"now": {name: _time(control, name) for name, control in self._some().items()}}

    def _snapshot(self, _given: Mapping[str, Json]) -> Json:
        return {"snapshots": {name: control.act("snapshot") for name, control in self._some().items()}}

    def _restore(self, given: Mapping[str, Json]) -> Json:
        snapshots = given.get("snapshots")
        controls = self._some()
        if (
            not isinstance(snapshots, dict)
            or not snapshots
            or not _are_texts(snapshots)
            or snapshots.keys() - controls.keys()
        ):
            raise invalid(f"snapshots must be what /_local/snapshot answered: an object with {_listed(controls)}")
        for name, snapshot in snapshots.items():
            controls[name].act("restore", snapshot=snapshot)
        return {"restored": sorted(snapshots)}

    def _reset(self, given: Mapping[str, Json]) -> Json:
        controls = self._some()
        services = given.get("services", sorted(controls))
        if not isinstance(services, list) or not services or not all(str(each) in controls for each in services):
            raise invalid(f"services must be a list of {_listed(controls)}, not {services!r}")
        for name in services:
            controls[name].act("reset")
        return {"reset": services}

    def _some(self) -> Mapping[str, Control]:
        if not self._controls:
            raise Problem(
                HTTPStatus.NOT_IMPLEMENTED,
                f"the {self._cloud} cloud cannot be controlled: start the stack with --cloud=embedded",
            )
        return self._controls


def json_object(body: bytes) -> dict[str, Json]:
    """The body of a request, which may be empty."""
    try:
        given = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise invalid(f"the body is no JSON: {error}") from error
    if not isinstance(given, dict):
        raise invalid("the body must be a JSON object")
    return given


def _are_texts(values: Mapping[str, Json]) -> bool:
    return all(isinstance(each, str) for each in values.values())


def _seconds(given: Json) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given <= _LONGEST_ADVANCE:
        raise invalid(f"seconds must be a number above 0 and at most {_LONGEST_ADVANCE:.0f}, not {given!r}")
    return float(given)


def _time(control: Control, service: str) -> str:
    seconds = control.act("clock.now") / _UNITS_PER_SECOND[service]
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="milliseconds")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
