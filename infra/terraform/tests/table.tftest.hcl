# What the table says is what is planned: no more, no less.

mock_provider "google" {
  mock_data "google_project" {
    defaults = { number = "123456789012" }
  }
}
mock_provider "google-beta" {}
mock_provider "archive" {}
mock_provider "random" {}
mock_provider "time" {}

variables {
  project_id  = "mesh-test-1"
  region      = "europe-west1"
  environment = "dev"
  roles_file  = "../roles.json"
  operators   = ["group:ops@example.com"]
  callers     = []
}

run "the_table_and_nothing_else_is_planned" {
  command = plan

  assert {
    condition     = keys(module.function) == keys(local.table.roles)
    error_message = "Functions and roles differ."
  }
  assert {
    condition     = toset(keys(google_pubsub_topic.topic)) == toset(local.table.topics)
    error_message = "Topics differ from the table's."
  }
  assert {
    condition     = keys(google_pubsub_subscription.push) == keys(local.table.subscriptions)
    error_message = "Subscriptions differ from the table's."
  }
  assert {
    condition     = keys(google_cloud_scheduler_job.job) == keys(local.table.schedules)
    error_message = "Scheduler jobs differ from the table's."
  }
  assert {
    condition     = length(google_firestore_index.index) == length(local.declared.indexes) && length(google_firestore_field.field) == length(local.declared.fieldOverrides)
    error_message = "Two declared indexes or fields share a key, so that one is missing."
  }
  assert {
    condition     = alltrue([for name, field in google_firestore_field.field : length(field.ttl_config) == (try(local.fields[name].ttl, false) ? 1 : 0)])
    error_message = "TTL policies differ from the declared ones."
  }
  assert {
    condition = toset(keys(google_cloud_run_v2_service_iam_member.invoker)) == toset(flatten([
      for role, references in local.callers : [for reference in references : "${role}<-${reference}" if reference != "callers"]
    ]))
    error_message = "Somebody may call without being in an allow-list, or the other way round."
  }
  assert {
    condition     = length(google_cloud_run_v2_service_iam_member.public) == 0
    error_message = "Something is public by default."
  }
  assert {
    condition     = local.allow_lists["orchestrator"]["MESH_OPERATORS"] == "mesh-dev-operator@mesh-test-1.iam.gserviceaccount.com,mesh-dev-schedule-sweep@mesh-test-1.iam.gserviceaccount.com"
    error_message = "The allow-list names others than the accounts that call."
  }
  assert {
    condition     = keys(google_service_account_iam_member.operator) == ["group:ops@example.com"] && google_service_account_iam_member.operator["group:ops@example.com"].role == "roles/iam.serviceAccountOpenIdTokenCreator"
    error_message = "Operators may do more than ask for ID tokens."
  }
  assert {
    condition     = local.urls["orchestrator"] == "https://europe-west1-mesh-test-1.cloudfunctions.net/mesh-dev-orchestrator"
    error_message = "The predicted URL has another form than a function's."
  }
  assert {
    condition     = local.run_urls["agent_light"] == "https://mesh-dev-agent-light-123456789012.europe-west1.run.app"
    error_message = "The predicted Cloud Run URL has another form."
  }
  assert {
    condition     = local.agents["light"].audience == local.urls["agent_light"]
    error_message = "The orchestrator would show agents a token for another audience."
  }
  assert {
    condition     = contains(keys(local.roles), "audit") == (length(google_monitoring_alert_policy.checkpoint_age) == 1)
    error_message = "The alert on checkpoints does not follow the role."
  }
}

run "a_caller_is_let_in_where_the_table_says_callers" {
  command = plan

  variables {
    callers = ["app@elsewhere.iam.gserviceaccount.com"]
  }

  assert {
    condition     = toset([for key in keys(google_cloud_run_v2_service_iam_member.invoker) : split("<-", key)[0] if endswith(key, "<-app@elsewhere.iam.gserviceaccount.com")]) == toset([for role, references in local.callers : role if contains(references, "callers")])
    error_message = "A caller reaches other roles than those that the table lets callers into."
  }
  assert {
    condition     = contains(local.callers["orchestrator"], "callers") && contains(local.callers["policy"], "callers") && !contains(local.callers["agent_light"], "callers")
    error_message = "The table lets callers into an agent, or not into the orchestrator and policy."
  }
  assert {
    condition     = local.allow_lists["orchestrator"]["MESH_CALLERS"] == "mesh-dev-operator@mesh-test-1.iam.gserviceaccount.com,app@elsewhere.iam.gserviceaccount.com"
    error_message = "A caller may invoke but is in no allow-list."
  }
}

run "keys_secrets_and_the_ledgers_alert_follow_the_table" {
  command = plan

  variables {
    roles_file   = "tests/tables/browser_and_ledger.json"
    public_roles = ["dashboard"]
    environment  = "prod"
  }

  assert {
    condition = alltrue([for name in concat(
      values(local.account_ids), values(local.function_names), values(google_pubsub_topic.topic)[*].name,
      values(google_pubsub_subscription.parked)[*].name, values(google_cloud_scheduler_job.job)[*].name,
      values(google_logging_metric.metric)[*].name, values(google_secret_manager_secret.secret)[*].secret_id,
      [google_monitoring_custom_service.dispatch.service_id],
    ) : startswith(name, "mesh-prod-")])
    error_message = "Something is named as in another environment of the same project."
  }
  assert {
    condition     = !contains(flatten([for position in local.positions : values(position)]), 0)
    error_message = "Monitoring drops zeros: the dashboard would change on every plan."
  }

  assert {
    condition     = keys(google_kms_crypto_key_iam_member.signer) == ["audit->checkpoints"] && keys(google_secret_manager_secret_iam_member.reader) == ["audit->pepper"]
    error_message = "Somebody may use a key or read a secret that the table does not give him."
  }
  assert {
    condition     = length(google_monitoring_alert_policy.checkpoint_age) == 1
    error_message = "The ledger's silence alerts nobody."
  }
  assert {
    condition     = keys(google_cloud_run_v2_service_iam_member.public) == ["dashboard"]
    error_message = "Not exactly the chosen browser roles are public."
  }
  assert {
    condition     = { for name, job in google_cloud_scheduler_job.job : name => job.schedule } == { quarter = "*/15 * * * *", hourly = "0 * * * *", daily = "0 0 * * *" }
    error_message = "Seconds became another cron expression."
  }
}

run "a_table_that_contradicts_itself_is_refused" {
  command = plan

  variables {
    roles_file = "tests/tables/contradictions.json"
  }

  expect_failures = [terraform_data.table]
}
