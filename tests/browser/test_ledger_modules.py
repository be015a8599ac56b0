"""The page's own verification of the ledger: the published vectors, and what the mesh's ledger itself makes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from agent_mesh.ledger import KeyKind, LocalSigner, cosign_note, verifier_key
from tests.browser.small_ledger import SmallLedger

VECTORS: Final = Path(__file__).parents[1] / "data" / "ledger-vectors"
Run = Callable[[str, Any], Any]
_REFUSAL: Final = "(error) => { if (error.name !== 'Refused') throw error; return error.code; }"


def grown(entries: int) -> SmallLedger:
    ledger = SmallLedger()
    for number in range(entries):
        ledger.append(f"tx-{number}", "test.happened", "developer@example.com", "2026-11-20T10:00:00Z", {"n": number})
    return ledger


def test_every_published_proof_is_accepted_or_refused(modules: Run) -> None:
    paths = sorted((VECTORS / "merkle" / "inclusion").rglob("*.json"))
    paths += sorted((VECTORS / "merkle" / "consistency").rglob("*.json"))
    cases = [json.loads(path.read_text()) for path in paths]
    assert len(cases) > 150
    verdicts = modules(
        f"""
        const {{ fromBase64 }} = await load("bytes");
        const {{ checkInclusion, checkConsistency }} = await load("merkle");
        const value = (text) => fromBase64(text ?? "");
        const check = async (each) => {{
            const proof = (each.proof ?? []).map(value);
            const {{ leafHash, leafIdx, treeSize, root, size1, size2, root1, root2 }} = each;
            if ("leafIdx" in each) await checkInclusion(value(leafHash), leafIdx, treeSize, proof, value(root));
            else await checkConsistency(size1, size2, proof, value(root1), value(root2));
            return "";
        }};
        return Promise.all(arg.map((each) => check(each).catch({_REFUSAL})));
        """,
        cases,
    )
    wrong = [
        path.name
        for path, case, verdict in zip(paths, cases, verdicts, strict=True)
        if case["wantErr"] != bool(verdict)
    ]
    assert wrong == []


def test_every_published_note_and_key_is_taken_or_refused(modules: Run) -> None:
    cases = [case for case in json.loads((VECTORS / "signed_note.json").read_text()) if case["op"] in {"open", "vkey"}]
    verdicts = modules(
        f"""
        const {{ parseKey, parseNote, checkSigned }} = await load("note");
        const opened = async ({{ note, vkeys }}) => {{
            const parsed = parseNote(note);
            const refused = {_REFUSAL};
            const code = async (line) => checkSigned(parsed, await parseKey(line)).then(() => "", refused);
            const codes = await Promise.all(vkeys.map(code));
            if (codes.some((code) => code && code !== "unsigned")) return codes.find(Boolean);
            return codes.includes("") ? "" : "unsigned";
        }};
        const taken = (each) => (each.op === "open" ? opened(each) : parseKey(each.vkey).then(() => ""));
        return Promise.all(arg.map((each) => taken(each).catch({_REFUSAL})));
        """,
        cases,
    )
    wrong = [case["desc"] for case, verdict in zip(cases, verdicts, strict=True) if case["ok"] == bool(verdict)]
    assert wrong == []


def test_every_published_checkpoint_is_read_or_refused(modules: Run) -> None:
    cases = json.loads((VECTORS / "checkpoint_body.json").read_text())
    read = modules(
        """
        const { parseCheckpoint } = await load("note");
        return arg.map(({ body }) => {
            try {
                const { origin, size, rootText } = parseCheckpoint(body);
                return { origin, size: String(size), hash: rootText };
            } catch (error) {
                if (error.name !== "Refused") throw error;
                return null;
            }
        });
        """,
        cases,
    )
    wanted = [
        {"origin": case["want"]["origin"], "size": str(case["want"]["size"]), "hash": case["want"]["hash"]}
        if case["ok"]
        else None
        for case in cases
    ]
    assert read == wanted


def test_every_receipt_of_the_ledger_is_proved_and_no_flipped_one(modules: Run) -> None:
    ledger = grown(37)
    arg = {"key": ledger.key, "receipts": [ledger.receipt(index).model_dump() for index in range(37)]}
    states = modules(
        """
        const { parseKey } = await load("note");
        const { checkRecord } = await load("receipt");
        const key = await parseKey(arg.key);
        const state = async (receipt) => (await checkRecord({ index: receipt.index, receipt }, key)).state;
        const flipped = (text, at) => text.slice(0, at) + (text[at] === "A" ? "B" : "A") + text.slice(at + 1);
        const broken = arg.receipts.flatMap((receipt) => [
            { ...receipt, index: receipt.index + 1 },
            { ...receipt, entry: flipped(receipt.entry, 20) },
            { ...receipt, proof: receipt.proof.slice(1) },
            { ...receipt, proof: [...receipt.proof, receipt.proof[0]] },
            { ...receipt, proof: [flipped(receipt.proof[0], 3), ...receipt.proof.slice(1)] },
            { ...receipt, checkpoint: receipt.checkpoint.replace("\\n37\\n", "\\n38\\n") },
            { ...receipt, checkpoint: flipped(receipt.checkpoint, receipt.checkpoint.length - 8) },
            { ...receipt, checkpoint: receipt.checkpoint.replaceAll("ledger.example", "other.example") },
            { ...receipt, format: "agent-mesh-receipt/v2" },
            { ...receipt, proof: "no list" },
            { ...receipt, entry: "\\ud800" },
        ]);
        return { true: await Promise.all(arg.receipts.map(state)), broken: await Promise.all(broken.map(state)) };
        """,
        arg,
    )
    assert states["true"] == ["proved"] * 37
    assert states["broken"] == ["refused"] * (37 * 11)


def test_a_payload_beside_its_entry_must_have_the_digest(modules: Run) -> None:
    ledger = SmallLedger()
    ledger.append("tx", "test.large", "developer@example.com", "2026-11-20T10:00:00Z", {"text": "ä" * 5000})
    receipt = ledger.receipt(0).model_dump()
    arg = {"key": ledger.key, "receipts": [receipt, receipt | {"payload": receipt["payload"].replace("ä", "ö", 1)}]}
    codes = modules(
        """
        const { parseKey } = await load("note");
        const { checkRecord } = await load("receipt");
        const key = await parseKey(arg.key);
        const code = async (receipt) => (await checkRecord({ index: 0, receipt }, key)).code ?? "proved";
        return Promise.all(arg.receipts.map(code));
        """,
        arg,
    )
    assert codes == ["proved", "payload_mismatch"]


def test_cosignatures_of_witnesses_are_named_and_do_not_stand_for_the_log(modules: Run) -> None:
    ledger = grown(3)
    witness = LocalSigner("witness.example/w1", bytes([1]) * 32)
    note = str(cosign_note(ledger.checkpoint(), witness, 1_800_000_000))
    found = modules(
        """
        const { parseKey, openCheckpoint } = await load("note");
        const { cosigners, signed } = await openCheckpoint(arg.note, await parseKey(arg.key));
        const other = await parseKey(arg.witness).catch((error) => error.code);
        return { cosigners, signed, other };
        """,
        {"note": note, "key": ledger.key, "witness": str(verifier_key(witness, KeyKind.COSIGNATURE))},
    )
    assert found == {"cosigners": ["witness.example/w1"], "signed": True, "other": "malformed_key"}


def test_what_a_browser_has_seen_must_go_on(modules: Run) -> None:
    ledger, fork = grown(9), grown(5)
    for number in range(6):
        fork.append("tx", "test.forged", "nobody@example.com", "2026-11-20T10:00:00Z", {"n": number})
    proof = ledger.consistency(5, 9)
    arg = {
        "key": ledger.key,
        "old": str(ledger.checkpoint(5)),
        "new": str(ledger.checkpoint()),
        "fork": str(fork.checkpoint()),
        "twin": str(fork.checkpoint(9)),
        "proof": [value.hex() for value in proof],
    }
    codes = modules(
        f"""
        const {{ toBase64 }} = await load("bytes");
        const {{ parseKey, openCheckpoint }} = await load("note");
        const {{ Trust }} = await load("trust");
        const kept = new Map();
        const storage = {{ getItem: (name) => kept.get(name) ?? null, setItem: (name, text) => kept.set(name, text) }};
        const bytes = (hex) => Uint8Array.from(hex.match(/../g), (pair) => parseInt(pair, 16));
        const asked = [];
        const ask = async (from, to) => {{
            asked.push(`${{from}}-${{to}}`);
            return arg.proof.map((each) => toBase64(bytes(each)));
        }};
        const trust = new Trust(storage, ask);
        const {{ key }} = await trust.pin(arg.key, 1000);
        const outcome = (step) => step.outcome;
        const follow = async (note) => trust.follow(await openCheckpoint(note, key), key).then(outcome, {_REFUSAL});
        const told = [];
        for (const name of ["old", "new", "old", "new", "fork", "twin"]) told.push(await follow(arg[name]));
        return {{ told, asked }};
        """,
        arg,
    )
    assert codes == {"told": ["passed"] * 4 + ["fork"] * 2, "asked": ["5-9", "5-9", "9-11"]}
