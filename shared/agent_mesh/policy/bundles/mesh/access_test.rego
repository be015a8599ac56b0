package mesh.access_test

intent := {
	"subject": {"enterprise": "A", "id": "u123", "roles": ["fin_analyst"]},
	"resource": {"enterprise": "B", "id": "dataset:finance.q4", "scope": "read"},
	"context": {"device": "compliant", "geo": "US", "session_risk": 42},
}

changed(part, fields) := object.union(intent, {part: object.union(intent[part], fields)})

case(given, expect) := {"decision": "access", "given": given, "expect": expect}

denied(part, fields, reason, risk) := case(
	changed(part, fields),
	{"allow": false, "reasons": [reason], "obligations": {}, "risk_after": risk},
)

at_risk(risk) := changed("context", {"session_risk": risk})

test_allows_a_reader_at_low_risk_for_an_hour := case(
	intent,
	{"allow": true, "reasons": [], "obligations": {"timebox": 3600}, "risk_after": 37, "policy_ref": "access.rego#allow"},
)

test_lowers_the_risk_to_zero_at_most := case(at_risk(3), {"allow": true, "risk_after": 0})

test_allows_just_below_the_limit := case(at_risk(49.5), {"allow": true, "risk_after": 44.5})

test_denies_at_the_limit := denied("context", {"session_risk": 50}, "session_risk_too_high", 50)

test_takes_a_missing_risk_for_the_highest := case(
	object.remove(intent, ["context"]),
	{"allow": false, "reasons": ["session_risk_too_high"], "risk_after": 100},
)

test_takes_a_risk_in_text_for_the_highest := denied("context", {"session_risk": "42"}, "session_risk_too_high", 100)

test_takes_a_risk_of_null_for_the_highest := denied("context", {"session_risk": null}, "session_risk_too_high", 100)

test_takes_a_risk_of_true_for_the_highest := denied("context", {"session_risk": true}, "session_risk_too_high", 100)

test_denies_another_subject := denied("subject", {"enterprise": "B"}, "subject_enterprise_not_allowed", 42)

test_denies_another_resource := denied("resource", {"enterprise": "A"}, "resource_enterprise_not_allowed", 42)

test_denies_another_scope := denied("resource", {"scope": "write"}, "scope_not_allowed", 42)

test_denies_scopes_in_a_list := denied("resource", {"scope": ["read"]}, "scope_not_allowed", 42)

test_denies_an_empty_intent_with_every_reason := case({}, {
	"allow": false,
	"reasons": [
		"resource_enterprise_not_allowed",
		"scope_not_allowed",
		"session_risk_too_high",
		"subject_enterprise_not_allowed",
	],
	"risk_after": 100,
})
