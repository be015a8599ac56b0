"""``google.iam.v1.IAMPolicy`` for topics, subscriptions, snapshots and schemas.

Policies are stored and never enforced: whoever reaches this server may do everything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial
from typing import Final

from google.iam.v1 import iam_policy_pb2, policy_pb2  # type: ignore[import-untyped]

from emulator.pubsub.broker import Broker
from emulator.pubsub.protos import Proto
from emulator.pubsub.service_publisher import Method
from emulator.refusals import invalid, not_found

SERVICE: Final = "google.iam.v1.IAMPolicy"
Policy: Final[Proto] = policy_pb2.Policy
_NO_POLICY: Final = b"ACAB"  # what production answers for a resource that never had one


def methods(broker: Broker) -> Mapping[str, Method]:
    """Request class and handler by method name."""
    return {
        "GetIamPolicy": (iam_policy_pb2.GetIamPolicyRequest, partial(_get, broker)),
        "SetIamPolicy": (iam_policy_pb2.SetIamPolicyRequest, partial(_set, broker)),
        "TestIamPermissions": (iam_policy_pb2.TestIamPermissionsRequest, partial(_test, broker)),
    }


def _get(broker: Broker, request: Proto) -> Proto:
    _check_resource(broker, request.resource)
    return broker.policies.get(request.resource, Policy(etag=_NO_POLICY))


def _set(broker: Broker, request: Proto) -> Proto:
    _check_resource(broker, request.resource)
    policy = Policy()
    policy.CopyFrom(request.policy)
    policy.ClearField("etag")
    policy.version = policy.version or 1
    policy.etag = hashlib.sha256(policy.SerializeToString(deterministic=True)).digest()[:8]
    broker.policies[request.resource] = policy
    return policy


def _test(broker: Broker, request: Proto) -> Proto:
    _check_resource(broker, request.resource)
    for permission in request.permissions:
        if not permission.startswith("pubsub."):
            raise invalid(f"Permission {permission} is not valid for this resource.")
    return iam_policy_pb2.TestIamPermissionsResponse(permissions=request.permissions)


def _check_resource(broker: Broker, resource: str) -> None:
    kept = (broker.topics, broker.subscriptions, broker.snapshots, broker.schemas.kept)
    if not any(resource in one for one in kept):
        raise not_found(f"Resource not found (resource={resource}).")
