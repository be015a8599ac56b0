# Keys that sign and never leave Cloud KMS. A key ring cannot be deleted, so its name is new with each deployment.

resource "google_kms_key_ring" "mesh" {
  name       = "mesh-${var.environment}-${random_id.deployment.hex}"
  location   = var.region
  depends_on = [google_project_service.api]
}

resource "google_kms_crypto_key" "key" {
  #checkov:skip=CKV_GCP_43:Keys that sign are not rotated by time; Cloud KMS offers it for symmetric keys only.
  #checkov:skip=CKV_GCP_82:What was signed stays verifiable with the public key; destruction waits 30 days in any case.
  for_each = local.keys

  name                       = each.key
  key_ring                   = google_kms_key_ring.mesh.id
  purpose                    = "ASYMMETRIC_SIGN"
  destroy_scheduled_duration = "2592000s"

  version_template {
    algorithm = each.value.algorithm
  }
}

data "google_kms_crypto_key_version" "key" {
  for_each = toset(flatten([for spec in values(local.roles) : values(try(spec.keys, {}))]))

  crypto_key = google_kms_crypto_key.key[each.key].id
}

resource "google_kms_crypto_key_iam_member" "signer" {
  for_each = merge([for role, spec in local.roles : {
    for key in distinct(values(try(spec.keys, {}))) : "${role}->${key}" => { role = role, key = key }
  }]...)

  crypto_key_id = google_kms_crypto_key.key[each.value.key].id
  role          = "roles/cloudkms.signerVerifier"
  member        = google_service_account.caller["role:${each.value.role}"].member
}
