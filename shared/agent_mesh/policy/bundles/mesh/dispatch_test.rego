package mesh.dispatch_test

task := {
	"subject": {"id": "caller@example.com"},
	"resource": {"agent": "agent_light", "mode": "pubsub"},
	"context": {"budget_cents": 25, "ttl": 1700000060, "now": 1700000000},
}

changed(part, fields) := object.union(task, {part: object.union(task[part], fields)})

case(given, expect) := {"decision": "dispatch", "given": given, "expect": expect}

denied(part, fields, reason) := case(changed(part, fields), {"allow": false, "reasons": [reason], "obligations": {}})

test_allows_a_task_within_its_limits := case(
	task,
	{"allow": true, "reasons": [], "obligations": {}, "policy_ref": "dispatch.rego#allow"},
)

test_allows_the_other_mode := case(changed("resource", {"mode": "http"}), {"allow": true})

test_allows_a_task_with_nothing_to_spend := case(changed("context", {"budget_cents": 0}), {"allow": true})

test_denies_a_nameless_caller := denied("subject", {"id": ""}, "caller_unknown")

test_denies_a_caller_that_is_no_text := denied("subject", {"id": 7}, "caller_unknown")

test_denies_a_nameless_agent := denied("resource", {"agent": ""}, "agent_not_named")

test_denies_another_mode := denied("resource", {"mode": "carrier_pigeon"}, "mode_unknown")

test_denies_a_negative_budget := denied("context", {"budget_cents": -1}, "budget_not_whole_cents")

test_denies_half_a_cent := denied("context", {"budget_cents": 0.5}, "budget_not_whole_cents")

test_denies_a_budget_in_text := denied("context", {"budget_cents": "25"}, "budget_not_whole_cents")

test_denies_a_task_at_its_last_moment := denied("context", {"ttl": 1700000000}, "ttl_expired")

test_denies_a_time_to_live_in_text := denied("context", {"ttl": "1700000060"}, "ttl_expired")

test_denies_an_empty_task_with_every_reason := case({}, {
	"allow": false,
	"reasons": ["agent_not_named", "budget_not_whole_cents", "caller_unknown", "mode_unknown", "ttl_expired"],
})
