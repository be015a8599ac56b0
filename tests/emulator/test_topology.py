from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emulator.errors import TopologyError
from emulator.identities import Identities
from emulator.routes import routes, unrouted
from emulator.topology import load_topology

WHO = Identities("mesh-local")


@pytest.fixture
def change(roles_file: Path, tmp_path: Path) -> Callable[..., Path]:
    """The fixture's roles file with one value replaced, or removed."""

    def write(*path: str, value: object = None) -> Path:
        document: dict[str, Any] = json.loads(roles_file.read_text())
        place: Any = document
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
        file = tmp_path / "changed.json"
        file.write_text(json.dumps(document))
        return file

    return write


def test_references_become_emails_joined_by_commas(roles_file: Path) -> None:
    assert load_topology(roles_file).allow_lists("alpha", WHO) == {
        "PUSHERS": "push-work-alpha@mesh-local.iam.gserviceaccount.com,push-ordered@mesh-local.iam.gserviceaccount.com",
        "CALLERS": "developer@mesh-local.iam.gserviceaccount.com,beta-two@mesh-local.iam.gserviceaccount.com,"
        "schedule-tick@mesh-local.iam.gserviceaccount.com",
    }


def test_local_overrides_win(roles_file: Path, change: Callable[..., Path]) -> None:
    topology = load_topology(roles_file)
    assert topology.retry("work-alpha").minimum_backoff_seconds == 0.05
    assert topology.interval("tick") == 0.3
    plain = load_topology(change("local", value={}))
    assert plain.retry("work-alpha").minimum_backoff_seconds == 10
    assert plain.interval("tick") == 60


def test_the_real_roles_file_is_valid() -> None:
    assert load_topology(Path(__file__).parents[2] / "infra" / "roles.json").roles


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("roles", "alpha", "concurrency"), 0, r"roles\.alpha\.concurrency: .*greater"),
        (("roles", "alpha", "concurrency"), "8", r"roles\.alpha\.concurrency: .*integer"),
        (("roles", "alpha", "alow"), {}, "unknown field 'alow', did you mean 'allow'"),
        (("roles", "alpha", "allow"), {"X": ["robot"]}, r"roles\.alpha\.allow\.X\.0"),
        (("roles", "alpha", "allow"), {"X": ["role:nobody"]}, r"roles\.alpha\.allow\.X\.0: there is no role 'nobody'"),
        (("agents", "first", "role"), "nobody", r"agents\.first\.role: there is no role 'nobody'"),
        (("schedules", "tick", "role"), "nobody", r"schedules\.tick\.role"),
        (("schedules", "tick", "path"), "tick", r"schedules\.tick\.path"),
        (("local", "schedules"), {"tock": {"everySeconds": 1}}, r"local\.schedules\.tock: there is no schedule"),
        (("subscriptions", "ordered", "topic"), "none", r"subscriptions\.ordered\.topic: there is no topic 'none'"),
        (("subscriptions", "ordered", "push"), {"role": "x", "path": "/"}, r"subscriptions\.ordered\.push\.role"),
        (
            ("subscriptions", "ordered", "filter"),
            "colour",
            r"subscriptions\.ordered\.filter: at 0: expected attributes",
        ),
        (("subscriptions", "ordered", "ackDeadlineSeconds"), 9, r"subscriptions\.ordered\.ackDeadlineSeconds: .*10"),
        (("subscriptions", "ordered", "ackDeadlineSeconds"), 601, r"subscriptions\.ordered\.ackDeadlineSeconds: .*600"),
        (
            ("subscriptions", "work-alpha", "deadLetter", "maxDeliveryAttempts"),
            4,
            r"subscriptions\.work-alpha\.deadLetter\.maxDeliveryAttempts: .*5",
        ),
        (
            ("subscriptions", "ordered", "messageRetentionSeconds"),
            599,
            r"subscriptions\.ordered\.messageRetentionSeconds: .*600",
        ),
        (
            ("local", "retry"),
            {"minimumBackoffSeconds": 2, "maximumBackoffSeconds": 1},
            r"local\.retry: minimumBackoffSeconds is more than maximumBackoffSeconds",
        ),
        (
            ("subscriptions", "ordered", "retry"),
            {"minimumBackoffSeconds": 1, "maximumBackoffSeconds": 601},
            r"subscriptions\.ordered\.retry\.maximumBackoffSeconds: .*600",
        ),
        (
            ("subscriptions", "work-alpha", "deadLetter", "topic"),
            "x",
            r"subscriptions\.work-alpha\.deadLetter\.topic: there is no topic 'x'",
        ),
    ],
)
def test_a_mistake_is_named_by_its_path(
    change: Callable[..., Path], path: tuple[str, ...], value: object, said: str
) -> None:
    with pytest.raises(TopologyError, match=said):
        load_topology(change(*path, value=value))


def test_fields_of_the_deployment_are_left_alone(change: Callable[..., Path]) -> None:
    assert "alpha" in load_topology(change("roles", "alpha", "memory", value="512Mi")).roles


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TopologyError, match=r"cannot read .*none\.json"):
        load_topology(tmp_path / "none.json")
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    with pytest.raises(TopologyError, match=r"broken\.json: Invalid JSON"):
        load_topology(broken)


def test_an_unknown_role_cannot_be_chosen(roles_file: Path) -> None:
    topology = load_topology(roles_file)
    assert topology.chosen([]) == ["alpha", "beta_two"]
    with pytest.raises(TopologyError, match="no role 'gamma'; there are alpha, beta_two"):
        topology.chosen(["gamma"])


def test_routes_lead_to_running_roles_only(roles_file: Path) -> None:
    topology = load_topology(roles_file)
    used = routes(topology, WHO, {"beta_two": "http://127.0.0.1:9"})
    assert [route.name for route in used] == ["work-beta", "work-dead"]
    assert used[0].target.endpoint == "http://127.0.0.1:9/push"
    assert used[0].target.audience == "http://127.0.0.1:9"
    assert used[0].target.service_account == "push-work-beta@mesh-local.iam.gserviceaccount.com"
    assert unrouted(topology, used) == ["work-alpha", "ordered"]
