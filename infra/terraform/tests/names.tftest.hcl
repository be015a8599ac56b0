# Names stay within Google's limits, and apart from each other, for the longest of everything.

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
  project_id  = "a-project-with-thirty-letters1"
  region      = "northamerica-northeast1"
  environment = "staging1"
  roles_file  = "tests/tables/long_names.json"
}

run "names_fit_and_differ" {
  command = plan

  assert {
    condition     = alltrue([for id in values(local.account_ids) : can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", id))])
    error_message = "An account id is no id: ${join(", ", values(local.account_ids))}"
  }
  assert {
    condition     = length(distinct(values(local.account_ids))) == length(local.account_ids)
    error_message = "Two callers share an account: ${join(", ", values(local.account_ids))}"
  }
  assert {
    condition     = alltrue([for name in values(local.function_names) : length(name) <= 49])
    error_message = "A function's name is too long for its Cloud Run service."
  }
  assert {
    condition     = alltrue([for url in concat(values(local.urls), values(local.run_urls)) : length(split(".", split("/", url)[2])[0]) <= 63])
    error_message = "The first label of a URL is too long, so Cloud Run would not give it."
  }
}

run "a_role_never_shares_an_account" {
  command = plan

  variables {
    roles_file = "tests/tables/shared_account.json"
  }

  expect_failures = [terraform_data.table]
}
