# A job that is given up is told to the topic of alarms: after its last attempt, or after one that is not tried again. The
# children of an array job are not told one by one, but all in one with the array job.

resource "aws_cloudwatch_event_rule" "failed" {
  name        = "${local.prefix}-failed"
  description = "A job of ${local.prefix} has failed."
  tags        = module.common.tags

  event_pattern = jsonencode({
    source      = ["aws.batch"]
    detail-type = ["Batch Job State Change"]
    detail = {
      jobQueue        = [aws_batch_job_queue.jobs.arn]
      status          = ["FAILED"]
      arrayProperties = { index = [{ exists = false }] }
    }
  })
}

resource "aws_cloudwatch_event_target" "failed" {
  rule = aws_cloudwatch_event_rule.failed.name
  arn  = module.common.alarm_topic_arn

  input_transformer {
    input_paths = {
      job    = "$.detail.jobName"
      id     = "$.detail.jobId"
      reason = "$.detail.statusReason"
      region = "$.region"
    }
    input_template = "\"csv2kafka: the Batch job <job> (<id>, <region>) has failed: <reason>. Its log's last line says why; ./job logs shows it.\""
  }
}
