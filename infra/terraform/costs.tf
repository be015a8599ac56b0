resource "google_billing_budget" "month" {
  count = var.monthly_budget == null ? 0 : 1

  billing_account = var.monthly_budget.billing_account
  display_name    = "Agent Mesh ${var.environment}"

  budget_filter {
    projects        = ["projects/${data.google_project.this.number}"]
    calendar_period = "MONTH"
  }

  amount {
    specified_amount {
      currency_code = var.monthly_budget.currency
      units         = tostring(var.monthly_budget.amount)
    }
  }

  dynamic "threshold_rules" {
    for_each = [0.5, 0.8, 1]
    content {
      threshold_percent = threshold_rules.value
    }
  }

  all_updates_rule {
    monitoring_notification_channels = local.channels
    disable_default_iam_recipients   = false
  }

  lifecycle {
    precondition {
      condition     = length(var.alert_emails) <= 5
      error_message = "A budget tells at most 5 addresses: name fewer alert_emails, such as a group's, or no monthly_budget."
    }
  }

  depends_on = [google_project_service.api]
}
