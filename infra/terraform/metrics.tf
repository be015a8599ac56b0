# Counters over what the functions log: one JSON line for each event of the mesh (docs/events.md).

locals {
  of_this_mesh = "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=~\"^${local.prefix}\""
  log_metrics = {
    tasks = {
      description = "Tasks by what became of them and by agent."
      filter      = "jsonPayload.type=~\"^mesh\\.task\\.\""
      labels      = { type = "EXTRACT(jsonPayload.type)", agent = "EXTRACT(jsonPayload.agent)" }
    }
    budget_alerts = {
      description = "Budgets that reached 50, 80 or 100 % of their limit."
      filter      = "jsonPayload.type=\"mesh.budget.threshold\""
      labels      = { agent = "EXTRACT(jsonPayload.agent)", percent = "EXTRACT(jsonPayload.percent)" }
    }
    checkpoints = {
      description = "Signed checkpoints of the ledger."
      filter      = "jsonPayload.type=\"mesh.ledger.checkpoint\""
      labels      = {}
    }
    ledger_forks = {
      description = "Witnesses that have seen another ledger of this name."
      filter      = "jsonPayload.type=\"mesh.ledger.forked\""
      labels      = {}
    }
    unwitnessed = {
      description = "Witnesses, and other ledgers, that did not take a checkpoint, by name."
      filter      = "jsonPayload.type=\"mesh.ledger.unwitnessed\""
      labels      = { witness = "EXTRACT(jsonPayload.witness)" }
    }
    defects = {
      description = "Requests that failed by a defect of the mesh, by role."
      filter      = "severity>=ERROR AND jsonPayload.logger=~\"^agent_mesh\""
      labels      = { role = "EXTRACT(jsonPayload.role)" }
    }
  }
}

resource "google_logging_metric" "metric" {
  for_each = local.log_metrics

  name             = "${local.prefix}${each.key}"
  description      = each.value.description
  filter           = "${local.of_this_mesh} AND ${each.value.filter}"
  label_extractors = each.value.labels

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"

    dynamic "labels" {
      for_each = each.value.labels
      content {
        key = labels.key
      }
    }
  }

  depends_on = [google_project_service.api]
}

# Monitoring refuses an alert on a metric that Logging has just made: it does not know it yet.
resource "time_sleep" "metrics_known" {
  create_duration = "60s"
  triggers        = { for name, metric in google_logging_metric.metric : name => metric.id }
}
