# A wrong variable is refused with its own message, before anything is planned.

mock_provider "google" {
  mock_data "google_project" {
    defaults = { number = "123456789012" }
  }
}
mock_provider "google-beta" {}
mock_provider "archive" {}
mock_provider "random" {}

variables {
  project_id = "mesh-test-1"
}

run "project_id" {
  command = plan
  variables {
    project_id = "My Project"
  }
  expect_failures = [var.project_id]
}

run "region" {
  command = plan
  variables {
    region = "eur3"
  }
  expect_failures = [var.region]
}

run "environment" {
  command = plan
  variables {
    environment = "Production"
  }
  expect_failures = [var.environment]
}

run "operators_are_never_everybody" {
  command = plan
  variables {
    operators = ["allUsers"]
  }
  expect_failures = [var.operators]
}

run "callers_are_accounts" {
  command = plan
  variables {
    callers = ["serviceAccount:app@x.iam.gserviceaccount.com"]
  }
  expect_failures = [var.callers]
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

run "instances" {
  command = plan
  variables {
    instances = { orchestrator = { min = 5, max = 2 } }
  }
  expect_failures = [var.instances]
}

run "hostname_is_no_url" {
  command = plan
  variables {
    hostname = "https://mesh.example.com/"
  }
  expect_failures = [var.hostname]
}

run "requests_per_minute" {
  command = plan
  variables {
    requests_per_minute = 0
  }
  expect_failures = [var.requests_per_minute]
}

run "monthly_budget" {
  command = plan
  variables {
    monthly_budget = { billing_account = "mine", amount = 100 }
  }
  expect_failures = [var.monthly_budget]
}

run "slo" {
  command = plan
  variables {
    slo = { availability = 99.9 }
  }
  expect_failures = [var.slo]
}

run "alert_emails" {
  command = plan
  variables {
    alert_emails = ["nobody"]
  }
  expect_failures = [var.alert_emails]
}
