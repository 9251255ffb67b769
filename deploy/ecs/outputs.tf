output "region" {
  description = "The region."
  value       = module.common.region
}

output "state_machine_arn" {
  description = "What runs jobs; known when planned."
  value       = local.state_machine
  depends_on  = [aws_sfn_state_machine.job]
}

output "cluster_name" {
  description = "The ECS cluster."
  value       = aws_ecs_cluster.jobs.name
}

output "task_definition_arn" {
  description = "The task definition, with its revision."
  value       = aws_ecs_task_definition.job.arn
}

output "repository_url" {
  description = "Where the image is pushed to. Null with an image of one's own."
  value       = module.common.repository_url
}

output "architecture" {
  description = "What the image must be built for."
  value       = var.architecture
}

output "log_group_name" {
  description = "The job's log."
  value       = module.common.log_group_name
}

output "table_name" {
  description = "The checkpoint table."
  value       = module.common.table_name
}

output "turns_table_name" {
  description = "The table with whose turn it is."
  value       = aws_dynamodb_table.turns.name
}

output "alarm_topic_arn" {
  description = "The topic that alarms are sent to."
  value       = module.common.alarm_topic_arn
}

output "topic" {
  description = "The Kafka topic."
  value       = var.topic
}

output "readable" {
  description = "What the job may read: what the addresses of sources begin with."
  value       = "s3://${var.source_bucket}/${var.source_prefix}"
}

output "has_sources" {
  description = "Whether ./job run can do without naming any."
  value       = length(var.sources) > 0
}
