output "urls" {
  description = "URL of every role, which is also the audience of its tokens."
  value       = { for role, function in module.function : role => function.url }
}

output "mesh" {
  description = "What `agent-mesh login` reads: `terraform output -json mesh > mesh.json`."
  value = {
    project     = var.project_id
    environment = var.environment
    url         = module.function["orchestrator"].url
    functions   = { for role, function in module.function : role => function.url if role != "orchestrator" }
    actAs       = google_service_account.caller["developer"].email
  }
}

output "operator" {
  description = "The account that operators act as."
  value       = google_service_account.caller["developer"].email
}

output "accounts" {
  description = "Account of every caller, by its name in the table."
  value       = local.emails
}

output "sources" {
  description = "SHA-256 of the source of every role that runs."
  value       = { for role, function in module.function : role => function.source_hash }
}

output "database" {
  description = "Name of the Firestore database."
  value       = google_firestore_database.mesh.name
}

output "load_balancer_address" {
  description = "Where the DNS name has to point, if there is a load balancer."
  value       = one(google_compute_global_address.edge[*].address)
}

output "sign_in" {
  description = "Of every role that signs people in: its origin, the redirect URI that its OAuth client must allow, and the secret that wants the client's secret."
  value = { for role, spec in local.roles : role => {
    origin       = local.origins[role]
    redirect_uri = "${local.origins[role]}/auth/callback"
    secret       = google_secret_manager_secret.secret[spec.secrets.SIGN_IN_CLIENT_SECRET].secret_id
  } if try(spec.signsIn, false) }
}

output "hostnames" {
  description = "DNS names that have to point to the load balancer, if there is one."
  value       = local.hostnames
}

output "try_it" {
  description = "Three calls to try first: is it alive, do something, what became of it."
  value       = <<-SHELL
    TOKEN=$(agent-mesh token orchestrator --url ${module.function["orchestrator"].url} --as ${google_service_account.caller["developer"].email})
    curl -H "Authorization: Bearer $TOKEN" ${module.function["orchestrator"].url}/health
    curl -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" ${module.function["orchestrator"].url}/dispatch -d '{"agent": "light", "payload": {"msg": "hello"}, "ttl": '$(($(date +%s) + 60))', "budgetCents": 10, "idempotencyKey": "first"}'
    curl -H "Authorization: Bearer $TOKEN" ${module.function["orchestrator"].url}/tasks
  SHELL
}
