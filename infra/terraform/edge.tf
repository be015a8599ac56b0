# Optional: one hostname for all roles, /ROLE/... each, the orchestrator at the root. IAM still decides who may call.
# A role for browsers has ROLE.HOSTNAME to itself.

locals {
  edge       = { for role, spec in local.roles : role => spec if var.hostname != "" }
  edge_count = var.hostname == "" ? 0 : 1
  hostnames  = var.hostname == "" ? [] : concat([var.hostname], values(local.browser_hosts))
}

resource "google_compute_region_network_endpoint_group" "role" {
  for_each = local.edge

  name                  = local.function_names[each.key]
  region                = var.region
  network_endpoint_type = "SERVERLESS"

  cloud_run {
    service = module.function[each.key].name
  }

  depends_on = [google_project_service.api]

  # What is still in use cannot be deleted: of a role that leaves, its users let go first.
  lifecycle {
    create_before_destroy = true
  }
}

resource "google_compute_security_policy" "edge" {
  count = local.edge_count

  name        = "${local.prefix}edge"
  description = "Known attacks are refused, and who asks too often waits."

  rule {
    action      = "deny(403)"
    priority    = 1000
    description = "cve-canary: Log4Shell and other known holes"
    match {
      expr {
        expression = "evaluatePreconfiguredExpr('cve-canary')"
      }
    }
  }

  dynamic "rule" {
    for_each = { 1001 = "sqli-v33-stable", 1002 = "xss-v33-stable", 1003 = "rce-v33-stable", 1004 = "protocolattack-v33-stable" }
    content {
      action      = "deny(403)"
      priority    = rule.key
      description = rule.value
      match {
        expr {
          expression = "evaluatePreconfiguredWaf('${rule.value}', {'sensitivity': 1})"
        }
      }
    }
  }

  rule {
    action      = "throttle"
    priority    = 2000
    description = "So many requests a minute from one address"
    match {
      versioned_expr = "SRC_IPS_V1"
      config {
        src_ip_ranges = ["*"]
      }
    }
    rate_limit_options {
      conform_action = "allow"
      exceed_action  = "deny(429)"
      enforce_on_key = "IP"
      rate_limit_threshold {
        count        = var.requests_per_minute
        interval_sec = 60
      }
    }
  }

  rule {
    action      = "allow"
    priority    = 2147483647
    description = "The rest"
    match {
      versioned_expr = "SRC_IPS_V1"
      config {
        src_ip_ranges = ["*"]
      }
    }
  }

  depends_on = [google_project_service.api]
}

resource "google_compute_backend_service" "role" {
  for_each = local.edge

  name                  = local.function_names[each.key]
  load_balancing_scheme = "EXTERNAL_MANAGED"
  protocol              = "HTTPS"
  security_policy       = google_compute_security_policy.edge[0].id

  backend {
    group = google_compute_region_network_endpoint_group.role[each.key].id
  }

  log_config {
    enable      = true
    sample_rate = 1
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "google_compute_url_map" "edge" {
  count = local.edge_count

  name            = "${local.prefix}edge"
  default_service = google_compute_backend_service.role["orchestrator"].id

  host_rule {
    hosts        = [var.hostname]
    path_matcher = "roles"
  }

  dynamic "host_rule" {
    for_each = local.browser_hosts
    content {
      hosts        = [host_rule.value]
      path_matcher = replace(host_rule.key, "_", "-")
    }
  }

  dynamic "path_matcher" {
    for_each = local.browser_hosts
    content {
      name            = replace(path_matcher.key, "_", "-")
      default_service = google_compute_backend_service.role[path_matcher.key].id
    }
  }

  path_matcher {
    name            = "roles"
    default_service = google_compute_backend_service.role["orchestrator"].id

    dynamic "path_rule" {
      for_each = { for role, spec in local.edge : role => spec if !contains(keys(local.browser_hosts), role) }
      content {
        paths   = ["/${path_rule.key}", "/${path_rule.key}/*"]
        service = google_compute_backend_service.role[path_rule.key].id
        route_action {
          url_rewrite {
            path_prefix_rewrite = "/"
          }
        }
      }
    }
  }
}

resource "google_compute_managed_ssl_certificate" "edge" {
  count = local.edge_count

  name = "${local.prefix}${substr(sha256(join(",", local.hostnames)), 0, 8)}"

  managed {
    domains = local.hostnames
  }

  depends_on = [google_project_service.api]

  lifecycle {
    create_before_destroy = true
  }
}

resource "google_compute_ssl_policy" "edge" {
  count = local.edge_count

  name            = "${local.prefix}edge"
  profile         = "MODERN"
  min_tls_version = "TLS_1_2"
  depends_on      = [google_project_service.api]
}

resource "google_compute_global_address" "edge" {
  count = local.edge_count

  name       = "${local.prefix}edge"
  depends_on = [google_project_service.api]
}

resource "google_compute_target_https_proxy" "edge" {
  count = local.edge_count

  name             = "${local.prefix}edge"
  url_map          = google_compute_url_map.edge[0].id
  ssl_certificates = [google_compute_managed_ssl_certificate.edge[0].id]
  ssl_policy       = google_compute_ssl_policy.edge[0].id
}

resource "google_compute_global_forwarding_rule" "edge" {
  count = local.edge_count

  name                  = "${local.prefix}edge"
  load_balancing_scheme = "EXTERNAL_MANAGED"
  target                = google_compute_target_https_proxy.edge[0].id
  ip_address            = google_compute_global_address.edge[0].id
  port_range            = "443"
}
