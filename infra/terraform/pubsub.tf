locals {
  dead_letter_topics = toset([for subscription in values(local.subscriptions) : subscription.deadLetter.topic if subscription.deadLetter != null])
  published = merge([for role, spec in local.roles : {
    for topic in try(spec.publishes, []) : "${role}->${topic}" => { role = role, topic = topic }
  }]...)
}

resource "google_pubsub_topic" "topic" {
  #checkov:skip=CKV_GCP_83:Messages are encrypted with Google's keys; a key of one's own adds a way to lose them all.
  for_each = toset(local.table.topics)

  name = "${local.prefix}${each.key}"

  message_storage_policy {
    allowed_persistence_regions = [var.region]
  }

  depends_on = [google_project_service.api]
}

resource "google_pubsub_topic_iam_member" "publisher" {
  for_each = local.published

  topic  = google_pubsub_topic.topic[each.value.topic].id
  role   = "roles/pubsub.publisher"
  member = google_service_account.caller["role:${each.value.role}"].member
}

resource "google_pubsub_subscription" "push" {
  for_each = local.subscriptions

  name                       = "${local.prefix}${each.key}"
  topic                      = google_pubsub_topic.topic[each.value.topic].id
  filter                     = each.value.filter
  enable_message_ordering    = each.value.ordering
  ack_deadline_seconds       = each.value.ackDeadlineSeconds
  message_retention_duration = "${each.value.messageRetentionSeconds}s"

  push_config {
    push_endpoint = "${module.function[each.value.push.role].url}${each.value.push.path}"

    oidc_token {
      service_account_email = google_service_account.caller["subscription:${each.key}"].email
      audience              = module.function[each.value.push.role].url
    }
  }

  retry_policy {
    minimum_backoff = "${each.value.retry.minimumBackoffSeconds}s"
    maximum_backoff = "${each.value.retry.maximumBackoffSeconds}s"
  }

  dynamic "dead_letter_policy" {
    for_each = each.value.deadLetter[*]
    content {
      dead_letter_topic     = google_pubsub_topic.topic[dead_letter_policy.value.topic].id
      max_delivery_attempts = dead_letter_policy.value.maxDeliveryAttempts
    }
  }

  expiration_policy {
    ttl = ""
  }

  depends_on = [
    google_cloud_run_v2_service_iam_member.invoker, google_service_account_iam_member.push, google_pubsub_topic_iam_member.dead_letters,
  ]
}

# Nobody is called for these: what arrives waits for an operator.
resource "google_pubsub_subscription" "parked" {
  for_each = local.parked

  name                       = "${local.prefix}${each.key}"
  topic                      = google_pubsub_topic.topic[each.value.topic].id
  message_retention_duration = "${each.value.messageRetentionSeconds}s"

  expiration_policy {
    ttl = ""
  }
}

# Pub/Sub itself forwards dead letters: it publishes them to their topic and acknowledges them on the subscription.
resource "google_pubsub_topic_iam_member" "dead_letters" {
  for_each = local.dead_letter_topics

  topic      = google_pubsub_topic.topic[each.key].id
  role       = "roles/pubsub.publisher"
  member     = local.pubsub_agent
  depends_on = [time_sleep.agents_known]
}

resource "google_pubsub_subscription_iam_member" "dead_letters" {
  for_each = { for name, subscription in local.subscriptions : name => subscription if subscription.deadLetter != null }

  subscription = google_pubsub_subscription.push[each.key].name
  role         = "roles/pubsub.subscriber"
  member       = local.pubsub_agent

  # Another filter replaces the subscription, and the grant goes with the old one.
  lifecycle {
    replace_triggered_by = [google_pubsub_subscription.push[each.key].id]
  }
}
