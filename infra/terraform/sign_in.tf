# Where people sign in. A role for browsers has an origin of its own: at a path of a host that others share, their pages
# could use its sessions. So it is Cloud Run's name, never cloudfunctions.net, or a host below `hostname`.

locals {
  browser_hosts = { for role, spec in local.edge : role => "${replace(role, "_", "-")}.${var.hostname}" if try(spec.browser, false) }
  origins = { for role, spec in local.roles : role =>
    contains(keys(local.browser_hosts), role) ? "https://${local.browser_hosts[role]}" : local.run_urls[role] if try(spec.browser, false)
  }

  sign_in = { for role, spec in local.roles : role => try(spec.signsIn, false) ? {
    DASHBOARD_URL     = local.origins[role]
    SIGN_IN_CLIENT_ID = var.sign_in_client_id
  } : {} }
}
