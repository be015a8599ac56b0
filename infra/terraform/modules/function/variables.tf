variable "name" {
  type        = string
  description = "Name of the function and of its Cloud Run service."
}

variable "role" {
  type        = string
  description = "The role's name in the table."
}

variable "spec" {
  type = object({
    source         = string
    entryPoint     = string
    memory         = string
    cpu            = number
    concurrency    = number
    timeoutSeconds = number
    minInstances   = number
    maxInstances   = number
  })
  description = "The role's row of the table, as far as it concerns the function itself."
}

variable "instances" {
  type        = object({ min = optional(number), max = optional(number) })
  description = "Instances that win over the table's."
}

variable "project_id" {
  type        = string
  description = "Project of the function and of its secrets."
}

variable "region" {
  type        = string
  description = "Region of the function."
}

variable "source_root" {
  type        = string
  description = "Top of the repository: the role's source folder and shared/agent_mesh lie below it."
}

variable "bucket" {
  type        = string
  description = "Bucket that receives the source."
}

variable "build_service_account" {
  type        = string
  description = "Full name of the account that builds."
}

variable "service_account" {
  type        = string
  description = "E-mail of the account that the function runs as."
}

variable "url" {
  type        = string
  description = "The URL that everybody was told; the function must get this one."
}

variable "environment" {
  type        = map(string)
  description = "Environment variables, but THREADS, which follows from the concurrency."
}

variable "secrets" {
  type        = map(string)
  description = "Environment variable -> id of the secret whose newest version it holds."
}

variable "network" {
  type        = object({ network = string, subnetwork = string, all_traffic = optional(bool, false) })
  description = "VPC network for outgoing traffic, or null."
}

variable "ingress" {
  type        = string
  description = "From where the function can be reached at all; who may call it is IAM's to say."
}

variable "ready" {
  type        = list(string)
  description = "Ids of what has to exist before the function is built."
}
