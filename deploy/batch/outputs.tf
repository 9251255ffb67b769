output "region" {
  description = "Where all of it is."
  value       = module.common.region
}

output "prefix" {
  description = "What everything is called."
  value       = local.prefix
}

output "job_queue" {
  description = "The queue."
  value       = aws_batch_job_queue.jobs.name
}

output "job_definition" {
  description = "The definition of a job."
  value       = aws_batch_job_definition.job[local.prefix].name
}

output "array_job_definition" {
  description = "The definition of an array job's children: without sources, topic, partition and job, which the manifest says."
  value       = aws_batch_job_definition.job["${local.prefix}-array"].name
}

output "job_name" {
  description = "The job's name, where it has one."
  value       = var.job
}

output "has_sources" {
  description = "Whether ./job run can do without naming any."
  value       = length(var.sources) > 0
}

output "has_topic" {
  description = "Whether ./job run can start a job; else only array jobs, whose files say topics."
  value       = var.topic != null
}

output "readable" {
  description = "What the job may read: what the addresses of sources begin with."
  value       = "s3://${var.source_bucket}/${var.source_prefix}"
}

output "source_bucket" {
  description = "The bucket of sources and manifests."
  value       = var.source_bucket
}

output "manifest_prefix" {
  description = "Where manifests of array jobs are put."
  value       = var.manifest_prefix
}

output "architecture" {
  description = "What the image must be built for."
  value       = var.architecture
}

output "repository_url" {
  description = "Where the image is pushed to. Null where it is kept elsewhere."
  value       = module.common.repository_url
}

output "log_group_name" {
  description = "Where jobs write their log."
  value       = module.common.log_group_name
}

output "table_name" {
  description = "The checkpoint table."
  value       = module.common.table_name
}

output "alarm_topic_arn" {
  description = "The topic that alarms are sent to."
  value       = module.common.alarm_topic_arn
}
