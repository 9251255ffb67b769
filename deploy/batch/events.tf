# What Batch itself tells to the topic of alarms: a job that is given up, after its last attempt or one that is not tried
# again; and one that waits at the head of the queue and cannot start (no Spot capacity, for instance). The children of an
# array job are not told one by one, but all in one with the array job.

locals {
  events = {
    failed = {
      type   = "Batch Job State Change"
      detail = { status = ["FAILED"], arrayProperties = { index = [{ exists = false }] } }
      text   = "has failed. ./job status has Batch's reason, the last line of its log says why; ./job logs shows it."
    }
    blocked = {
      type   = "Batch Job Queue Blocked"
      detail = {}
      text   = "waits and cannot start. It starts by itself as soon as it can; ./job status has the reason."
    }
  }
}

resource "aws_cloudwatch_event_rule" "jobs" {
  for_each = local.events

  name        = "${local.prefix}-${each.key}"
  description = "A job of ${local.prefix} is ${each.key}."
  tags        = module.common.tags

  event_pattern = jsonencode({
    source      = ["aws.batch"]
    detail-type = [each.value.type]
    detail      = merge({ jobQueue = [local.queue_arn] }, each.value.detail)
  })
}

resource "aws_cloudwatch_event_target" "alarms" {
  for_each = local.events

  rule = aws_cloudwatch_event_rule.jobs[each.key].name
  arn  = module.common.alarm_topic_arn

  # Not the reason: quotes in it (of a registry's answer) would make what is sent no JSON, and nothing would come.
  input_transformer {
    input_paths = {
      job    = "$.detail.jobName"
      id     = "$.detail.jobId"
      region = "$.region"
    }
    input_template = "\"csv2kafka: the Batch job <job> (<id>, <region>) ${each.value.text}\""
  }
}
