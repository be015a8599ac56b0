# Tasks: may this caller send this task to this agent, with these limits, now?
package mesh.dispatch

default allow := false

allow if {
	caller_known
	agent_named
	mode_known
	budget_whole
	in_time
}

caller_known if {
	is_string(input.subject.id)
	input.subject.id != ""
}

agent_named if {
	is_string(input.resource.agent)
	input.resource.agent != ""
}

mode_known if input.resource.mode in {"http", "pubsub"}

budget_whole if {
	is_number(input.context.budget_cents)
	input.context.budget_cents >= 0
	floor(input.context.budget_cents) == input.context.budget_cents
}

in_time if {
	is_number(input.context.ttl)
	is_number(input.context.now)
	input.context.ttl > input.context.now
}

# The reasons explain and decide nothing: `allow` does not ask them.
reasons contains "caller_unknown" if not caller_known

reasons contains "agent_not_named" if not agent_named

reasons contains "mode_unknown" if not mode_known

reasons contains "budget_not_whole_cents" if not budget_whole

reasons contains "ttl_expired" if not in_time

decision := {
	"allow": true,
	"reasons": [],
	"obligations": {},
	"policy_ref": "dispatch.rego#allow",
} if allow

else := {
	"allow": false,
	"reasons": reasons,
	"obligations": {},
	"policy_ref": "dispatch.rego#allow",
}
