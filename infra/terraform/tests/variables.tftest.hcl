# A wrong variable is refused with its own message, before anything is planned. Each of those expected has to fail.

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
  environment = "dev"
  roles_file  = "../roles.json"
}

run "every_wrong_variable_is_refused" {
  command = plan

  variables {
    project_id          = "My Project"
    region              = "eur3"
    environment         = "Production"
    operators           = ["allUsers"]
    callers             = ["serviceAccount:app@x.iam.gserviceaccount.com"]
    viewers             = ["group:everybody@example.com"]
    sign_in_client_id   = "GOCSPX-a-secret"
    instances           = { orchestrator = { min = 5, max = 2 } }
    alert_emails        = ["nobody"]
    monthly_budget      = { billing_account = "mine", amount = 100 }
    slo                 = { availability = 99.9 }
    hostname            = "https://mesh.example.com/"
    requests_per_minute = 0
  }

  expect_failures = [
    var.project_id, var.region, var.environment, var.operators, var.callers, var.viewers, var.sign_in_client_id, var.instances, var.alert_emails,
    var.monthly_budget, var.slo, var.hostname, var.requests_per_minute,
  ]
}

run "public_roles_must_be_made_for_browsers" {
  command = plan
  variables {
    public_roles = ["orchestrator"]
  }
  expect_failures = [terraform_data.table]
}

run "settings_of_an_unknown_role" {
  command = plan
  variables {
    settings = { orchestra = { AGENT_BUDGET_CENTS = "1" } }
  }
  expect_failures = [terraform_data.table]
}

run "settings_that_contradict_the_table" {
  command = plan
  variables {
    settings = { orchestrator = { MESH_OPERATORS = "me@example.com" } }
  }
  expect_failures = [terraform_data.table]
}
