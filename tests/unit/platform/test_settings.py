"""What a function is told by its environment, and what it refuses to start with."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_mesh.platform.settings import AgentAddress, Settings, SettingsError

NAMES = sorted(str(field.validation_alias) for field in Settings.model_fields.values())
AWKWARD = st.sampled_from(
    ["nan", "inf", "-1", "0", "1e999", "9" * 5000, "[" * 100_000, "{}", '{"a": 1}', "true", "\x00"]
)


def settings(**environment: str) -> Settings:
    return Settings.from_environment(environment)


def refusal(**environment: str) -> str:
    with pytest.raises(SettingsError) as refused:
        settings(**environment)
    return str(refused.value)


def test_without_an_environment_everything_has_its_default() -> None:
    given = settings()
    assert (given.project, given.service, given.push_verify, given.results_verify) == ("", "", True, True)
    assert (given.lease_seconds, given.max_attempts, given.agent_price_cents) == (60.0, 5, None)
    assert (given.runners, given.agents, given.callback_allowed_hosts) == ((), {}, ())
    assert not given.accept_removed_signature


def test_an_empty_value_counts_as_not_set() -> None:
    assert settings(AGENT_LEASE_SECONDS="", PUBSUB_VERIFY_OIDC="", MESH_AGENTS="") == settings()


def test_the_process_environment_is_read_where_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GCP_PROJECT", "from-the-process")
    assert Settings.from_environment().project == "from-the-process"


@pytest.mark.parametrize(
    ("environment", "project"),
    [
        ({"GCP_PROJECT": "a", "GOOGLE_CLOUD_PROJECT": "b"}, "a"),
        ({"GOOGLE_CLOUD_PROJECT": "b"}, "b"),
        ({"GCP_PROJECT": "", "GOOGLE_CLOUD_PROJECT": "b"}, "b"),
    ],
)
def test_googles_own_name_of_the_project_is_the_second_choice(environment: dict[str, str], project: str) -> None:
    assert Settings.from_environment(environment).project == project


def test_a_list_is_separated_by_commas_and_forgives_blanks() -> None:
    assert settings(MESH_RUNNERS=" a@example.com , ,b@example.com,").runners == ("a@example.com", "b@example.com")


def test_agents_are_json() -> None:
    given = settings(MESH_AGENTS='{"a": {"url": "http://a", "audience": "A", "maxCostCents": 3, "new": 1}}')
    assert given.agent("a") == AgentAddress(url="http://a", audience="A", max_cost_cents=3)
    assert given.agent("b") is None


def test_the_url_of_agent_light_is_enough_to_know_it() -> None:
    assert settings(AGENT_LIGHT_URL="http://light").agent("light") == AgentAddress(
        url="http://light", audience="http://light"
    )
    assert settings(AGENT_LIGHT_URL="http://light").agent("other") is None


def test_what_the_table_says_of_agent_light_wins() -> None:
    agents = '{"light": {"url": "http://table", "audience": "A"}}'
    address = settings(AGENT_LIGHT_URL="http://light", MESH_AGENTS=agents).agent("light")
    assert address is not None
    assert address.url == "http://table"


def test_a_topic_is_named_by_its_id_or_by_its_path() -> None:
    assert settings(GCP_PROJECT="p").tasks_topic == "projects/p/topics/tasks"
    assert settings(GCP_PROJECT="p", RESULTS_TOPIC_ID="r").results_topic == "projects/p/topics/r"
    assert settings(GCP_PROJECT="p", PUBSUB_TOPIC_ID="t", PUBSUB_TOPIC="projects/q/topics/u").tasks_topic == (
        "projects/q/topics/u"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AGENT_LEASE_SECONDS", "soon"),
        ("AGENT_LEASE_SECONDS", "0"),
        ("AGENT_LEASE_SECONDS", "-1"),
        ("AGENT_LEASE_SECONDS", "nan"),
        ("AGENT_LEASE_SECONDS", "inf"),
        ("MESH_CONTROL_STALENESS_SECONDS", "-1"),
        ("MESH_CONTROL_STALENESS_SECONDS", "nan"),
        ("MESH_REPUBLISH_SECONDS", "0"),
        ("MESH_HTTP_WAIT_SECONDS", "0"),
        ("MESH_MAX_ATTEMPTS", "0"),
        ("MESH_MAX_ATTEMPTS", "1.5"),
        ("MESH_RETENTION_DAYS", "0"),
        ("MESH_RETENTION_DAYS", "99999999999"),
        ("AGENT_BUDGET_CENTS", "-1"),
        ("AGENT_BUDGET_CENTS", "99999999999999999999"),
        ("AGENT_COST_PER_RUN_CENTS", "-1"),
        ("PUBSUB_VERIFY_OIDC", "perhaps"),
        ("MESH_AGENTS", "not json"),
        ("MESH_AGENTS", "[]"),
        ("MESH_AGENTS", '{"a": {"url": "http://a"}}'),
        ("MESH_AGENTS", '{"a": {"url": "u", "audience": "a", "maxCostCents": -1}}'),
        ("MESH_AGENTS", "[" * 100_000),
    ],
)
def test_a_value_that_cannot_be_used_is_named(name: str, value: str) -> None:
    assert refusal(**{name: value}).startswith(name)


def test_every_value_that_cannot_be_used_is_named_at_once() -> None:
    sentence = refusal(AGENT_LEASE_SECONDS="soon", MESH_MAX_ATTEMPTS="many")
    assert "AGENT_LEASE_SECONDS: " in sentence
    assert "MESH_MAX_ATTEMPTS: " in sentence


@pytest.mark.parametrize("name", ["PUBSUB_VERIFY_OIDC", "RESULTS_PUBSUB_VERIFY_OIDC"])
def test_verification_can_be_turned_off_on_a_developers_machine_only(name: str) -> None:
    given = settings(**{name: "false"})
    assert not (given.push_verify and given.results_verify)
    assert "a developer's machine only" in refusal(**{name: "false", "K_SERVICE": "agent"})


def test_callbacks_to_this_network_are_for_development_only() -> None:
    assert settings(CALLBACK_ALLOWED_HOSTS="localhost").callback_allowed_hosts == ("localhost",)
    assert "CALLBACK_ALLOWED_HOSTS" in refusal(CALLBACK_ALLOWED_HOSTS="localhost", K_SERVICE="agent")


def test_a_refusal_does_not_show_the_values() -> None:
    secret = "whsec_" + base64.b64encode(b"k" * 32).decode()
    assert secret not in refusal(WEBHOOK_SECRETS=secret, AGENT_LEASE_SECONDS=secret)


@given(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=20) | AWKWARD, max_size=5))
def test_an_environment_is_read_or_refused_and_nothing_else(environment: dict[str, str]) -> None:
    try:
        given = Settings.from_environment(environment)
    except SettingsError as refused:
        assert str(refused)  # noqa: PT017  # both ends are fine
    else:
        assert given.lease_seconds > 0
        assert given.retention_days >= 1


def test_topics_have_the_deployments_prefix_unless_their_whole_path_is_given() -> None:
    given = settings(GCP_PROJECT="p", MESH_NAME_PREFIX="mesh-dev-", RESULTS_TOPIC="projects/q/topics/elsewhere")
    assert given.tasks_topic == "projects/p/topics/mesh-dev-tasks"
    assert given.topic(given.events_topic_id) == "projects/p/topics/mesh-dev-events"
    assert given.results_topic == "projects/q/topics/elsewhere"
