# What bounds a job from outside its instances, and tells when there is something to know. That a job failed, the alarms
# of modules/common say: an instance writes the line for it where the job could not.

# However often instances die, hang or cannot start: a group that wants an instance for max_hours on end gets none any more.
resource "aws_cloudwatch_metric_alarm" "too_long" {
  alarm_name          = "${local.prefix}-too-long"
  alarm_description   = "A job was not done after ${var.max_hours} hours and was stopped. What was committed stays; the log says why it took so long. ./job run goes on."
  namespace           = "AWS/AutoScaling"
  metric_name         = "GroupDesiredCapacity"
  dimensions          = { AutoScalingGroupName = aws_autoscaling_group.job.name }
  statistic           = "Minimum"
  period              = 3600
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = 1
  evaluation_periods  = var.max_hours + 1 # the first hour was not a whole one
  treat_missing_data  = "notBreaching"
  alarm_actions       = [module.common.alarm_topic_arn, aws_autoscaling_policy.none.arn]
  tags                = module.common.tags
}

resource "aws_autoscaling_policy" "none" {
  name                   = "${local.prefix}-none"
  autoscaling_group_name = aws_autoscaling_group.job.name
  policy_type            = "StepScaling"
  adjustment_type        = "ExactCapacity"

  step_adjustment {
    metric_interval_lower_bound = 0
    scaling_adjustment          = 0
  }
}

# Each instance writes a line when it starts. Starts come with Spot's reclaims, but not by the dozen.
resource "aws_cloudwatch_log_metric_filter" "starts" {
  name           = "${local.prefix}-starts"
  log_group_name = module.common.log_group_name
  pattern        = "{ $.event = \"instance\" && $.state = \"started\" }"

  metric_transformation {
    namespace = "csv2kafka/${local.prefix}"
    name      = "Starts"
    value     = "1"
  }
}

resource "aws_cloudwatch_metric_alarm" "restarts" {
  alarm_name          = "${local.prefix}-restarts"
  alarm_description   = "More than five instances were started within an hour. Is Spot capacity short (other instance_types, spot = false), or does the job die (exit 137: memory, 69: Kafka out of reach)?"
  namespace           = "csv2kafka/${local.prefix}"
  metric_name         = "Starts"
  statistic           = "Sum"
  period              = 3600
  comparison_operator = "GreaterThanThreshold"
  threshold           = 5
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = [module.common.alarm_topic_arn]
  tags                = module.common.tags
}

# No capacity, no right, no such type: the group goes on trying, and somebody should know.
resource "aws_cloudwatch_event_rule" "not_started" {
  name        = "${local.prefix}-not-started"
  description = "An instance of ${local.prefix} could not be started."
  tags        = module.common.tags

  event_pattern = jsonencode({
    source      = ["aws.autoscaling"]
    detail-type = ["EC2 Instance Launch Unsuccessful"]
    detail      = { AutoScalingGroupName = [aws_autoscaling_group.job.name] }
  })
}

resource "aws_cloudwatch_event_target" "not_started" {
  rule = aws_cloudwatch_event_rule.not_started.name
  arn  = module.common.alarm_topic_arn

  # Not the cause: quotes in it would make what is sent no JSON, and nothing would come.
  input_transformer {
    input_paths    = { group = "$.detail.AutoScalingGroupName" }
    input_template = "\"<group>: an instance could not be started. The group goes on trying; ./job status shows its tries, and why they failed.\""
  }
}
