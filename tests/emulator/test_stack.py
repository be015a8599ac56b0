from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
from google.auth import jwt

from emulator.__main__ import main
from emulator.clouds import usual_cloud
from emulator.errors import AlreadyRunningError, EmulatorError, StartError
from emulator.provision import LEASE_SECONDS
from emulator.stack import LocalStack, StackOptions

pytestmark = pytest.mark.stack
PAST_A_LEASE = LEASE_SECONDS + 10
"""Seconds after which a message is free again that the last pull of a killed bridge has taken."""

only_official = pytest.mark.skipif(usual_cloud() != "official", reason="only the official cloud has a bridge")
ROOT = Path(__file__).parents[2]

Publish = Callable[..., None]
Seen = Callable[[str, str], list[dict[str, Any]]]
Eventually = Callable[..., Any]
Fetch = Callable[[str], Any]


def decode(token: str, **checks: Any) -> Any:
    return jwt.decode(token, **checks)  # type: ignore[no-untyped-call]


def processes_in(folder: Path) -> list[int]:
    """Every live process whose command line or environment names the folder."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            text = (place / "cmdline").read_bytes() + (place / "environ").read_bytes()
            state = (place / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if str(folder).encode() in text and state != "Z" and int(place.name) != os.getpid():
            found.append(int(place.name))
    return found


def test_a_message_arrives_with_a_token_that_verifies(
    stack: LocalStack, publish: Publish, seen: Seen, eventually: Eventually, fetch: Fetch
) -> None:
    publish("work", "hello", agent="alpha")
    (one,) = eventually(lambda: seen("alpha", "hello"))
    claims = decode(
        one["authorization"].removeprefix("Bearer "), certs=fetch(stack.issuer.certs_url), audience=stack.url("alpha")
    )
    assert claims["email"] == "push-work-alpha@mesh-local.iam.gserviceaccount.com"
    assert claims["iss"] == stack.issuer.url
    assert one["body"]["subscription"] == "projects/mesh-local/subscriptions/work-alpha"
    assert one["body"]["deliveryAttempt"] == 1
    assert one["body"]["message"]["attributes"] == {"agent": "alpha"}


def test_a_filter_keeps_other_messages_away(publish: Publish, seen: Seen, eventually: Eventually) -> None:
    publish("work", "for nobody", agent="gamma")
    publish("work", "for beta", agent="beta")
    publish("work", "for alpha", agent="alpha")
    (one,) = eventually(lambda: seen("beta_two", "for beta"))
    assert "deliveryAttempt" not in one["body"]
    eventually(lambda: seen("alpha", "for alpha"))
    assert not seen("alpha", "for nobody")
    assert not seen("beta_two", "for nobody")
    assert not seen("alpha", "for beta")


def test_a_refused_message_comes_again_with_backoff(publish: Publish, seen: Seen, eventually: Eventually) -> None:
    publish("work", "fail:3", agent="alpha")
    tries = eventually(lambda: len(found := seen("alpha", "fail:3")) == 4 and found)
    assert [one["body"]["deliveryAttempt"] for one in tries] == [1, 2, 3, 4]
    waits = [after["at"] - before["at"] for before, after in itertools.pairwise(tries)]
    for wait, least in zip(waits, (0.05, 0.1, 0.2), strict=True):
        assert least <= wait < least + 0.5


def test_after_exactly_five_attempts_it_is_a_dead_letter(publish: Publish, seen: Seen, eventually: Eventually) -> None:
    publish("work", "fail:99", agent="alpha", origin="test")
    (dead,) = eventually(lambda: seen("beta_two", "fail:99"))
    time.sleep(0.4)
    assert len(seen("alpha", "fail:99")) == 5
    attributes = dead["body"]["message"]["attributes"]
    assert attributes.pop("CloudPubSubDeadLetterSourceTopicPublishTime").endswith("Z")
    assert attributes == {
        "agent": "alpha",
        "origin": "test",
        "CloudPubSubDeadLetterSourceDeliveryCount": "5",
        "CloudPubSubDeadLetterSourceSubscription": "work-alpha",
        "CloudPubSubDeadLetterSourceSubscriptionProject": "mesh-local",
    }


def test_messages_of_one_key_arrive_in_order_behind_a_failing_one(
    stack: LocalStack, publish: Publish, eventually: Eventually, fetch: Fetch
) -> None:
    publish("ordered", "fail:2", "key")
    for number in range(5):
        publish("ordered", f"next {number}", "key")
    sent = ["fail:2"] * 3 + [f"next {number}" for number in range(5)]

    def texts() -> list[str]:
        return [one["text"] for one in fetch(stack.url("alpha") + "/seen") if one["path"] == "/ordered"]

    eventually(lambda: texts() == sent)


def test_messages_wait_for_a_function_that_was_killed(
    stack: LocalStack, publish: Publish, seen: Seen, eventually: Eventually
) -> None:
    stack.kill("beta_two")
    publish("work", "patience", agent="beta")
    time.sleep(0.5)
    assert "beta_two" not in stack.pids()
    stack.start("beta_two")
    (one,) = eventually(lambda: seen("beta_two", "patience"))
    assert one["path"] == "/push"


def test_held_messages_wait_and_are_counted(
    stack: LocalStack, publish: Publish, seen: Seen, eventually: Eventually
) -> None:
    stack.hold_deliveries()
    publish("work", "held", agent="alpha")
    time.sleep(0.5)
    assert not seen("alpha", "held")
    stack.release_deliveries()
    (one,) = eventually(lambda: seen("alpha", "held"))
    assert one["body"]["deliveryAttempt"] == 1
    assert set(stack.deliveries()) == set(stack.document()["subscriptions"])  # type: ignore[call-overload]
    eventually(lambda: stack.deliveries()["work-alpha"]["leased"] == 0)
    assert stack.deliveries()["work-alpha"]["acked"] >= 1


@only_official
def test_messages_survive_the_death_of_the_bridge(
    stack: LocalStack, publish: Publish, seen: Seen, eventually: Eventually
) -> None:
    stack.kill("bridge")
    for number in range(20):
        publish("work", f"kept {number}", agent="alpha")
    stack.start("bridge")
    for number in range(20):
        eventually(lambda number=number: seen("alpha", f"kept {number}"), PAST_A_LEASE)
    stack.restart("bridge")
    publish("work", "after", agent="alpha")
    eventually(lambda: seen("alpha", "after"), PAST_A_LEASE)


@only_official
def test_a_bridge_that_stops_gives_back_what_it_could_not_deliver(
    stack: LocalStack, publish: Publish, seen: Seen, eventually: Eventually
) -> None:
    stack.kill("beta_two")
    publish("work", "handed over", agent="beta")
    time.sleep(0.3)
    stack.restart("bridge")
    stack.start("beta_two")
    eventually(lambda: seen("beta_two", "handed over"), 8)


@only_official
def test_the_counts_of_a_dead_bridge_are_an_error(stack: LocalStack) -> None:
    stack.kill("bridge")
    with pytest.raises(EmulatorError, match=r"the bridge at .* does not answer"):
        stack.deliveries()
    stack.start("bridge")
    assert "work-alpha" in stack.deliveries()


@only_official
def test_stack_json_leads_to_the_counts_of_the_bridge(stack: LocalStack, fetch: Fetch) -> None:
    bridge: Any = stack.document()["bridge"]
    assert fetch(bridge["stats"]).keys() == stack.deliveries().keys()


def test_schedules_call_with_their_own_token(stack: LocalStack, eventually: Eventually, fetch: Fetch) -> None:
    def tick() -> list[dict[str, Any]]:
        return [one for one in fetch(stack.url("alpha") + "/seen") if one["path"] == "/tick"]

    token = eventually(tick)[0]["authorization"].removeprefix("Bearer ")
    assert decode(token, verify=False)["email"] == "schedule-tick@mesh-local.iam.gserviceaccount.com"


def test_a_function_mints_as_itself(stack: LocalStack, fetch: Fetch) -> None:
    token = fetch(stack.url("beta_two") + "/whoami?audience=http://elsewhere")["token"]
    claims = decode(token, certs=fetch(stack.issuer.certs_url), audience="http://elsewhere")
    assert claims["email"] == "beta-two@mesh-local.iam.gserviceaccount.com"


def test_a_function_gets_its_whole_environment(stack: LocalStack, fetch: Fetch) -> None:
    given = fetch(stack.url("alpha") + "/environment")
    assert given["GCP_PROJECT"] == given["GOOGLE_CLOUD_PROJECT"] == "mesh-local"
    assert given["FIRESTORE_EMULATOR_HOST"] == stack.firestore
    assert given["PUBSUB_EMULATOR_HOST"] == stack.pubsub
    assert given["OIDC_ISSUER"] == stack.issuer.url
    assert given["OIDC_CERTS_URL"] == stack.issuer.certs_url
    assert given["OIDC_AUDIENCE"] == stack.url("alpha")
    assert given["THREADS"] == "32"
    assert (given["COLOUR"], given["LOCAL"], given["EXTRA"]) == ("red", "yes", "given")
    assert given["KEY_FILE"] == str(stack.logs.parent / "unkept" / "key"), (
        "{state} is a folder that lives as long as the documents"
    )
    assert given["PUSHERS"].startswith("push-work-alpha@")
    assert json.loads(given["MESH_AGENTS"])["second"] == {
        "url": stack.url("beta_two"),
        "audience": stack.url("beta_two"),
        "maxCostCents": 2,
    }
    assert not {"NO_GCE_CHECK", "K_SERVICE", "GOOGLE_APPLICATION_CREDENTIALS"} & set(given)
    assert "EXTRA" not in fetch(stack.url("beta_two") + "/environment")


def test_a_function_that_dies_comes_back_at_its_address(
    stack: LocalStack, eventually: Eventually, fetch: Fetch
) -> None:
    before = stack.pids()["beta_two"]
    os.killpg(before, signal.SIGKILL)
    eventually(lambda: stack.pids().get("beta_two", before) != before)
    stack.start("beta_two")
    assert fetch(stack.url("beta_two") + "/seen") is not None


def test_stack_json_describes_what_runs(stack: LocalStack) -> None:
    document = json.loads((stack.logs.parent / "stack.json").read_text())
    assert document == stack.document()
    assert document["version"] == 1
    assert document["pid"] == os.getpid()
    assert document["functions"]["alpha"]["docs"] == stack.url("alpha") + "/docs"
    assert document["subscriptions"]["ordered"] == {
        "topic": "projects/mesh-local/topics/ordered",
        "serviceAccount": "push-ordered@mesh-local.iam.gserviceaccount.com",
        "endpoint": stack.url("alpha") + "/ordered",
        "audience": stack.url("alpha"),
    }
    assert Path(document["functions"]["alpha"]["log"]).exists()


def test_the_console_shows_the_stack(stack: LocalStack, fetch: Fetch) -> None:
    assert stack.document()["console"] == {"url": stack.console_url}
    told = fetch(stack.console_url + "/_local/stack")
    assert told["logs"] == str(stack.logs)
    assert [each["docs"] for each in told["functions"]] == [one.docs for one in stack.functions.values()]
    topics = {topic["id"]: topic["subscriptions"] for topic in fetch(stack.console_url + "/_local/topics")["topics"]}
    alpha, beta = topics["work"]
    assert alpha["filter"] == 'attributes.agent = "alpha"'
    assert beta["pushEndpoint"] == stack.url("beta_two") + "/push"
    assert alpha["deliveries"]["pushed"] >= 0
    assert told["counts"] is bool(told["controls"]) is (told["cloud"] == "embedded")


def test_a_client_can_act_as_the_developer(stack: LocalStack, fetch: Fetch) -> None:
    claims = decode(stack.token("http://a"), certs=fetch(stack.issuer.certs_url), audience="http://a")
    assert claims["email"] == stack.developer == "developer@mesh-local.iam.gserviceaccount.com"
    assert stack.environment()["PUBSUB_EMULATOR_HOST"] == stack.pubsub


def test_a_second_stack_in_the_same_directory_is_refused(stack: LocalStack, roles_file: Path) -> None:
    options = StackOptions(state_dir=stack.logs.parent, roles_file=roles_file, root=roles_file.parent)
    with pytest.raises(AlreadyRunningError, match=f"pid {os.getpid()} already runs"), LocalStack(options):
        pass
    assert (stack.logs.parent / "stack.json").exists()


def test_a_broken_function_fails_the_start_and_leaves_nothing(copied_root: Path, tmp_path: Path) -> None:
    (copied_root / "fixture_function" / "main.py").write_text("raise RuntimeError('boom')")
    state = tmp_path / "mesh"
    options = StackOptions(state_dir=state, roles_file=copied_root / "roles.json", root=copied_root, only=("alpha",))
    with pytest.raises(StartError, match=r"(?s)alpha ended with code 1 .*boom"), LocalStack(options):
        pass
    assert processes_in(tmp_path) == []
    assert not (state / "stack.json").exists()


def test_an_unknown_cloud_is_refused(roles_file: Path, tmp_path: Path) -> None:
    options = StackOptions(state_dir=tmp_path, roles_file=roles_file, root=roles_file.parent, cloud="moon")
    with (
        pytest.raises(EmulatorError, match="there is no cloud 'moon'; there is embedded, official"),
        LocalStack(options),
    ):
        pass


def test_changed_code_is_reloaded_at_the_same_address(
    copied_root: Path, tmp_path: Path, eventually: Eventually, fetch: Fetch
) -> None:
    options = StackOptions(
        state_dir=tmp_path / "mesh",
        roles_file=copied_root / "roles.json",
        root=copied_root,
        only=("beta_two",),
        watch=True,
    )
    main_py = copied_root / "fixture_function" / "main.py"

    def new_code_answers(stack: LocalStack) -> bool:
        try:
            return bool(fetch(stack.url("beta_two") + "/seen") == ["new"])
        except OSError:
            return False

    with LocalStack(options) as stack:
        assert set(stack.functions) == {"beta_two"}
        code = main_py.read_text()
        main_py.write_text("this is no Python")
        eventually(lambda: "code.broken" in (stack.logs / "stack.log").read_text(), 15)
        main_py.write_text(code.replace("flask.jsonify(_seen)", 'flask.jsonify(["new"])'))
        eventually(lambda: new_code_answers(stack), 15)
    assert processes_in(tmp_path) == []


@pytest.fixture
def up(copied_root: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    roles = json.loads((copied_root / "roles.json").read_text())
    for role in roles["roles"].values():
        role["source"] = str(copied_root / role["source"])
    (copied_root / "roles.json").write_text(json.dumps(roles))
    arguments = ["up", "--state-dir", str(tmp_path / "mesh"), "--roles", str(copied_root / "roles.json")]
    with subprocess.Popen(
        [sys.executable, "-m", "emulator", *arguments, "--only", "alpha"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_up_leaves_no_process_behind(
    up: subprocess.Popen[str],
    tmp_path: Path,
    eventually: Eventually,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
) -> None:
    state = tmp_path / "mesh"
    eventually((state / "stack.json").exists, 40)
    assert len(processes_in(tmp_path)) >= 4
    roles = str(tmp_path / "root" / "roles.json")
    assert main(["up", "--state-dir", str(state), "--roles", roles]) == 1
    assert f"error: a stack with pid {up.pid} already runs" in capsys.readouterr().err
    assert up.stdout
    shown = "".join(takewhile(lambda line: "Ctrl-C" not in line, iter(up.stdout.readline, "")))
    up.send_signal(number)
    code = up.wait(20)
    eventually(lambda: processes_in(tmp_path) == [])
    if number is signal.SIGKILL:
        return
    assert code == 0
    assert not (state / "stack.json").exists()
    assert "is ready in" in shown
    assert "/docs" in shown
