# The database with every index and TTL policy of infra/firestore.indexes.json, which the local Firestore enforces too.

locals {
  declared = jsondecode(file("${path.module}/../firestore.indexes.json"))
  indexes = { for index in local.declared.indexes :
    join(",", concat([index.collectionGroup], [for field in index.fields : "${field.fieldPath}:${try(field.order, field.arrayConfig)}"])) => index
  }
  fields = { for field in local.declared.fieldOverrides : "${field.collectionGroup}.${field.fieldPath}" => field }
}

resource "google_firestore_database" "mesh" {
  #checkov:skip=CKV_GCP_125:Encrypted with Google's keys; a key of one's own adds a way to lose the database.
  name                              = "mesh-${var.environment}-${random_id.deployment.hex}"
  location_id                       = var.region
  type                              = "FIRESTORE_NATIVE"
  concurrency_mode                  = "PESSIMISTIC"
  point_in_time_recovery_enablement = "POINT_IN_TIME_RECOVERY_ENABLED"
  delete_protection_state           = var.deletion_protection ? "DELETE_PROTECTION_ENABLED" : "DELETE_PROTECTION_DISABLED"
  deletion_policy                   = "DELETE"
  depends_on                        = [google_project_service.api]
}

resource "google_firestore_backup_schedule" "daily" {
  database  = google_firestore_database.mesh.name
  retention = "1209600s" # 14 days

  daily_recurrence {}
}

resource "google_firestore_index" "index" {
  for_each = local.indexes

  database    = google_firestore_database.mesh.name
  collection  = each.value.collectionGroup
  query_scope = each.value.queryScope

  dynamic "fields" {
    for_each = each.value.fields
    content {
      field_path   = fields.value.fieldPath
      order        = try(fields.value.order, null)
      array_config = try(fields.value.arrayConfig, null)
    }
  }
}

resource "google_firestore_field" "field" {
  for_each = local.fields

  database   = google_firestore_database.mesh.name
  collection = each.value.collectionGroup
  field      = each.value.fieldPath

  index_config {
    dynamic "indexes" {
      for_each = each.value.indexes
      content {
        query_scope  = indexes.value.queryScope
        order        = try(indexes.value.order, null)
        array_config = try(indexes.value.arrayConfig, null)
      }
    }
  }

  dynamic "ttl_config" {
    for_each = try(each.value.ttl, false) ? [true] : []
    content {}
  }
}

# Browsers and phones get nothing: only the functions read and write, and IAM, not rules, decides about them.
resource "google_firebaserules_ruleset" "closed" {
  source {
    files {
      name    = "firestore.rules"
      content = <<-RULES
        rules_version = '2';
        service cloud.firestore {
          match /databases/{database}/documents {
            match /{document=**} {
              allow read, write: if false;
            }
          }
        }
      RULES
    }
  }

  depends_on = [google_project_service.api]

  # A ruleset that is released cannot be deleted: other rules are released first.
  lifecycle {
    create_before_destroy = true
  }
}

resource "google_firebaserules_release" "closed" {
  name         = "cloud.firestore/${google_firestore_database.mesh.name}"
  ruleset_name = google_firebaserules_ruleset.closed.name
}
