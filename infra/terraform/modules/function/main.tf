terraform {
  required_providers {
    google = {
      source = "hashicorp/google"
    }
    archive = {
      source = "hashicorp/archive"
    }
  }
}

data "archive_file" "source" {
  type             = "zip"
  output_path      = "${path.root}/.build/${var.name}.zip"
  output_file_mode = "0644"

  dynamic "source" {
    for_each = local.files
    content {
      filename = source.key
      content  = file(source.value)
    }
  }
}

# The content's hash is in the name: a function is deployed again when its content changes, and only then.
resource "google_storage_bucket_object" "source" {
  bucket = var.bucket
  name   = "${var.role}/${data.archive_file.source.output_sha256}.zip"
  source = data.archive_file.source.output_path
}

resource "google_cloudfunctions2_function" "function" {
  #checkov:skip=CKV_GCP_124:Callers are outside of the VPC; IAM and the function itself check every one of them.
  name        = var.name
  location    = var.region
  description = "Agent Mesh, role ${var.role}"

  build_config {
    runtime         = "python313"
    entry_point     = var.spec.entryPoint
    service_account = var.build_service_account

    source {
      storage_source {
        bucket = google_storage_bucket_object.source.bucket
        object = google_storage_bucket_object.source.name
      }
    }
  }

  service_config {
    service_account_email            = var.service_account
    available_memory                 = var.spec.memory
    available_cpu                    = tostring(var.spec.cpu)
    timeout_seconds                  = var.spec.timeoutSeconds
    min_instance_count               = coalesce(var.instances.min, var.spec.minInstances)
    max_instance_count               = coalesce(var.instances.max, var.spec.maxInstances)
    max_instance_request_concurrency = var.spec.concurrency
    ingress_settings                 = var.ingress
    environment_variables            = merge(var.environment, { THREADS = tostring(var.spec.concurrency) })

    direct_vpc_egress = var.network == null ? null : var.network.all_traffic ? "VPC_EGRESS_ALL_TRAFFIC" : "VPC_EGRESS_PRIVATE_RANGES_ONLY"

    dynamic "direct_vpc_network_interface" {
      for_each = var.network == null ? [] : [var.network]
      content {
        network    = direct_vpc_network_interface.value.network
        subnetwork = direct_vpc_network_interface.value.subnetwork
      }
    }

    dynamic "secret_environment_variables" {
      for_each = var.secrets
      content {
        key        = secret_environment_variables.key
        project_id = var.project_id
        secret     = secret_environment_variables.value
        version    = "latest"
      }
    }
  }

  lifecycle {
    postcondition {
      condition     = self.url == var.url
      error_message = "The function got the URL ${self.url}, but its callers were told ${var.url}: their tokens would be refused."
    }
  }

  depends_on = [var.ready]
}
