"""What Terraform deploys is what `-s package` proves to boot, and its table is the local stack's."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from agent_mesh.budgets.store import ALERT_PERCENT
from agent_mesh.platform.settings import Settings
from emulator.topology import load_topology
from infra.packaging import Role, contents, roles

ROOT = Path(__file__).parents[3]
TERRAFORM = ROOT / "infra" / "terraform"
TABLE = json.loads((ROOT / "infra" / "roles.json").read_text())
ROLES = roles(ROOT)


def evaluated(folder: Path, source: str) -> set[str]:
    """Let Terraform list a role's files, from the module's own expression and without any provider."""
    (folder / "source.tf").write_text((TERRAFORM / "modules" / "function" / "source.tf").read_text())
    (folder / "variables.tf").write_text(
        'variable "source_root" {}\nvariable "spec" {}\noutput "files" {\n  value = keys(local.files)\n}\n'
    )
    values = {"source_root": str(ROOT), "spec": {"source": source}}
    (folder / "terraform.tfvars.json").write_text(json.dumps(values))
    for command in (["init", "-input=false"], ["apply", "-auto-approve", "-input=false"]):
        subprocess.run(["terraform", *command], cwd=folder, check=True, capture_output=True, timeout=120)
    shown = subprocess.run(
        ["terraform", "output", "-json", "files"], cwd=folder, check=True, capture_output=True, timeout=60
    )
    return set(json.loads(shown.stdout))


@pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not installed")
@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_terraform_puts_the_same_files_into_a_zip_as_the_package_session(role: Role, tmp_path: Path) -> None:
    assert evaluated(tmp_path, role.source) == set(contents(ROOT, role))


def test_every_variable_that_terraform_sets_is_read_by_the_functions() -> None:
    known = {str(field.validation_alias) for field in Settings.model_fields.values()}
    text = (TERRAFORM / "functions.tf").read_text()
    named = {line.split("=")[0].strip() for line in text.splitlines() if "=" in line and line.strip()[:1].isupper()}
    assert named >= {"GCP_PROJECT", "FIRESTORE_DATABASE", "MESH_NAME_PREFIX", "OIDC_AUDIENCE"}
    for role in TABLE["roles"].values():
        named |= {*role["allow"], *role["environment"], *role.get("secrets", {}), *role.get("keys", {})}
    assert named <= known


def test_whatever_a_role_publishes_to_and_reads_is_in_the_table() -> None:
    for role in TABLE["roles"].values():
        assert set(role["publishes"]) <= set(TABLE["topics"])
        assert set(role.get("secrets", {}).values()) <= set(TABLE["secrets"])
        assert set(role.get("keys", {}).values()) <= set(TABLE["keys"])


def test_no_message_of_the_mesh_can_be_lost() -> None:
    parked = {each["topic"] for each in TABLE["parked"].values()}
    for name, subscription in TABLE["subscriptions"].items():
        dead = subscription["deadLetter"]["topic"]
        assert dead != subscription["topic"], name
        assert dead in parked | {each["topic"] for each in TABLE["subscriptions"].values()}, name


def test_a_push_may_take_as_long_as_its_role() -> None:
    topology = load_topology(ROOT / "infra" / "roles.json")
    for name, subscription in topology.subscriptions.items():
        assert subscription.ack_deadline_seconds >= topology.roles[subscription.push.role].timeout_seconds, name


def test_the_alert_on_budgets_knows_the_percentages_that_are_told() -> None:
    alerts = (TERRAFORM / "alerts.tf").read_text()
    assert 'percent != \\"50\\"' in alerts
    assert ALERT_PERCENT == (50, 80, 100)
