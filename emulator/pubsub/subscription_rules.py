"""What a subscription's settings may be and what they are when left out.

Source: https://cloud.google.com/pubsub/docs/subscription-properties and the reference of the resource.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from grpc import StatusCode

from emulator.delivery.filters import parse_filter
from emulator.errors import FilterError
from emulator.pubsub import names
from emulator.pubsub.protos import ACTIVE, Proto, Subscription, seconds
from emulator.pubsub.settings import DAY, apply_mask, check_labels, check_retention, whole
from emulator.refusals import Refusal, invalid

DEFAULT_DEADLINE: Final = 10
MOST_DEADLINE: Final = 600
_DEFAULT_RETENTION: Final = 7 * DAY
_DEFAULT_TTL: Final = 31 * DAY
_FEWEST_ATTEMPTS: Final = 5
_MOST_ATTEMPTS: Final = 100
_DEFAULT_BACKOFF: Final = (10, 600)
_MOST_BACKOFF: Final = 600
_FROZEN: Final = frozenset(
    {
        "name",
        "topic",
        "enable_message_ordering",
        "filter",
        "detached",
        "topic_message_retention_duration",
        "state",
        "analytics_hub_subscription_info",
        "tags",
    }
)
_FOREIGN_SINKS: Final = ("bigquery_config", "cloud_storage_config", "bigtable_config")


def completed(given: Proto) -> Proto:
    """A copy of a new subscription's settings with the defaults. Raises Refusal for what is not allowed."""
    config = Subscription()
    config.CopyFrom(given)
    for output_only in ("detached", "state", "topic_message_retention_duration", "analytics_hub_subscription_info"):
        config.ClearField(output_only)
    config.state = ACTIVE
    _check_filter(config.filter)
    return _checked(config)


def updated(kept: Proto, given: Proto, mask: Proto) -> Proto:
    """A copy of a subscription's settings with those of the mask. Raises Refusal for what is not allowed."""
    return _checked(apply_mask(kept, given, mask, _FROZEN, "push_config"))


def check_push(push: Proto) -> None:
    """Raise Refusal unless messages can be pushed there. Unlike production, http is fine: it is this machine."""
    if not push.push_endpoint:
        return
    parts = urlsplit(push.push_endpoint)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise invalid("Unsupported push_endpoint")
    if push.HasField("oidc_token") and not push.oidc_token.service_account_email:
        raise invalid("The service_account_email of the oidc_token must be set")


def _checked(config: Proto) -> Proto:
    check_labels(config.labels)
    _complete_durations(config)
    if config.HasField("dead_letter_policy"):
        _check_dead_letter(config.dead_letter_policy)
    if config.HasField("retry_policy"):
        _check_retry(config.retry_policy)
    for sink in _FOREIGN_SINKS:
        if config.HasField(sink):
            raise Refusal(StatusCode.UNIMPLEMENTED, f"{sink} needs another Google service: use pull or push here")
    config.push_config.SetInParent()
    check_push(config.push_config)
    if config.enable_exactly_once_delivery and config.push_config.push_endpoint:
        raise invalid("Exactly-once delivery is only for pull subscriptions")
    return config


def _complete_durations(config: Proto) -> None:
    config.ack_deadline_seconds = config.ack_deadline_seconds or DEFAULT_DEADLINE
    if not DEFAULT_DEADLINE <= config.ack_deadline_seconds <= MOST_DEADLINE:
        raise invalid("ack_deadline_secs out of bounds")
    if not config.HasField("message_retention_duration"):
        config.message_retention_duration.CopyFrom(whole(_DEFAULT_RETENTION))
    check_retention(config.message_retention_duration)
    if not config.HasField("expiration_policy"):
        config.expiration_policy.ttl.CopyFrom(whole(_DEFAULT_TTL))
    elif config.expiration_policy.HasField("ttl") and seconds(config.expiration_policy.ttl) < DAY:
        raise invalid("The expiration policy's ttl must be at least one day")


def _check_filter(text: str) -> None:
    try:
        parse_filter(text)
    except FilterError as error:
        raise invalid(f"Invalid filter: {error}") from error


def _check_dead_letter(policy: Proto) -> None:
    names.check_name(names.TOPICS, policy.dead_letter_topic)
    policy.max_delivery_attempts = policy.max_delivery_attempts or _FEWEST_ATTEMPTS
    attempts = policy.max_delivery_attempts
    if _FEWEST_ATTEMPTS <= attempts <= _MOST_ATTEMPTS:
        return
    bound, limit = ("small", "minimum value is 5") if attempts < _FEWEST_ATTEMPTS else ("large", "maximum value is 100")
    text = f"The value for max_delivery_attempts is too {bound}. You passed {attempts} in the request, but the {limit}."
    raise Refusal(StatusCode.OUT_OF_RANGE, text)


def _check_retry(policy: Proto) -> None:
    for name, default in zip(("minimum_backoff", "maximum_backoff"), _DEFAULT_BACKOFF, strict=True):
        backoff = getattr(policy, name)
        if not policy.HasField(name):
            backoff.CopyFrom(whole(default))
        length = seconds(backoff)
        if not 0 <= length <= _MOST_BACKOFF:
            bounds = f"You passed {length:g}s in the request, but the value must be between 0s and {_MOST_BACKOFF}s."
            raise invalid(f"The value for {name} is out of bounds. {bounds}")
    least, most = seconds(policy.minimum_backoff), seconds(policy.maximum_backoff)
    if most < least:
        small = f"You passed {most:g}s in the request, but the minimum value is {least:g}s."
        raise invalid(f"The value for maximum_backoff is too small. {small}")
