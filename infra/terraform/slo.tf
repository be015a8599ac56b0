# What dispatch promises, over 28 days. Objectives exist where the orchestrator does.

locals {
  dispatch = "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"${local.prefix}orchestrator\""
}

resource "google_monitoring_custom_service" "dispatch" {
  service_id   = "${local.prefix}dispatch"
  display_name = "Agent Mesh ${var.environment}, dispatch"
  depends_on   = [google_project_service.api]
}

resource "google_monitoring_slo" "availability" {
  service             = google_monitoring_custom_service.dispatch.service_id
  slo_id              = "availability"
  display_name        = "${var.slo.availability * 100} % of requests without a server error"
  goal                = var.slo.availability
  rolling_period_days = 28

  request_based_sli {
    good_total_ratio {
      bad_service_filter   = "${local.dispatch} AND metric.type=\"run.googleapis.com/request_count\" AND metric.labels.response_code_class=\"5xx\""
      total_service_filter = "${local.dispatch} AND metric.type=\"run.googleapis.com/request_count\""
    }
  }
}

resource "google_monitoring_slo" "latency" {
  service             = google_monitoring_custom_service.dispatch.service_id
  slo_id              = "latency"
  display_name        = "${var.slo.latency * 100} % of requests within ${var.slo.latency_seconds} s"
  goal                = var.slo.latency
  rolling_period_days = 28

  request_based_sli {
    distribution_cut {
      distribution_filter = "${local.dispatch} AND metric.type=\"run.googleapis.com/request_latencies\""

      range {
        max = var.slo.latency_seconds * 1000
      }
    }
  }
}

resource "google_monitoring_alert_policy" "burn" {
  display_name          = "Agent Mesh ${var.environment}: dispatch burns its error budget"
  combiner              = "OR"
  notification_channels = local.channels

  conditions {
    display_name = "ten times as fast as 28 days allow, for an hour"

    condition_threshold {
      filter          = "select_slo_burn_rate(\"${google_monitoring_slo.availability.name}\", \"3600s\")"
      comparison      = "COMPARISON_GT"
      threshold_value = 10
      duration        = "0s"
    }
  }

  documentation {
    content   = "At this rate the error budget of 28 days is gone in three. Look at the orchestrator's 5xx; a rollback is in docs/deploy.md."
    mime_type = "text/markdown"
  }
}

# The orchestrator is private: the check shows a token of Monitoring's own account, which may call it.
resource "google_monitoring_uptime_check_config" "orchestrator" {
  display_name = "Agent Mesh ${var.environment}, orchestrator"
  timeout      = "10s"
  period       = "300s"

  http_check {
    path           = "/health"
    port           = 443
    use_ssl        = true
    validate_ssl   = true
    request_method = "GET"

    service_agent_authentication {
      type = "OIDC_TOKEN"
    }

    accepted_response_status_codes {
      status_value = 200
    }
  }

  monitored_resource {
    type = "uptime_url"
    labels = {
      project_id = var.project_id
      host       = split("/", local.run_urls["orchestrator"])[2]
    }
  }

  depends_on = [google_project_service.api]
}

resource "google_monitoring_alert_policy" "uptime" {
  display_name          = "Agent Mesh ${var.environment}: the orchestrator does not answer"
  combiner              = "OR"
  notification_channels = local.channels

  conditions {
    display_name = "two places in the world get no answer"

    condition_threshold {
      filter          = "resource.type = \"uptime_url\" AND metric.type = \"monitoring.googleapis.com/uptime_check/check_passed\" AND metric.labels.check_id = \"${google_monitoring_uptime_check_config.orchestrator.uptime_check_id}\""
      comparison      = "COMPARISON_GT"
      threshold_value = 1
      duration        = "300s"

      aggregations {
        alignment_period     = "1200s"
        per_series_aligner   = "ALIGN_NEXT_OLDER"
        cross_series_reducer = "REDUCE_COUNT_FALSE"
        group_by_fields      = ["resource.label.host"]
      }
    }
  }

  documentation {
    content   = "`/health` of the orchestrator fails from outside: look at its log, its revisions and, if it answers 403, at who may invoke it."
    mime_type = "text/markdown"
  }
}

resource "google_cloud_run_v2_service_iam_member" "uptime" {
  project  = var.project_id
  location = var.region
  name     = module.function["orchestrator"].name
  role     = "roles/run.invoker"
  member   = local.monitoring_agent

  depends_on = [time_sleep.agents_known]
}
