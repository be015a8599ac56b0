"""Settings: every environment variable that a function reads, with its meaning, in one place.

`docs/settings.md` and `config.example.env` are generated from these fields. A wrong value stops the start with a
sentence that names the variable.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from agent_mesh.contracts.values import MAX_ATTEMPT, MAX_CENTS

_DAY_S: Final = 86_400
_ORIGIN: Final = re.compile(r"(https?://[A-Za-z0-9.-]+(:\d{1,5})?)?", flags=re.ASCII)
SHORTEST_SESSION_KEY: Final = 32
_LOCAL_KEY: Final = "local-development-only"


class SettingsError(Exception):
    """An environment variable has a value that cannot be used; the text names it."""


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _parsed(value: object) -> object:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except RecursionError as error:
        raise ValueError("is JSON of too many levels") from error


CommaList = Annotated[tuple[str, ...], BeforeValidator(_split)]


class AgentAddress(BaseModel):
    """Where one agent is reached: base URL, audience of its ID tokens, and the most that a run costs, in cents."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, extra="ignore")

    url: str
    audience: str
    max_cost_cents: int | None = Field(default=None, ge=0, alias="maxCostCents")


class WitnessAddress(BaseModel):
    """A witness of the ledger: prefix of its submission URL, and its key as a line `name+id+key` of type 0x04."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(pattern=r"^https?://[^\s?#]+$")
    key: str


def _env(name: str, description: str, default: Any = None, **limits: float) -> Any:  # noqa: ANN401  # pydantic's Field is typed so
    bounds: Any = limits
    return Field(default=default, validation_alias=name, description=description, **bounds)


class Settings(BaseModel):
    """What a function is told by its environment."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, extra="ignore")

    project: str = _env("GCP_PROJECT", "Google Cloud project id.", "")
    database: str = _env("FIRESTORE_DATABASE", "Name of the Firestore database.", "(default)")
    name_prefix: str = _env(
        "MESH_NAME_PREFIX",
        "Begins the names of this deployment's topics and subscriptions, such as `mesh-dev-`.",
        "",
    )
    service: str = _env("K_SERVICE", "Set by Cloud Run: the service's name. Its presence means: deployed.", "")
    tasks_topic_id: str = _env("PUBSUB_TOPIC_ID", "Topic that carries tasks to agents.", "tasks")
    tasks_topic_path: str = _env("PUBSUB_TOPIC", "The same as a full path; wins over the id.", "")
    results_topic_id: str = _env("RESULTS_TOPIC_ID", "Topic that carries results back.", "results")
    results_topic_path: str = _env("RESULTS_TOPIC", "The same as a full path; wins over the id.", "")
    events_topic_id: str = _env("EVENTS_TOPIC_ID", "Topic that carries the mesh's events.", "events")
    relay_topic_id: str = _env(
        "RELAY_TOPIC_ID", "Topic that carries live messages between the relay's instances.", "relay"
    )
    dead_tasks_topic_id: str = _env("DEAD_TASKS_TOPIC_ID", "Topic of tasks that failed for good.", "tasks-dead")

    oidc_issuer: str = _env("OIDC_ISSUER", "Issuer of ID tokens.", "https://accounts.google.com")
    oidc_certs_url: str = _env(
        "OIDC_CERTS_URL", "The issuer's certificates, x509 in JSON.", "https://www.googleapis.com/oauth2/v1/certs"
    )
    oidc_audiences: CommaList = _env(
        "OIDC_AUDIENCE", "Audiences of which callers' tokens must have one: this function's base URIs.", ()
    )
    accept_removed_signature: bool = _env(
        "OIDC_ACCEPT_REMOVED_SIGNATURE",
        "Accept tokens whose signature Cloud Run removed after checking it. Only where `allUsers` may not invoke.",
        default=False,
    )
    push_verify: bool = _env(
        "PUBSUB_VERIFY_OIDC", "Verify pushes of tasks; false only on a developer's machine.", default=True
    )
    push_audience: str = _env("PUBSUB_AUDIENCE", "Audience of pushed tasks; default: OIDC_AUDIENCE.", "")
    results_verify: bool = _env(
        "RESULTS_PUBSUB_VERIFY_OIDC", "Verify pushes of results; false only on a developer's machine.", default=True
    )
    results_audience: str = _env("RESULTS_PUBSUB_AUDIENCE", "Audience of pushed results; default: OIDC_AUDIENCE.", "")

    callers: CommaList = _env("MESH_CALLERS", "E-mails that may dispatch and see their own tasks.", ())
    operators: CommaList = _env("MESH_OPERATORS", "E-mails that may see every task, pause agents and sweep.", ())
    viewers: CommaList = _env(
        "MESH_VIEWERS", "E-mails that may see everything in the dashboard and the ledger, and change nothing.", ()
    )
    runners: CommaList = _env("MESH_RUNNERS", "E-mails that may call an agent's `/run`.", ())
    trusted_runners: CommaList = _env(
        "MESH_TRUSTED_RUNNERS", "Those of them that reserved the budget before calling: the orchestrator.", ()
    )
    task_pushers: CommaList = _env("MESH_TASK_PUSHERS", "Service accounts that push tasks.", ())
    result_pushers: CommaList = _env("MESH_RESULT_PUSHERS", "Service accounts that push results.", ())
    intent_pushers: CommaList = _env("MESH_INTENT_PUSHERS", "Service accounts that push access intents.", ())
    dead_letter_pushers: CommaList = _env("MESH_DEAD_LETTER_PUSHERS", "Service accounts that push dead letters.", ())
    event_pushers: CommaList = _env("MESH_EVENT_PUSHERS", "Service accounts that push the mesh's events.", ())

    relay_allowed_origins: CommaList = _env(
        "RELAY_ALLOWED_ORIGINS", "Origins whose pages may read streams and buy tickets, such as https://ui.example.", ()
    )
    relay_stream_limit: int = _env(
        "RELAY_STREAM_LIMIT",
        "Most open streams of one instance. Each holds a thread: THREADS has to be larger.",
        600,
        ge=1,
        le=10_000,
    )
    relay_catch_up_seconds: float = _env(
        "RELAY_CATCH_UP_SECONDS",
        "How often an instance with streams looks for messages of which nobody told it.",
        60.0,
        gt=0,
        le=_DAY_S,
    )

    agents: Annotated[dict[str, AgentAddress], BeforeValidator(_parsed)] = _env(
        "MESH_AGENTS", "JSON: agent name to {url, audience, maxCostCents}.", {}
    )
    agent_light_url: str = _env("AGENT_LIGHT_URL", "Base URL of agent `light` where MESH_AGENTS does not name it.", "")
    agent_budget_cents: int = _env(
        "AGENT_BUDGET_CENTS",
        "What one agent may spend in a UTC day, in cents, where nothing else is set.",
        1_000_000,
        ge=0,
        le=MAX_CENTS,
    )
    agent_price_cents: int | None = _env(
        "AGENT_COST_PER_RUN_CENTS", "Price of a run of this agent, in cents.", ge=0, le=MAX_CENTS
    )
    lease_seconds: float = _env(
        "AGENT_LEASE_SECONDS",
        "Seconds without a sign of life after which a run counts as crashed.",
        60.0,
        gt=0,
        le=_DAY_S,
    )
    control_staleness_seconds: float = _env(
        "MESH_CONTROL_STALENESS_SECONDS",
        "How old a cached answer to 'is this agent paused?' may be.",
        2.0,
        ge=0,
        allow_inf_nan=False,
    )
    policy_staleness_seconds: float = _env(
        "MESH_POLICY_STALENESS_SECONDS",
        "How old a cached answer to 'which policy is in force?' may be.",
        10.0,
        ge=0,
        allow_inf_nan=False,
    )
    republish_seconds: float = _env(
        "MESH_REPUBLISH_SECONDS",
        "How long an accepted task may go unclaimed before it is published again.",
        60.0,
        gt=0,
        le=_DAY_S,
    )
    max_attempts: int = _env(
        "MESH_MAX_ATTEMPTS", "How often a task whose run crashed is started before it is dead.", 5, ge=1, le=MAX_ATTEMPT
    )
    http_wait_seconds: float = _env(
        "MESH_HTTP_WAIT_SECONDS", "How long an HTTP dispatch waits for its result.", 240.0, gt=0, le=_DAY_S
    )
    retention_days: int = _env(
        "MESH_RETENTION_DAYS", "How long finished tasks and dead letters are kept.", 30, ge=1, le=36_500
    )

    webhook_secrets: CommaList = _env(
        "WEBHOOK_SECRETS", "Secrets (`whsec_...`) that sign callbacks; the first is newest.", ()
    )
    callback_allowed_hosts: CommaList = _env(
        "CALLBACK_ALLOWED_HOSTS",
        "Hosts that callbacks may reach without HTTPS or a public address. Development only.",
        (),
    )

    dashboard_url: str = _env(
        "DASHBOARD_URL",
        "The dashboard's one origin, such as `https://dashboard.example.com`; default: the first of OIDC_AUDIENCE.",
        "",
    )
    sign_in_url: str = _env(
        "SIGN_IN_URL",
        "Where browsers sign in: the issuer's authorization endpoint.",
        "https://accounts.google.com/o/oauth2/v2/auth",
    )
    sign_in_token_url: str = _env(
        "SIGN_IN_TOKEN_URL", "Where codes become ID tokens.", "https://oauth2.googleapis.com/token"
    )
    sign_in_client_id: str = _env("SIGN_IN_CLIENT_ID", "The dashboard's OAuth client at the issuer.", "")
    sign_in_client_secret: str = _env("SIGN_IN_CLIENT_SECRET", "The secret of that client.", "")
    session_keys: CommaList = _env(
        "SESSION_KEYS",
        "Secrets that sign the dashboard's sessions, of at least 32 characters; the first is newest, all are accepted.",
        (),
    )
    session_seconds: float = _env("SESSION_SECONDS", "How long somebody stays signed in.", 28_800.0, ge=1, le=28_800)
    ledger_origin: str = _env(
        "LEDGER_ORIGIN", "Name of the ledger, a URL without its scheme; never another for the same ledger.", ""
    )
    ledger_kms_key: str = _env(
        "LEDGER_KMS_KEY",
        "Version of the Ed25519 key in Cloud KMS that signs checkpoints: `projects/.../cryptoKeyVersions/1`.",
        "",
    )
    ledger_key_file: str = _env(
        "LEDGER_KEY_FILE", "File of the key that signs checkpoints where LEDGER_KMS_KEY is empty; made if missing.", ""
    )
    ledger_local_key_allowed: bool = _env(
        "LEDGER_LOCAL_KEY_ALLOWED",
        "Let a deployed function sign with LEDGER_KEY_FILE. Whoever reads that file can sign in the ledger's name.",
        default=False,
    )
    ledger_witnesses: Annotated[tuple[WitnessAddress, ...], BeforeValidator(_parsed)] = _env(
        "LEDGER_WITNESSES", "JSON: list of {url, key} of C2SP witnesses that are asked to cosign checkpoints.", ()
    )
    ledger_quorum: int = _env(
        "LEDGER_QUORUM", "How many witnesses make a checkpoint count as witnessed; 0: all of them.", 0, ge=0, le=100
    )
    azure_ledger_url: str = _env(
        "AZURE_LEDGER_URL",
        "Azure Confidential Ledger that gets every witnessed checkpoint, `https://NAME.confidential-ledger.azure.com`.",
        "",
    )
    azure_ledger_identity_url: str = _env(
        "AZURE_LEDGER_IDENTITY_URL",
        "Where the ledger's TLS certificate is asked for.",
        "https://identity.confidential-ledger.core.azure.com",
    )
    azure_ledger_collection: str = _env(
        "AZURE_LEDGER_COLLECTION", "Collection of that ledger that the checkpoints go to.", "agent-mesh"
    )
    azure_tenant_id: str = _env(
        "AZURE_TENANT_ID", "Entra tenant of AZURE_CLIENT_ID; empty: azure-identity's own way to credentials.", ""
    )
    azure_client_id: str = _env(
        "AZURE_CLIENT_ID", "Entra application that trusts this function's Google account (federated credential).", ""
    )
    ledger_commit_seconds: float = _env(
        "LEDGER_COMMIT_SECONDS",
        "How far apart two commits of the ledger begin, for each instance; entries wait for theirs.",
        1.0,
        ge=0,
        le=10,
        allow_inf_nan=False,
    )

    @model_validator(mode="after")
    def _key_stays_in_cloud_kms(self) -> Self:
        if self.service and self.ledger_key_file and not (self.ledger_kms_key or self.ledger_local_key_allowed):
            message = "LEDGER_KEY_FILE is for a developer's machine: set LEDGER_KMS_KEY, or LEDGER_LOCAL_KEY_ALLOWED"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _quorum_can_be_reached(self) -> Self:
        if self.ledger_quorum > len(self.ledger_witnesses):
            message = f"LEDGER_QUORUM is {self.ledger_quorum} of {len(self.ledger_witnesses)} LEDGER_WITNESSES"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _verification_stays_on(self) -> Self:
        if self.service and not (self.push_verify and self.results_verify):
            message = "PUBSUB_VERIFY_OIDC and RESULTS_PUBSUB_VERIFY_OIDC may be false on a developer's machine only"
            raise ValueError(message)
        if self.service and self.callback_allowed_hosts:
            message = "CALLBACK_ALLOWED_HOSTS is for development only and must be empty when deployed"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _sessions_are_safe(self) -> Self:
        if any(len(key) < SHORTEST_SESSION_KEY for key in self.session_keys):
            message = f"SESSION_KEYS has a key of fewer than {SHORTEST_SESSION_KEY} characters"
            raise ValueError(message)
        if self.service and any(key.startswith(_LOCAL_KEY) for key in self.session_keys):
            message = "SESSION_KEYS has the local stack's key, which everybody knows"
            raise ValueError(message)
        if not _ORIGIN.fullmatch(self.dashboard_url):
            message = "DASHBOARD_URL has to be an origin, such as https://dashboard.example.com, without a path"
            raise ValueError(message)
        if self.service and self.dashboard_url.startswith("http:"):
            message = "DASHBOARD_URL has to be https when deployed"
            raise ValueError(message)
        return self

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read the environment; raise `SettingsError` naming the variable that cannot be used."""
        values = dict(os.environ if environ is None else environ)
        values["GCP_PROJECT"] = values.get("GCP_PROJECT") or values.get("GOOGLE_CLOUD_PROJECT", "")
        known = {str(field.validation_alias) for field in cls.model_fields.values()}
        try:
            return cls.model_validate({name: value for name, value in values.items() if name in known and value != ""})
        except (ValidationError, ValueError) as error:
            raise SettingsError(_sentence(error)) from error

    def topic(self, topic_id: str, path: str = "") -> str:
        """Return the full path of a topic, whose id is without the deployment's prefix."""
        return path or f"projects/{self.project}/topics/{self.name_prefix}{topic_id}"

    @property
    def tasks_topic(self) -> str:
        """Full path of the topic that carries tasks."""
        return self.topic(self.tasks_topic_id, self.tasks_topic_path)

    @property
    def results_topic(self) -> str:
        """Full path of the topic that carries results."""
        return self.topic(self.results_topic_id, self.results_topic_path)

    @property
    def relay_topic(self) -> str:
        """Full path of the topic that carries live messages between instances of the relay."""
        return self.topic(self.relay_topic_id)

    def agent(self, name: str) -> AgentAddress | None:
        """Return where agent `name` is reached, None if nobody knows it."""
        if name == "light" and "light" not in self.agents and self.agent_light_url:
            return AgentAddress(url=self.agent_light_url, audience=self.agent_light_url)
        return self.agents.get(name)


def _sentence(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'settings'}: {fault['msg']}" for fault in error.errors()
        )
    return str(error)
