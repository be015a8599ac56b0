package mesh.relay_test

asked(groups, action, topic, expect) := {
	"decision": "relay",
	"given": {
		"subject": {"id": "somebody@example.com", "groups": groups},
		"action": action,
		"resource": {"topic": topic, "words": split(topic, ".")},
	},
	"expect": expect,
}

permits(groups, action, topic) := asked(groups, action, topic, {
	"allow": true,
	"reasons": [],
	"obligations": {},
	"policy_ref": "relay.rego#allow",
})

refuses(groups, action, topic, reason) := asked(groups, action, topic, {"allow": false, "reasons": [reason], "obligations": {}})

test_lets_callers_publish := permits(["callers"], "publish", "access.intent")

test_lets_callers_subscribe := permits(["callers"], "subscribe", "access.intent")

test_lets_callers_ask_for_everything_that_is_theirs := permits(["callers"], "subscribe", "**")

test_lets_operators_publish := permits(["operators"], "publish", "access.intent")

test_lets_operators_read_the_meshs_events := permits(["callers", "operators"], "subscribe", "mesh.**")

test_lets_viewers_read_the_meshs_events := permits(["viewers"], "subscribe", "mesh.**")

test_lets_viewers_read_everything := permits(["viewers"], "subscribe", "**")

test_lets_no_viewer_publish := refuses(["viewers"], "publish", "access.intent", "subject_in_no_group")

test_keeps_the_meshs_events_from_callers := refuses(["callers"], "subscribe", "mesh.**", "topic_reserved_for_the_mesh")

test_keeps_one_event_of_the_mesh_from_callers := refuses(
	["callers"], "subscribe", "mesh.access.decided", "topic_reserved_for_the_mesh",
)

test_lets_no_caller_speak_for_the_mesh := refuses(
	["callers"], "publish", "mesh.access.decided", "topic_reserved_for_the_mesh",
)

test_lets_no_operator_speak_for_the_mesh := refuses(
	["operators"], "publish", "mesh.access.decided", "topic_reserved_for_the_mesh",
)

test_reserves_the_bare_word_too := refuses(["operators"], "publish", "mesh", "topic_reserved_for_the_mesh")

test_does_not_reserve_a_word_that_begins_alike := permits(["callers"], "publish", "meshes.a")

test_denies_who_is_in_no_group := refuses([], "subscribe", "a", "subject_in_no_group")

test_denies_another_group := refuses(["visitors"], "publish", "a", "subject_in_no_group")

test_denies_another_action := refuses(["operators"], "delete", "a", "action_unknown")

test_denies_a_topic_without_a_name := refuses(["operators"], "publish", "", "topic_not_named")

test_denies_a_topic_that_is_no_text := {
	"decision": "relay",
	"given": {"subject": {"id": "a", "groups": ["operators"]}, "action": "publish", "resource": {"topic": 7}},
	"expect": {"allow": false, "reasons": ["topic_not_named"]},
}

test_denies_groups_in_text := refuses("callers", "publish", "a", "subject_in_no_group")

test_denies_a_nameless_subject := {
	"decision": "relay",
	"given": {"subject": {"id": "", "groups": ["callers"]}, "action": "publish", "resource": {"topic": "a"}},
	"expect": {"allow": false, "reasons": ["subject_in_no_group"]},
}

test_denies_an_empty_question_with_every_reason := {
	"decision": "relay",
	"given": {},
	"expect": {"allow": false, "reasons": ["action_unknown", "subject_in_no_group", "topic_not_named"]},
}
