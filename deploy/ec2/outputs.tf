output "region" {
  description = "The region that everything is in."
  value       = module.common.region
}

output "group" {
  description = "The Auto Scaling group. Its desired size is 1 while a job is to be done."
  value       = aws_autoscaling_group.job.name
}

output "bundle" {
  description = "Where instances find what they install."
  value       = local.bundle
}

output "run" {
  description = "Where instances find what `job run` was told."
  value       = local.run
}

output "architecture" {
  description = "The processors that the bundle is for."
  value       = var.architecture
}

output "sources" {
  description = "What a run without arguments loads."
  value       = join(" ", var.sources)
}

output "readable" {
  description = "What the job may read: what the addresses of sources begin with."
  value       = "s3://${var.source_bucket}/${var.source_prefix}"
}

output "log_group_name" {
  description = "The log; each instance has a stream."
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
