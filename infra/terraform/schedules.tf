locals {
  minutes = { for name, schedule in local.schedules : name => schedule.everySeconds / 60 }
  cron = { for name, minutes in local.minutes : name =>
    minutes == 1 ? "* * * * *" :
    minutes < 60 ? "*/${minutes} * * * *" :
    minutes == 60 ? "0 * * * *" :
    minutes < 1440 ? "0 */${floor(minutes / 60)} * * *" : "0 0 * * *"
    if minutes >= 1 && minutes == floor(minutes) && (minutes <= 60 ? 60 % max(minutes, 1) == 0 : minutes % 60 == 0 && 1440 % minutes == 0)
  }
}

resource "google_cloud_scheduler_job" "job" {
  for_each = local.schedules

  name             = "${local.prefix}${each.key}"
  description      = "POST ${each.value.path} of ${each.value.role}"
  schedule         = try(local.cron[each.key], "0 0 * * *") # one that has none is refused by the table's checks
  time_zone        = "Etc/UTC"
  attempt_deadline = "${min(max(local.roles[each.value.role].timeoutSeconds, 15), 1800)}s"

  retry_config {
    retry_count = 0 # the next turn is the retry
  }

  http_target {
    uri         = "${module.function[each.value.role].url}${each.value.path}"
    http_method = "POST"
    body        = base64encode("{}")
    headers     = { "Content-Type" = "application/json" }

    oidc_token {
      service_account_email = google_service_account.caller["schedule:${each.key}"].email
      audience              = module.function[each.value.role].url
    }
  }

  depends_on = [google_cloud_run_v2_service_iam_member.invoker]
}
