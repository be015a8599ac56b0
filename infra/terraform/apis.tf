locals {
  apis = toset(concat([
    "artifactregistry", "cloudbuild", "cloudfunctions", "cloudkms", "cloudresourcemanager", "cloudscheduler", "firebaserules",
    "firestore", "iam", "iamcredentials", "logging", "monitoring", "pubsub", "run", "secretmanager", "storage",
    ],
    var.hostname == "" && var.network == null ? [] : ["compute"],
    var.monthly_budget == null ? [] : ["billingbudgets"],
  ))
}

resource "google_project_service" "api" {
  for_each = local.apis

  service            = "${each.key}.googleapis.com"
  disable_on_destroy = false # another system in this project may use it
}

# Google's own accounts in this project. Some exist only once they are asked for, and are known everywhere only later.
resource "google_project_service_identity" "agent" {
  provider = google-beta
  for_each = toset(["monitoring", "pubsub"])

  service    = "${each.key}.googleapis.com"
  depends_on = [google_project_service.api]
}

resource "time_sleep" "agents_known" {
  create_duration = "60s"
  triggers        = { for service, agent in google_project_service_identity.agent : service => agent.id }
}

locals {
  pubsub_agent     = google_project_service_identity.agent["pubsub"].member
  monitoring_agent = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-monitoring-notification.iam.gserviceaccount.com"
}
