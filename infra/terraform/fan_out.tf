# A role with `fansOut` keeps a subscription of its own for each instance on the topic `relay`: it makes it when the
# first stream opens, pulls it, and deletes it. Pub/Sub has no IAM condition on a subscription's name, and whoever makes
# one does not own it: so these three permissions are for all subscriptions of the project, and no others come with
# them. Which topic may be attached is granted on the topic.

locals {
  fan_out = toset([for role, spec in local.roles : role if try(spec.fansOut, false)])
}

resource "google_project_iam_custom_role" "fan_out" {
  count = length(local.fan_out) > 0 ? 1 : 0

  role_id     = replace("${local.prefix}fan_out", "-", "_")
  title       = "Agent Mesh ${var.environment}, own subscriptions"
  description = "Make, pull and delete the short-lived subscriptions of instances that fan out."
  permissions = ["pubsub.subscriptions.create", "pubsub.subscriptions.consume", "pubsub.subscriptions.delete"]
  depends_on  = [google_project_service.api]
}

resource "google_project_iam_member" "fan_out" {
  for_each = local.fan_out

  project = var.project_id
  role    = google_project_iam_custom_role.fan_out[0].id
  member  = google_service_account.caller["role:${each.key}"].member
}

# On a topic this role gives `pubsub.topics.attachSubscription` and nothing else that a topic has.
resource "google_pubsub_topic_iam_member" "fan_out" {
  for_each = local.fan_out

  topic  = google_pubsub_topic.topic["relay"].id
  role   = "roles/pubsub.subscriber"
  member = google_service_account.caller["role:${each.key}"].member
}
