# One page: tasks, requests, queues, instances, database.

locals {
  tiles = [
    { title = "Tasks by outcome", filter = local.log_metric["tasks"], aligner = "ALIGN_RATE", by = ["metric.label.type"] },
    { title = "Tasks by agent", filter = local.log_metric["tasks"], aligner = "ALIGN_RATE", by = ["metric.label.agent"] },
    { title = "Requests by role", filter = "${local.of_these_services} AND metric.type = \"run.googleapis.com/request_count\"", aligner = "ALIGN_RATE", by = ["resource.label.service_name"] },
    { title = "Server errors by role", filter = "${local.of_these_services} AND metric.type = \"run.googleapis.com/request_count\" AND metric.labels.response_code_class = \"5xx\"", aligner = "ALIGN_RATE", by = ["resource.label.service_name"] },
    { title = "Latency, 95th percentile, ms", filter = "${local.of_these_services} AND metric.type = \"run.googleapis.com/request_latencies\"", aligner = "ALIGN_PERCENTILE_95", by = ["resource.label.service_name"] },
    { title = "Instances", filter = "${local.of_these_services} AND metric.type = \"run.googleapis.com/container/instance_count\"", aligner = "ALIGN_MAX", by = ["resource.label.service_name"] },
    { title = "Oldest message that waits, s", filter = "${local.of_these_subscriptions} AND metric.type = \"pubsub.googleapis.com/subscription/oldest_unacked_message_age\"", aligner = "ALIGN_MAX", by = ["resource.label.subscription_id"] },
    { title = "Dead letters", filter = "${local.of_these_subscriptions} AND metric.type = \"pubsub.googleapis.com/subscription/dead_letter_message_count\"", aligner = "ALIGN_DELTA", by = ["resource.label.subscription_id"] },
    { title = "Defects by role", filter = local.log_metric["defects"], aligner = "ALIGN_DELTA", by = ["metric.label.role"] },
    { title = "Budgets that reached a threshold", filter = local.log_metric["budget_alerts"], aligner = "ALIGN_DELTA", by = ["metric.label.agent"] },
    { title = "Firestore reads", filter = "resource.type = \"firestore.googleapis.com/Database\" AND resource.labels.database_id = \"${google_firestore_database.mesh.name}\" AND metric.type = \"firestore.googleapis.com/document/read_ops_count\"", aligner = "ALIGN_RATE", by = [] },
    { title = "Firestore writes", filter = "resource.type = \"firestore.googleapis.com/Database\" AND resource.labels.database_id = \"${google_firestore_database.mesh.name}\" AND metric.type = \"firestore.googleapis.com/document/write_ops_count\"", aligner = "ALIGN_RATE", by = [] },
  ]

  # Monitoring forgets zeros and empty lists: one that is written would be a change on every plan.
  positions = [for number, _ in local.tiles : {
    for name, place in { xPos = number % 2 * 24, yPos = floor(number / 2) * 16 } : name => place if place > 0
  }]
}

resource "google_monitoring_dashboard" "mesh" {
  dashboard_json = jsonencode({
    displayName = "Agent Mesh ${var.environment}"
    mosaicLayout = {
      columns = 48
      tiles = [for number, tile in local.tiles : merge(local.positions[number], {
        width  = 24
        height = 16
        widget = {
          title = tile.title
          xyChart = {
            dataSets = [{
              plotType = "LINE"
              timeSeriesQuery = {
                timeSeriesFilter = {
                  filter = tile.filter
                  aggregation = merge({
                    alignmentPeriod    = "60s"
                    perSeriesAligner   = tile.aligner
                    crossSeriesReducer = endswith(tile.aligner, "95") || endswith(tile.aligner, "MAX") ? "REDUCE_MAX" : "REDUCE_SUM"
                  }, { for name, fields in { groupByFields = tile.by } : name => fields if length(fields) > 0 })
                }
              }
            }]
          }
        }
      })]
    }
  })

  depends_on = [google_project_service.api]
}
