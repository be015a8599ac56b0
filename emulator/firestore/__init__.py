"""An embedded Firestore: ``google.firestore.v1`` over gRPC, in this process or in one of its own.

Rooms, from the wire inwards: ``server`` and ``service`` speak gRPC; ``query``, ``aggregation``, ``partition``,
``vectors`` and ``listen`` read; ``writes`` and ``transactions`` write; ``documents`` keeps every version; ``values``
and ``names`` know the types and the resource names. It imports nothing of agent_mesh.
"""
