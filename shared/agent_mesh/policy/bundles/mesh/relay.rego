# Topics of the relay: may this subject publish on a topic, or read it?
#
# The mesh's own events are on `mesh.` and below: nobody publishes there but the mesh itself, which asks nobody.
# `words` are the topic's, for a rule that looks into text makes the engine refuse every text with an escape.
# Viewers see everything and say nothing.
# A pattern is asked about as if it were a topic, and then each topic that it means.
package mesh.relay

default allow := false

allow if {
	action_known
	topic_named
	subject_known
	not reserved
}

action_known if input.action in {"publish", "subscribe"}

topic_named if {
	is_string(input.resource.topic)
	input.resource.topic != ""
}

operates if {
	is_string(input.subject.id)
	input.subject.id != ""
	"operators" in input.subject.groups
}

calls if {
	is_string(input.subject.id)
	input.subject.id != ""
	"callers" in input.subject.groups
}

watches if {
	is_string(input.subject.id)
	input.subject.id != ""
	"viewers" in input.subject.groups
}

subject_known if operates

subject_known if calls

subject_known if {
	watches
	input.action == "subscribe"
}

of_the_mesh if input.resource.words[0] == "mesh"

reserved if {
	of_the_mesh
	input.action != "subscribe"
}

reserved if {
	of_the_mesh
	not operates
	not watches
}

# The reasons explain and decide nothing: `allow` does not ask them.
reasons contains "action_unknown" if not action_known

reasons contains "topic_not_named" if not topic_named

reasons contains "subject_in_no_group" if not subject_known

reasons contains "topic_reserved_for_the_mesh" if reserved

decision := {
	"allow": true,
	"reasons": [],
	"obligations": {},
	"policy_ref": "relay.rego#allow",
} if allow

else := {
	"allow": false,
	"reasons": reasons,
	"obligations": {},
	"policy_ref": "relay.rego#allow",
}
