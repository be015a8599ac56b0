resource "random_id" "deployment" {
  byte_length = 4
}

resource "google_storage_bucket" "source" {
  #checkov:skip=CKV_GCP_62:It holds source that is in version control; Cloud Audit Logs tell who changed it.
  name                        = "${local.prefix}source-${random_id.deployment.hex}"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = !var.deletion_protection

  versioning {
    enabled = true
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      days_since_noncurrent_time = 30
    }
  }

  depends_on = [google_project_service.api]
}

module "function" {
  source   = "./modules/function"
  for_each = local.roles

  name                  = local.function_names[each.key]
  role                  = each.key
  spec                  = each.value
  instances             = try(var.instances[each.key], { min = null, max = null })
  project_id            = var.project_id
  region                = var.region
  source_root           = local.source_root
  bucket                = google_storage_bucket.source.name
  build_service_account = google_service_account.build.id
  service_account       = google_service_account.caller["role:${each.key}"].email
  url                   = local.urls[each.key]
  secrets               = { for variable, secret in try(each.value.secrets, {}) : variable => google_secret_manager_secret.secret[secret].secret_id }
  network               = var.network
  ingress               = var.hostname == "" ? "ALLOW_ALL" : try(each.value.ingress, "ALLOW_ALL")

  environment = merge(
    {
      GCP_PROJECT                   = var.project_id
      FIRESTORE_DATABASE            = google_firestore_database.mesh.name
      MESH_NAME_PREFIX              = local.prefix
      OIDC_AUDIENCE                 = join(",", [local.urls[each.key], local.run_urls[each.key]])
      OIDC_ACCEPT_REMOVED_SIGNATURE = tostring(!contains(var.public_roles, each.key))
    },
    try(each.value.callsAgents, false) ? { MESH_AGENTS = jsonencode(local.agents) } : {},
    local.sign_in[each.key],
    local.allow_lists[each.key],
    { for variable, key in try(each.value.keys, {}) : variable => data.google_kms_crypto_key_version.key[key].name },
    contains(keys(try(each.value.keys, {})), "LEDGER_KMS_KEY") ? { LEDGER_ORIGIN = local.ledger_origins[each.key] } : {},
    try(each.value.environment, {}),
    try(var.settings[each.key], {}),
  )

  # Not depends_on: that would put off reading the module's sources until apply, on every plan.
  ready = concat(
    [for api in google_project_service.api : api.id],
    [time_sleep.build_granted.id, terraform_data.table.id],
    [for version in google_secret_manager_secret_version.first : version.id],
    [for grant in google_secret_manager_secret_iam_member.reader : grant.id],
  )
}
