# Names stay within Google's limits, and apart from each other, for the longest of everything.

mock_provider "google" {
  mock_data "google_project" {
    defaults = { number = "123456789012" }
  }
}
mock_provider "google-beta" {}
mock_provider "archive" {}
mock_provider "random" {}

variables {
  project_id  = "a-project-with-thirty-letters1"
  environment = "staging1"
  roles_file  = "tests/tables/long_names.json"
}

run "accounts_have_6_to_30_characters_and_differ" {
  command = plan

  assert {
    condition     = alltrue([for id in values(local.account_ids) : can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", id))])
    error_message = "An account id is no id: ${join(", ", values(local.account_ids))}"
  }
  assert {
    condition     = length(distinct(values(local.account_ids))) == length(local.account_ids)
    error_message = "Two callers share an account: ${join(", ", values(local.account_ids))}"
  }
}

run "a_functions_two_urls_fit_into_dns" {
  command = plan

  assert {
    condition     = alltrue([for name in values(local.function_names) : length(name) <= 63])
    error_message = "A function's name is too long."
  }
  assert {
    condition     = alltrue([for url in concat(values(local.urls), values(local.run_urls)) : length(split(".", split("/", url)[2])[0]) <= 63])
    error_message = "The first label of a URL is too long, so Cloud Run would not give it."
  }
}

run "another_environment_shares_no_name" {
  command = plan

  variables {
    environment = "prod"
  }

  assert {
    condition     = length(setintersection(values(local.account_ids), [for key, name in local.account_names : replace(name, "mesh-prod-", "mesh-dev-")])) == 0
    error_message = "Two environments share an account."
  }
}
