# What starts a job by itself: an upload, a schedule. And who is told when one has failed.

locals {
  # Those that are there: the service that starts jobs, and the name of its role.
  starts = toset(concat(var.run_on_upload ? ["events"] : [], var.schedule == null ? [] : ["scheduler"]))
}

data "aws_iam_policy_document" "of_starts" {
  for_each = local.starts

  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["${each.value}.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [module.common.account]
    }
  }
}

data "aws_iam_policy_document" "starts" {
  statement {
    sid       = "StartJobs"
    actions   = ["states:StartExecution"]
    resources = [local.state_machine]
  }
}

resource "aws_iam_role" "starts" {
  for_each = local.starts

  name               = "${local.prefix}-${each.value}"
  description        = "What starts jobs of ${local.prefix}."
  assume_role_policy = data.aws_iam_policy_document.of_starts[each.value].json
  tags               = local.tags
}

resource "aws_iam_role_policy" "starts" {
  for_each = local.starts

  name   = "start-jobs"
  role   = aws_iam_role.starts[each.value].name
  policy = data.aws_iam_policy_document.starts.json
}

# --- Uploads ---

resource "aws_s3_bucket_notification" "events" {
  count = var.enable_bucket_events ? 1 : 0

  bucket      = var.source_bucket
  eventbridge = true
}

resource "aws_cloudwatch_event_rule" "upload" {
  count = var.run_on_upload ? 1 : 0

  name        = "${local.prefix}-upload"
  description = "Each object that is put under ${var.source_bucket}/${var.source_prefix} is loaded."
  tags        = local.tags
  event_pattern = jsonencode({
    source      = ["aws.s3"]
    detail-type = ["Object Created"]
    detail = {
      bucket = { name = [var.source_bucket] }
      object = { key = [var.source_prefix == "" ? { exists = true } : { prefix = var.source_prefix }] }
    }
  })
}

resource "aws_cloudwatch_event_target" "upload" {
  count = var.run_on_upload ? 1 : 0

  rule     = aws_cloudwatch_event_rule.upload[0].name
  arn      = aws_sfn_state_machine.job.arn
  role_arn = aws_iam_role.starts["events"].arn

  retry_policy {
    maximum_event_age_in_seconds = 86400
    maximum_retry_attempts       = 185
  }
}

resource "aws_cloudwatch_metric_alarm" "upload" {
  count = var.run_on_upload ? 1 : 0

  alarm_name          = "${local.prefix}-upload-not-started"
  alarm_description   = "An object was uploaded, and no job could be started for it: see FailedInvocations of the rule ${local.prefix}-upload. ./job run s3://… loads it."
  namespace           = "AWS/Events"
  metric_name         = "FailedInvocations"
  dimensions          = { RuleName = aws_cloudwatch_event_rule.upload[0].name }
  statistic           = "Sum"
  period              = 60
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = [module.common.alarm_topic_arn]
  tags                = local.tags
}

# --- A schedule ---

resource "aws_scheduler_schedule" "job" {
  #checkov:skip=CKV_AWS_297:AWS's own key encrypts it; it holds no more than the time
  count = var.schedule == null ? 0 : 1

  name                         = local.prefix
  description                  = "Loads the sources of ${local.prefix}."
  schedule_expression          = var.schedule
  schedule_expression_timezone = var.schedule_timezone

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = aws_sfn_state_machine.job.arn
    role_arn = aws_iam_role.starts["scheduler"].arn
    input    = "{\"scheduled\": \"<aws.scheduler.scheduled-time>\"}" # no jsonencode: it writes < as \u003c
  }
}

# --- Failed ---

resource "aws_cloudwatch_event_rule" "failed" {
  name        = "${local.prefix}-failed"
  description = "A job of ${local.prefix} has failed, ran into its time-out or was ended by somebody."
  tags        = local.tags
  event_pattern = jsonencode({
    source      = ["aws.states"]
    detail-type = ["Step Functions Execution Status Change"]
    detail      = { stateMachineArn = [local.state_machine], status = ["FAILED", "TIMED_OUT", "ABORTED"] }
  })
}

resource "aws_cloudwatch_event_target" "failed" {
  rule = aws_cloudwatch_event_rule.failed.name
  arn  = module.common.alarm_topic_arn

  # Neither cause nor input: quotes in them would make what is sent no JSON, and nothing would come.
  input_transformer {
    input_paths = {
      status = "$.detail.status"
      name   = "$.detail.name"
      error  = "$.detail.error"
      arn    = "$.detail.executionArn"
    }
    input_template = "\"${local.prefix}: job execution <name> ended with <status> <error>. Its page in the Step Functions console says why, ./job logs shows the job's log. <arn>\""
  }
}
