# The table (infra/roles.json) as the other files need it. Whoever may call whom is decided there and nowhere else.

locals {
  table         = jsondecode(file("${path.module}/${var.roles_file}"))
  roles         = local.table.roles
  subscriptions = local.table.subscriptions
  parked        = try(local.table.parked, {})
  schedules     = try(local.table.schedules, {})
  secrets       = try(local.table.secrets, {})
  keys          = try(local.table.keys, {})

  prefix      = "mesh-${var.environment}-"
  source_root = abspath("${path.module}/../..")
  labels      = { app = "agent-mesh", environment = var.environment }

  # The table's names of callers -> the accounts they call with; a name over 30 characters ends in a digest of itself.
  account_names = merge(
    { for name, _ in local.roles : "role:${name}" => "${local.prefix}${replace(name, "_", "-")}" },
    { for name, _ in local.subscriptions : "subscription:${name}" => "${local.prefix}push-${name}" },
    { for name, _ in local.schedules : "schedule:${name}" => "${local.prefix}schedule-${name}" },
    { developer = "${local.prefix}operator" },
  )
  account_ids = { for key, name in local.account_names : key =>
    length(name) <= 30 ? name : "${trimsuffix(substr(name, 0, 21), "-")}-${substr(sha256(name), 0, 8)}"
  }
  build_account = "${local.prefix}build"
  emails        = { for key, id in local.account_ids : key => "${id}@${var.project_id}.iam.gserviceaccount.com" }

  # Those whom the variables name. Viewers come through the browser, where IAM knows nobody: the function alone decides.
  people_emails = { callers = var.callers, viewers = var.viewers }
  people        = keys(local.people_emails)

  # Who may call a role: everybody in any of its allow-lists.
  callers = { for role, spec in local.roles : role => distinct(flatten(values(try(spec.allow, {})))) }
  invokers = merge([for role, references in local.callers : merge(
    { for reference in references : "${role}<-${reference}" => { role = role, email = local.emails[reference] } if !contains(local.people, reference) },
    { for email in var.callers : "${role}<-${email}" => { role = role, email = email } if contains(references, "callers") },
  )]...)
  allow_lists = { for role, spec in local.roles : role => { for list, references in try(spec.allow, {}) : list =>
    join(",", flatten([for reference in references : contains(local.people, reference) ? sort(tolist(local.people_emails[reference])) : [local.emails[reference]]]))
  } }

  function_names = { for role, _ in local.roles : role => "${local.prefix}${replace(role, "_", "-")}" }
  # Both addresses of a function are known before it exists, so it can be told its own audience without a circle.
  urls     = { for role, name in local.function_names : role => "https://${var.region}-${var.project_id}.cloudfunctions.net/${name}" }
  run_urls = { for role, name in local.function_names : role => "https://${name}-${data.google_project.this.number}.${var.region}.run.app" }

  # A ledger is named after the function that keeps it: no other deployment's has that name.
  ledger_origins = { for role, url in local.urls : role => trimprefix(url, "https://") }

  # What `settings` may not change: it would part a function from what it is granted.
  own_variables = { for role, spec in local.roles : role => concat(
    ["GCP_PROJECT", "FIRESTORE_DATABASE", "MESH_NAME_PREFIX", "OIDC_AUDIENCE", "OIDC_ACCEPT_REMOVED_SIGNATURE", "MESH_AGENTS", "THREADS"],
    keys(try(spec.allow, {})), keys(try(spec.secrets, {})), keys(try(spec.keys, {})), keys(local.sign_in[role]),
  ) }

  agents = { for name, agent in try(local.table.agents, {}) : name => {
    url          = local.urls[agent.role]
    audience     = local.urls[agent.role]
    maxCostCents = agent.maxCostCents
  } }
}

data "google_project" "this" {
  project_id = var.project_id
}

# A table that contradicts itself is refused before anything is planned.
resource "terraform_data" "table" {
  lifecycle {
    precondition {
      condition     = alltrue([for role, _ in local.roles : can(regex("^[a-z][a-z0-9_]{1,29}$", role))])
      error_message = "A role's name has to be 2 to 30 lower-case letters, digits and underscores: ${join(", ", keys(local.roles))}."
    }
    precondition {
      condition     = length(distinct(concat(values(local.account_ids), [local.build_account]))) == length(local.account_ids) + 1
      error_message = "Two names of the table would share an account, such as a role operator or build, or a role push_x beside a subscription x: ${join(", ", sort(values(local.account_ids)))}."
    }
    precondition {
      condition     = alltrue([for role, settings in var.settings : length(setintersection(keys(settings), try(local.own_variables[role], []))) == 0])
      error_message = "settings may not set what the table or Terraform sets: ${join(", ", flatten([for role, settings in var.settings : setintersection(keys(settings), try(local.own_variables[role], []))]))}."
    }
    precondition {
      condition     = contains(["default", var.environment], terraform.workspace)
      error_message = "The workspace ${terraform.workspace} holds the state of another environment than ${var.environment}: applying would replace that one."
    }
    precondition {
      condition     = alltrue([for role, spec in local.roles : spec.concurrency == 1 || spec.cpu >= 1])
      error_message = "A role with concurrency above 1 needs at least 1 CPU: ${join(", ", [for role, spec in local.roles : role if spec.concurrency > 1 && spec.cpu < 1])}."
    }
    precondition {
      condition     = alltrue([for role, _ in var.instances : contains(keys(local.roles), role)]) && alltrue([for role, _ in var.settings : contains(keys(local.roles), role)])
      error_message = "instances and settings may name only roles of the table: ${join(", ", keys(local.roles))}."
    }
    precondition {
      condition     = alltrue([for role in var.public_roles : try(local.roles[role].browser, false)])
      error_message = "public_roles may name only roles with `browser: true` in the table: ${join(", ", [for role, spec in local.roles : role if try(spec.browser, false)])}."
    }
    precondition {
      condition     = alltrue([for role, spec in local.roles : !try(spec.signsIn, false) || try(spec.browser, false)])
      error_message = "A role that signs people in has to be `browser: true`: ${join(", ", [for role, spec in local.roles : role if try(spec.signsIn, false) && !try(spec.browser, false)])}."
    }
    precondition {
      condition     = alltrue([for name, schedule in local.schedules : contains(keys(local.cron), name)])
      error_message = "A schedule's everySeconds has to be a divisor of an hour or of a day in whole minutes, such as 60, 900 or 86400: ${join(", ", [for name, _ in local.schedules : name if !contains(keys(local.cron), name)])}."
    }
    precondition {
      condition     = alltrue([for name, subscription in local.subscriptions : subscription.ackDeadlineSeconds >= local.roles[subscription.push.role].timeoutSeconds])
      error_message = "A subscription's ackDeadlineSeconds has to cover its role's timeoutSeconds, or a long call is delivered twice."
    }
    precondition {
      condition     = alltrue([for name, subscription in local.subscriptions : contains(local.callers[subscription.push.role], "subscription:${name}")])
      error_message = "A subscription pushes to a role that does not allow it: ${join(", ", [for name, subscription in local.subscriptions : name if !contains(local.callers[subscription.push.role], "subscription:${name}")])}."
    }
    precondition {
      condition     = length(local.fan_out) == 0 || contains(local.table.topics, "relay")
      error_message = "A role with fansOut subscribes to the topic relay, which the table does not have: ${join(", ", local.fan_out)}."
    }
    precondition {
      condition     = alltrue([for name, schedule in local.schedules : contains(local.callers[schedule.role], "schedule:${name}")])
      error_message = "A schedule calls a role that does not allow it."
    }
  }
}
