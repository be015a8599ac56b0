"""What labels, durations, field masks and pages may be: shared by topics, subscriptions and snapshots."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from emulator.pubsub.protos import Duration, Proto, seconds
from emulator.refusals import invalid

MINUTE: Final = 60
DAY: Final = 86400
LEAST_RETENTION: Final = 10 * MINUTE
MOST_RETENTION: Final = 31 * DAY
_MOST_LABELS: Final = 64
_LABEL_KEY: Final = re.compile(r"[^\W\d_][\w-]{0,62}")
_LABEL_VALUE: Final = re.compile(r"[\w-]{0,63}")
_MOST_PER_PAGE: Final = 1000
_DEFAULT_PER_PAGE: Final = 100


def check_labels(labels: Mapping[str, str]) -> None:
    """Raise Refusal unless these follow https://cloud.google.com/pubsub/docs/create-topic-labels#requirements."""
    if len(labels) > _MOST_LABELS:
        raise invalid(f"A resource has at most {_MOST_LABELS} labels, not {len(labels)}")
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key) or key.lower() != key:
            raise invalid(f"Invalid label key: {key}")
        if not _LABEL_VALUE.fullmatch(value) or value.lower() != value:
            raise invalid(f"Invalid label value: {value}")


def check_retention(duration: Proto) -> None:
    """Raise Refusal unless messages may be kept so long."""
    if not LEAST_RETENTION <= seconds(duration) <= MOST_RETENTION:
        raise invalid("message_retention_duration out of bounds")


def whole(length: int) -> Proto:
    """So many seconds."""
    return Duration(seconds=length)


def apply_mask(kept: Proto, given: Proto, mask: Proto, frozen: Iterable[str], example: str) -> Proto:
    """A copy of ``kept`` with the fields of the mask as ``given``; raises Refusal for other fields."""
    kind = kept.DESCRIPTOR.name
    request = f"Update{kind}Request"
    if not mask.paths:
        raise invalid(f"The update_mask in the {request} must be set, and must contain a non-empty paths list.")
    known = kept.DESCRIPTOR.fields_by_name
    fresh = type(kept)()
    fresh.CopyFrom(kept)
    for path in mask.paths:
        wrong = f"Invalid update_mask provided in the {request}:"
        if path not in known:
            note = f"Note that field paths must be of the form '{example}' rather than '{_camel(example)}'."
            raise invalid(f"{wrong} {path} is not a known {kind} field. {note}")
        if path in frozen:
            raise invalid(f"{wrong} the {path} field in the {kind} is not mutable.")
        _copy_field(fresh, given, known[path])
    return fresh


def page(wanted: Sequence[str], size: int, token: str) -> tuple[Sequence[str], str]:
    """One page of sorted names, and the token of the next."""
    if size < 0:
        raise invalid("Page size must not be negative")
    size = min(size or _DEFAULT_PER_PAGE, _MOST_PER_PAGE)
    after = _read_token(token)
    left = [name for name in wanted if name > after]
    more = len(left) > size
    return left[:size], _token(left[size - 1]) if more else ""


def _copy_field(target: Proto, source: Proto, field: Proto) -> None:
    target.ClearField(field.name)
    if field.message_type is not None or field.is_repeated:
        part = type(source)()
        part.CopyFrom(source)
        for other in part.DESCRIPTOR.fields:
            if other.name != field.name:
                part.ClearField(other.name)
        target.MergeFrom(part)
    else:
        setattr(target, field.name, getattr(source, field.name))


def _camel(field: str) -> str:
    first, *rest = field.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _token(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def _read_token(token: str) -> str:
    try:
        return base64.b64decode(token.encode(), b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError) as error:
        raise invalid(f"Invalid page token: {token}") from error
