# What somebody should know of, sent to one topic. The metrics are made from the job's log lines (docs/report.md,
# docs/metrics.md), for all jobs together: jobs of new names need no new alarms.

locals {
  namespace = "csv2kafka/${local.prefix}"
  per_line = {
    Rows            = "$.Rows"
    BadRows         = "$.BadRows"
    LeaseAgeSeconds = "$.LeaseAgeSeconds"
  }
  ends = {
    # Exit codes that nobody starts again by itself.
    Failures  = "{ $.event = \"failed\" && ($.exit_code = 1 || $.exit_code = 2 || $.exit_code = 65 || $.exit_code = 70 || $.exit_code = 76) }"
    TakenOver = "{ $.event = \"failed\" && $.exit_code = 76 }"
    # Started again, which helps little where the network was never open.
    OutOfReach = "{ $.event = \"failed\" && $.exit_code = 69 }"
  }
  alarms = {
    job-failed = {
      about = "A job ended with an exit code that is not tried again (1, 2, 65, 70, 76): a person decides. The log's line \"failed\" says why, docs/errors.md what to do."
      of    = "Failures", statistic = "Sum", comparison = "GreaterThanThreshold", threshold = 0, minutes = 1, within = 1
    }
    no-progress = {
      about   = "A job runs, and no row was committed for ${var.no_progress_minutes} minutes. Its lines \"waiting\" say what it waits for."
      of      = "Rows", statistic = "Sum", comparison = "LessThanOrEqualToThreshold", threshold = 0
      minutes = var.no_progress_minutes, within = var.no_progress_minutes
    }
    bad-rows = {
      about = "A job refused rows. Its lines \"bad_row\" say which and why."
      of    = "BadRows", statistic = "Sum", comparison = "GreaterThanThreshold", threshold = 0, minutes = 1, within = 1
    }
    lease-in-danger = {
      about = "A job could not renew its lease for over 12 s; after 15 s another run may take over. Is DynamoDB slow or out of reach?"
      of    = "LeaseAgeSeconds", statistic = "Maximum", comparison = "GreaterThanThreshold", threshold = 12, minutes = 2, within = 3
    }
    lease-lost = {
      about = "A job ended because another run has taken it over (exit code 76). That one does the work; if nobody started it on purpose, find out who did."
      of    = "TakenOver", statistic = "Sum", comparison = "GreaterThanThreshold", threshold = 0, minutes = 1, within = 1
    }
    out-of-reach = {
      about = "Three runs within an hour gave up, as Kafka or AWS did not answer (exit code 69); they are started again. Are the ports, security groups and endpoints right? The log's line \"failed\" says what did not answer."
      of    = "OutOfReach", statistic = "Sum", comparison = "GreaterThanThreshold", threshold = 0, minutes = 3, within = 60
    }
  }
}

resource "aws_sns_topic" "alarms" {
  #checkov:skip=CKV_AWS_26:CloudWatch cannot publish to a topic under AWS's own key; customer_managed_key encrypts it with one that it may use
  name              = "${local.prefix}-alarms"
  kms_master_key_id = one(aws_kms_key.own[*].id)
  tags              = local.tags
}

data "aws_iam_policy_document" "alarms" {
  statement {
    sid       = "Alarms"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alarms.arn]
    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }

  # Without a condition: EventBridge sends none of the keys to SNS that one could look at.
  statement {
    sid       = "Events"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alarms.arn]
    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }
  }
}

resource "aws_sns_topic_policy" "alarms" {
  arn    = aws_sns_topic.alarms.arn
  policy = data.aws_iam_policy_document.alarms.json
}

resource "aws_sns_topic_subscription" "email" {
  count = var.alarm_email == null ? 0 : 1

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = var.alarm_email
}

resource "aws_cloudwatch_log_metric_filter" "per_line" {
  for_each = local.per_line

  name           = "${local.prefix}-${each.key}"
  log_group_name = aws_cloudwatch_log_group.job.name
  pattern        = "{ $.event = \"metrics\" && ${each.value} = * }"

  metric_transformation {
    namespace = local.namespace
    name      = each.key
    value     = each.value
  }
}

resource "aws_cloudwatch_log_metric_filter" "ends" {
  for_each = local.ends

  name           = "${local.prefix}-${each.key}"
  log_group_name = aws_cloudwatch_log_group.job.name
  pattern        = each.value

  metric_transformation {
    namespace = local.namespace
    name      = each.key
    value     = "1"
  }
}

# Where no job runs there are no lines, and that is no reason for an alarm.
resource "aws_cloudwatch_metric_alarm" "job" {
  for_each = local.alarms

  alarm_name          = "${local.prefix}-${each.key}"
  alarm_description   = each.value.about
  namespace           = local.namespace
  metric_name         = each.value.of
  statistic           = each.value.statistic
  period              = 60
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  datapoints_to_alarm = each.value.minutes
  evaluation_periods  = each.value.within
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  tags                = local.tags
}
