"""The same random programs on the embedded and on the official emulator: same results, same error codes.

Deliberate differences are listed in docs/emulator.md and kept out of the programs.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings

from emulator.firestore import protocol as p
from emulator.firestore.server import FirestoreServer
from tests.conftest import CloudAddresses
from tests.emulator.firestore.programs import PROJECT, Run, Step, programs
from tests.emulator.firestore.raw import RawFirestore

pytestmark = pytest.mark.official
UNHEALTHY = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture)


def cleared(firestore: RawFirestore) -> RawFirestore:
    for collection in ("c", "s", "e"):
        query = p.StructuredQuery()
        query.from_.add(collection_id=collection, all_descendants=True)
        found = firestore.query(query)
        if found:
            firestore.commit(*[p.Write(delete=each.name) for each in found])
    return firestore


@pytest.fixture(scope="module")
def both(official_cloud: CloudAddresses) -> Iterator[tuple[RawFirestore, RawFirestore]]:
    with FirestoreServer() as embedded:
        pair = RawFirestore(official_cloud.firestore, PROJECT), RawFirestore(embedded.address, PROJECT)
        yield pair
        for each in pair:
            each.close()


@settings(max_examples=150, database=None, suppress_health_check=UNHEALTHY)
@given(program=programs)
def test_random_programs_give_the_same_on_both(both: tuple[RawFirestore, RawFirestore], program: list[Step]) -> None:
    official, embedded = (Run(cleared(each)) for each in both)
    for number, step in enumerate(program):
        expected = official.do(step)
        assert embedded.do(step) == expected, f"step {number} of {len(program)}"
