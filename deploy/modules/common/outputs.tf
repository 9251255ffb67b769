output "environment" {
  description = "The job's environment, complete but for what the target adds (CSV2KAFKA_WATCH)."
  value       = local.environment
}

output "prefix" {
  description = "What everything is called: name and target."
  value       = local.prefix
}

output "tags" {
  description = "Tags of everything."
  value       = local.tags
}

output "region" {
  description = "The region."
  value       = local.region
}

output "partition" {
  description = "AWS's partition, as ARNs begin with it."
  value       = local.partition
}

output "account" {
  description = "The account."
  value       = local.account
}

output "job_policy_arn" {
  description = "The policy with what the job may do, for the role that it runs as."
  value       = aws_iam_policy.job.arn
}

output "security_group_id" {
  description = "The job's security group."
  value       = aws_security_group.job.id
}

output "log_group_name" {
  description = "Where the job's log goes."
  value       = aws_cloudwatch_log_group.job.name
}

output "log_group_arn" {
  description = "Its ARN, without :* behind it; known when planned."
  value       = local.log_arn
}

output "table_name" {
  description = "The checkpoint table."
  value       = aws_dynamodb_table.checkpoints.name
}

output "table_arn" {
  description = "Its ARN, known when planned."
  value       = local.table_arn
}

output "repository_url" {
  description = "Where the image is pushed to, known when planned. Null without a repository."
  value       = var.repository ? "${local.account}.dkr.ecr.${local.region}.${data.aws_partition.current.dns_suffix}/${local.prefix}" : null
}

output "repository_arn" {
  description = "Its ARN, known when planned. Null without a repository."
  value       = var.repository ? "arn:${local.partition}:ecr:${local.region}:${local.account}:repository/${local.prefix}" : null
}

output "alarm_topic_arn" {
  description = "The topic that alarms are sent to."
  value       = aws_sns_topic.alarms.arn
}

output "kms_key_arn" {
  description = "The key of one's own. Null without."
  value       = one(aws_kms_key.own[*].arn)
}
