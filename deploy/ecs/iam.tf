# Three roles: what the job may do, what ECS may do to start it, and what the state machine may.

data "aws_iam_policy_document" "of_tasks" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [module.common.account]
    }
    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["${local.arn}:ecs:${local.here}:*"]
    }
  }
}

resource "aws_iam_role" "job" {
  name               = "${local.prefix}-job"
  description        = "What jobs of ${local.prefix} run as."
  assume_role_policy = data.aws_iam_policy_document.of_tasks.json
  tags               = local.tags
}

resource "aws_iam_role_policy_attachment" "job" {
  role       = aws_iam_role.job.name
  policy_arn = module.common.job_policy_arn
}

resource "aws_iam_role" "execution" {
  name               = "${local.prefix}-execution"
  description        = "What ECS starts tasks of ${local.prefix} as: it pulls the image and opens the log."
  assume_role_policy = data.aws_iam_policy_document.of_tasks.json
  tags               = local.tags
}

data "aws_iam_policy_document" "execution" {
  statement {
    sid       = "WriteLog"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${module.common.log_group_arn}:*"]
  }

  dynamic "statement" {
    for_each = compact([local.image_source])

    content {
      sid       = "PullImage"
      actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
      resources = [statement.value]
    }
  }

  dynamic "statement" {
    for_each = compact([local.image_source])

    content {
      sid       = "LogInToEcr"
      actions   = ["ecr:GetAuthorizationToken"]
      resources = ["*"] # it has no resource type
    }
  }
}

resource "aws_iam_role_policy" "execution" {
  name   = "start-tasks"
  role   = aws_iam_role.execution.name
  policy = data.aws_iam_policy_document.execution.json
}

data "aws_iam_policy_document" "of_state_machine" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["states.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [module.common.account]
    }
    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = [local.state_machine]
    }
  }
}

resource "aws_iam_role" "state_machine" {
  name               = "${local.prefix}-states"
  description        = "What the state machine ${local.prefix} runs as."
  assume_role_policy = data.aws_iam_policy_document.of_state_machine.json
  tags               = local.tags
}

data "aws_iam_policy_document" "state_machine" {
  statement {
    sid       = "StartTasks"
    actions   = ["ecs:RunTask"]
    resources = ["${local.arn}:ecs:${local.here}:task-definition/${local.prefix}:*"] # any revision: the newest is run
    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [local.cluster]
    }
  }

  statement {
    sid       = "WatchAndStopTasks"
    actions   = ["ecs:DescribeTasks", "ecs:StopTask"]
    resources = ["${local.arn}:ecs:${local.here}:task/${local.prefix}/*"]
  }

  statement {
    sid       = "GiveTasksTheirRoles"
    actions   = ["iam:PassRole"]
    resources = [for role in ["job", "execution"] : "${local.arn}:iam::${module.common.account}:role/${local.prefix}-${role}"]
    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs-tasks.amazonaws.com"]
    }
  }

  # How Step Functions learns that a task has ended.
  statement {
    sid       = "HearOfTasks"
    actions   = ["events:DescribeRule", "events:PutRule", "events:PutTargets"]
    resources = ["${local.arn}:events:${local.here}:rule/StepFunctionsGetEventsForECSTaskRule"]
  }

  statement {
    sid       = "TakeTurns"
    actions   = ["dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem"]
    resources = ["${local.arn}:dynamodb:${local.here}:table/${local.turns}"]
  }

  statement {
    sid       = "SeeWhoHasTheTurn"
    actions   = ["states:DescribeExecution"]
    resources = ["${local.arn}:states:${local.here}:execution:${local.prefix}:*"]
  }

  dynamic "statement" {
    for_each = module.common.kms_key_arn == null ? [] : [module.common.kms_key_arn]

    content {
      sid       = "UseTheTablesKey"
      actions   = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"]
      resources = [statement.value]
      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["dynamodb.${module.common.region}.amazonaws.com"]
      }
    }
  }
}

resource "aws_iam_role_policy" "state_machine" {
  name   = "run-jobs"
  role   = aws_iam_role.state_machine.name
  policy = data.aws_iam_policy_document.state_machine.json
}
