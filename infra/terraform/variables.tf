variable "project_id" {
  type        = string
  description = "Google Cloud project that receives the mesh."

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "project_id has to be a Google Cloud project id: 6 to 30 lower-case letters, digits and hyphens, such as my-mesh-123."
  }
}

variable "region" {
  type        = string
  description = "Region of the functions, the topics' messages, Firestore and the keys."
  default     = "europe-west1"

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region has to be one region, such as europe-west1; multi-regions such as eur3 cannot run functions."
  }
}

variable "environment" {
  type        = string
  description = "Name of this deployment, part of every resource's name: several may live in one project."
  default     = "dev"

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{0,7}$", var.environment))
    error_message = "environment has to be at most 8 lower-case letters and digits and begin with a letter, such as dev or prod."
  }
}

variable "roles_file" {
  type        = string
  description = "The table of roles, topics, subscriptions and schedules; relative to this folder."
  default     = "../roles.json"
}

variable "operators" {
  type        = set(string)
  description = "People and groups that may act as the mesh's operator account: user:..., group:... or serviceAccount:..."
  default     = []

  validation {
    condition     = alltrue([for member in var.operators : can(regex("^(user|group|serviceAccount|principal|principalSet):.+", member))])
    error_message = "Each operator has to be a principal such as user:ana@example.com or group:ops@example.com; allUsers is not one."
  }
}

variable "callers" {
  type        = set(string)
  description = "E-mails of service accounts (of your applications) that may dispatch tasks and see their own."
  default     = []

  validation {
    condition     = alltrue([for email in var.callers : can(regex("^[^@: ]+@[^@: ]+\\.gserviceaccount\\.com$", email))])
    error_message = "Each caller has to be the e-mail of a service account, without a prefix: app@my-project.iam.gserviceaccount.com."
  }
}

variable "viewers" {
  type        = set(string)
  description = "E-mails of people who may see everything in the dashboard, and change nothing. They sign in with Google."
  default     = []

  validation {
    condition     = alltrue([for email in var.viewers : can(regex("^[^@: ,]+@[^@: ,]+\\.[^@: ,]+$", email))])
    error_message = "Each viewer has to be one person's e-mail without a prefix: ana@example.com; groups cannot sign in."
  }
}

variable "sign_in_client_id" {
  type        = string
  description = "Id of the OAuth client with which people sign in to the dashboard; see docs/deploy.md. Empty: nobody can."
  default     = ""

  validation {
    condition     = var.sign_in_client_id == "" || can(regex("^[0-9]+-[0-9a-z]+\\.apps\\.googleusercontent\\.com$", var.sign_in_client_id))
    error_message = "sign_in_client_id has to be an OAuth client id such as 123456789012-abc123.apps.googleusercontent.com; the secret is no part of it."
  }
}

variable "public_roles" {
  type        = set(string)
  description = "Roles that anyone on the internet may reach (allUsers may invoke). Only roles with `browser: true` in the table, which authenticate by themselves."
  default     = []
}

variable "instances" {
  type        = map(object({ min = optional(number), max = optional(number) }))
  description = "Instances of single roles where they differ from the table, such as { orchestrator = { min = 1 } } against cold starts."
  default     = {}

  validation {
    condition     = alltrue([for each in values(var.instances) : coalesce(each.min, 0) >= 0 && coalesce(each.max, 1000) >= max(1, coalesce(each.min, 0))])
    error_message = "instances: min has to be 0 or more, and max at least 1 and not below min."
  }
}

variable "settings" {
  type        = map(map(string))
  description = "More environment variables of single roles, such as { orchestrator = { AGENT_BUDGET_CENTS = \"5000\" } }; see docs/settings.md."
  default     = {}
}

variable "deletion_protection" {
  type        = bool
  description = "Keep Firestore and the function sources on `terraform destroy`. Turn it off, apply, and only then destroy."
  default     = true
}

variable "alert_emails" {
  type        = set(string)
  description = "Who is told of alerts. Nobody: the alerts exist and show in the console."
  default     = []

  validation {
    condition     = alltrue([for email in var.alert_emails : can(regex("^[^@ ]+@[^@ ]+\\.[^@ ]+$", email))])
    error_message = "alert_emails has to be e-mail addresses."
  }
}

variable "monthly_budget" {
  type = object({
    billing_account = string
    amount          = number
    currency        = optional(string, "USD")
  })
  description = "Tell the billing administrators at 50, 80 and 100 % of this monthly sum. It caps nothing."
  default     = null

  validation {
    condition     = var.monthly_budget == null ? true : can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", var.monthly_budget.billing_account)) && var.monthly_budget.amount >= 1 && var.monthly_budget.amount == floor(var.monthly_budget.amount)
    error_message = "monthly_budget needs a billing_account like 012345-6789AB-CDEF01 and a whole amount of 1 or more."
  }
}

variable "slo" {
  type        = object({ availability = optional(number, 0.999), latency = optional(number, 0.95), latency_seconds = optional(number, 2) })
  description = "What dispatch promises over 28 days: the share of requests without a server error, and the share answered within latency_seconds."
  default     = {}

  validation {
    condition     = alltrue([for goal in [var.slo.availability, var.slo.latency] : goal > 0 && goal < 1]) && var.slo.latency_seconds > 0
    error_message = "slo: the goals have to lie between 0 and 1 (0.999 is 99.9 %), latency_seconds above 0."
  }
}

variable "hostname" {
  type        = string
  description = "One hostname for the mesh, behind a load balancer with a managed certificate and Cloud Armor. Empty: no load balancer."
  default     = ""

  validation {
    condition     = var.hostname == "" || can(regex("^([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)+[a-z]{2,}$", var.hostname))
    error_message = "hostname has to be a DNS name such as mesh.example.com, without https:// and without a path."
  }
}

variable "requests_per_minute" {
  type        = number
  description = "What one IP address may send through the load balancer before it is answered 429."
  default     = 1200

  validation {
    condition     = var.requests_per_minute >= 1 && var.requests_per_minute <= 10000 && var.requests_per_minute == floor(var.requests_per_minute)
    error_message = "requests_per_minute has to be a whole number from 1 to 10000."
  }
}

variable "network" {
  type        = object({ network = string, subnetwork = string, all_traffic = optional(bool, false) })
  description = "Send the functions' outgoing traffic through this VPC network: private addresses only, or all of it."
  default     = null
}
