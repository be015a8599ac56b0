output "name" {
  description = "Name of the function and of its Cloud Run service."
  value       = google_cloudfunctions2_function.function.name
}

output "url" {
  description = "Its base URL, which is also its audience."
  value       = google_cloudfunctions2_function.function.url
}

output "source_hash" {
  description = "SHA-256 of the source that runs."
  value       = data.archive_file.source.output_sha256
}
