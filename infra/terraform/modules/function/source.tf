# What goes into the zip: main.py and requirements.txt of the role, and the package beside them.

locals {
  package = "${var.source_root}/shared/agent_mesh"
  files = merge(
    { for name in ["main.py", "requirements.txt"] : name => "${var.source_root}/${var.spec.source}/${name}" },
    { for name in fileset(local.package, "**/*.{py,typed,json,rego,html,css,js,svg}") : "agent_mesh/${name}" => "${local.package}/${name}" },
  )
}
