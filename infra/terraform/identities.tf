# One account per role, per push subscription, per schedule, one for operators and one that builds.

resource "google_service_account" "caller" {
  for_each = local.account_ids

  account_id   = each.value
  display_name = "Agent Mesh ${var.environment}, ${each.key}"
  depends_on   = [google_project_service.api]
}

resource "google_service_account" "build" {
  account_id   = local.build_account
  display_name = "Agent Mesh ${var.environment}, builds the functions"
  depends_on   = [google_project_service.api]
}

resource "google_project_iam_member" "build" {
  for_each = toset(["roles/artifactregistry.writer", "roles/logging.logWriter"])

  project = var.project_id
  role    = each.key
  member  = google_service_account.build.member
}

# Cloud Functions builds from its own copy of the source, in a bucket that it makes itself.
resource "google_project_iam_member" "build_source" {
  project = var.project_id
  role    = "roles/storage.objectViewer"
  member  = google_service_account.build.member

  condition {
    title      = "${local.prefix}build-source"
    expression = "resource.name.startsWith(\"projects/_/buckets/gcf-v2-sources-${data.google_project.this.number}-${var.region}\")"
  }
}

# A grant takes a while to be known everywhere, and a build that starts before fails.
resource "time_sleep" "build_granted" {
  create_duration = "60s"
  triggers = merge(
    { for role, grant in google_project_iam_member.build : role => grant.id },
    { copy = google_project_iam_member.build_source.id, source = google_storage_bucket_iam_member.build.id },
  )
}

resource "google_storage_bucket_iam_member" "build" {
  bucket = google_storage_bucket.source.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.build.member
}

# Operators never hold a key: they ask for ID tokens of the operator account, and nothing else of it.
resource "google_service_account_iam_member" "operator" {
  for_each = var.operators

  service_account_id = google_service_account.caller["developer"].name
  role               = "roles/iam.serviceAccountOpenIdTokenCreator"
  member             = each.key
}

# Pub/Sub mints the tokens of its pushes as the subscription's own account.
resource "google_service_account_iam_member" "push" {
  for_each = local.subscriptions

  service_account_id = google_service_account.caller["subscription:${each.key}"].name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = local.pubsub_agent
  depends_on         = [time_sleep.agents_known]
}

resource "google_cloud_run_v2_service_iam_member" "invoker" {
  for_each = local.invokers

  project    = var.project_id
  location   = var.region
  name       = module.function[each.value.role].name
  role       = "roles/run.invoker"
  member     = "serviceAccount:${each.value.email}"
  depends_on = [google_service_account.caller]
}

resource "google_cloud_run_v2_service_iam_member" "public" {
  for_each = var.public_roles

  project  = var.project_id
  location = var.region
  name     = module.function[each.key].name
  role     = "roles/run.invoker"
  member   = "allUsers"
}

# Only this environment's database, not every one of the project.
resource "google_project_iam_member" "firestore" {
  for_each = local.roles

  project = var.project_id
  role    = "roles/datastore.user"
  member  = google_service_account.caller["role:${each.key}"].member

  condition {
    title      = "${local.prefix}database"
    expression = "resource.name == \"projects/${var.project_id}/databases/${google_firestore_database.mesh.name}\""
  }
}
