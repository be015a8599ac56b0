# What people are woken for, one row each. Thresholds compare with "more than".

locals {
  of_these_subscriptions = "resource.type = \"pubsub_subscription\" AND resource.labels.subscription_id = starts_with(\"${local.prefix}\")"
  of_these_services      = "resource.type = \"cloud_run_revision\" AND resource.labels.service_name = starts_with(\"${local.prefix}\")"
  log_metric             = { for name, metric in google_logging_metric.metric : name => "resource.type = \"cloud_run_revision\" AND metric.type = \"logging.googleapis.com/user/${metric.name}\"" }

  alerts = {
    dead-letters = {
      title   = "dead letters"
      filter  = "${local.of_these_subscriptions} AND metric.type = \"pubsub.googleapis.com/subscription/dead_letter_message_count\""
      aligner = "ALIGN_DELTA", above = 0, seconds = 0, by = ["resource.label.subscription_id"]
      help    = "Messages failed for good. `agent-mesh dead` lists them with their reason; `agent-mesh replay-dead` gives one another try."
    }
    undeliverable = {
      title   = "undeliverable messages wait"
      filter  = "${local.of_these_subscriptions} AND resource.labels.subscription_id = \"${local.prefix}undeliverable\" AND metric.type = \"pubsub.googleapis.com/subscription/num_undelivered_messages\""
      aligner = "ALIGN_MAX", above = 0, seconds = 0, by = []
      help    = "The orchestrator could not take dead letters. Read them with `gcloud pubsub subscriptions pull ${local.prefix}undeliverable`."
    }
    oldest-unacked = {
      title   = "a message waits for more than 10 minutes"
      filter  = "${local.of_these_subscriptions} AND resource.labels.subscription_id != \"${local.prefix}undeliverable\" AND metric.type = \"pubsub.googleapis.com/subscription/oldest_unacked_message_age\""
      aligner = "ALIGN_MAX", above = 600, seconds = 300, by = ["resource.label.subscription_id"]
      help    = "A role does not take its messages: look at its log, its instances and its 5xx."
    }
    server-errors = {
      title   = "server errors"
      filter  = "${local.of_these_services} AND metric.type = \"run.googleapis.com/request_count\" AND metric.labels.response_code_class = \"5xx\""
      aligner = "ALIGN_RATE", above = 0.05, seconds = 300, by = ["resource.label.service_name"]
      help    = "More than three requests a minute failed for five minutes. The role's log names the defect."
    }
    ledger-forked = {
      title   = "a witness has seen another ledger"
      filter  = local.log_metric["ledger_forks"]
      aligner = "ALIGN_DELTA", above = 0, seconds = 0, by = []
      help    = "The ledger was rolled back, or somebody signs a second one with its key. Keep everything as it is, and follow \"Verify the ledger\" in docs/deploy.md."
    }
    unwitnessed = {
      title   = "a witness does not cosign"
      filter  = local.log_metric["unwitnessed"]
      aligner = "ALIGN_DELTA", above = 0, seconds = 900, by = ["metric.label.witness"]
      help    = "A witness, or Azure, has refused or missed three rounds in a row: the log of the role audit says why. Receipts show older cosignatures meanwhile."
    }
    budget = {
      title   = "a budget is used to 80 %"
      filter  = "${local.log_metric["budget_alerts"]} AND metric.labels.percent != \"50\""
      aligner = "ALIGN_DELTA", above = 0, seconds = 0, by = ["metric.label.agent"]
      help    = "An agent has spent 80 % or all of its budget of the day; at 100 % its tasks are refused with 402."
    }
  }
}

resource "google_monitoring_notification_channel" "email" {
  for_each = var.alert_emails

  display_name = "Agent Mesh ${var.environment}, ${each.key}"
  type         = "email"
  labels       = { email_address = each.key }
  depends_on   = [google_project_service.api]
}

resource "google_monitoring_alert_policy" "alert" {
  for_each = local.alerts

  display_name          = "Agent Mesh ${var.environment}: ${each.value.title}"
  combiner              = "OR"
  notification_channels = local.channels

  conditions {
    display_name = each.value.title

    condition_threshold {
      filter          = each.value.filter
      comparison      = "COMPARISON_GT"
      threshold_value = each.value.above
      duration        = "${each.value.seconds}s"

      aggregations {
        alignment_period     = "300s"
        per_series_aligner   = each.value.aligner
        cross_series_reducer = "REDUCE_SUM"
        group_by_fields      = each.value.by
      }
    }
  }

  documentation {
    content   = each.value.help
    mime_type = "text/markdown"
  }

  alert_strategy {
    auto_close = "86400s"
  }

  depends_on = [time_sleep.metrics_known]
}

# A ledger that stops signing is told by silence. Only where a role keeps one.
resource "google_monitoring_alert_policy" "checkpoint_age" {
  count = contains(keys(local.roles), "audit") ? 1 : 0

  display_name          = "Agent Mesh ${var.environment}: no checkpoint for an hour"
  combiner              = "OR"
  notification_channels = local.channels

  conditions {
    display_name = "no checkpoint for an hour"

    condition_absent {
      filter   = local.log_metric["checkpoints"]
      duration = "3600s"

      aggregations {
        alignment_period     = "300s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  documentation {
    content   = "The ledger has signed nothing for an hour: look at the log of the role audit and at its schedule."
    mime_type = "text/markdown"
  }

  depends_on = [time_sleep.metrics_known]
}

locals {
  channels = [for channel in google_monitoring_notification_channel.email : channel.id]
}
