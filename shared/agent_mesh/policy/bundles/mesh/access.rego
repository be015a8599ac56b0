# Access intents: may a subject of one enterprise read a resource of another?
package mesh.access

risk_limit := 50

timebox_seconds := 3600

# A risk that is missing, or is no number, is the highest. The engine would call the text "42" less than 50.
session_risk := input.context.session_risk if is_number(input.context.session_risk)

else := 100

default risk_lowered := 0

risk_lowered := session_risk - 5 if session_risk > 5

default allow := false

allow if {
	from_enterprise_a
	to_enterprise_b
	reads
	at_low_risk
}

from_enterprise_a if input.subject.enterprise == "A"

to_enterprise_b if input.resource.enterprise == "B"

reads if input.resource.scope == "read"

at_low_risk if session_risk < risk_limit

# The reasons explain and decide nothing: `allow` does not ask them.
reasons contains "subject_enterprise_not_allowed" if not from_enterprise_a

reasons contains "resource_enterprise_not_allowed" if not to_enterprise_b

reasons contains "scope_not_allowed" if not reads

reasons contains "session_risk_too_high" if not at_low_risk

decision := {
	"allow": true,
	"reasons": [],
	"obligations": {"timebox": timebox_seconds},
	"risk_after": risk_lowered,
	"policy_ref": "access.rego#allow",
} if allow

else := {
	"allow": false,
	"reasons": reasons,
	"obligations": {},
	"risk_after": session_risk,
	"policy_ref": "access.rego#allow",
}
