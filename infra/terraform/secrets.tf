# Each secret begins with a random value, so that the mesh works at once. Later versions are added with gcloud, not here.

resource "random_password" "first" {
  for_each = local.secrets

  length  = each.value.bytes
  special = false
}

resource "google_secret_manager_secret" "secret" {
  for_each = local.secrets

  secret_id = "${local.prefix}${each.key}"

  replication {
    user_managed {
      replicas {
        location = var.region
      }
    }
  }

  depends_on = [google_project_service.api]
}

resource "google_secret_manager_secret_version" "first" {
  for_each = local.secrets

  secret      = google_secret_manager_secret.secret[each.key].id
  secret_data = "${each.value.prefix}${base64encode(random_password.first[each.key].result)}"
}

resource "google_secret_manager_secret_iam_member" "reader" {
  for_each = merge([for role, spec in local.roles : {
    for secret in distinct(values(try(spec.secrets, {}))) : "${role}->${secret}" => { role = role, secret = secret }
  }]...)

  secret_id = google_secret_manager_secret.secret[each.value.secret].secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.caller["role:${each.value.role}"].member
}
