# Three roles: of the instances (ECS's agent), of what starts containers (image, log), of the job itself. Batch acts under
# its service-linked role, which AWS makes.

data "aws_iam_policy_document" "assume" {
  for_each = { instance = "ec2.amazonaws.com", tasks = "ecs-tasks.amazonaws.com" }

  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = [each.value]
    }

    dynamic "condition" {
      for_each = each.key == "tasks" ? [module.common.account] : []

      content {
        test     = "StringEquals"
        variable = "aws:SourceAccount"
        values   = [condition.value]
      }
    }
  }
}

resource "aws_iam_role" "instance" {
  name               = "${local.prefix}-instance"
  description        = "Instances of ${local.prefix}: ECS's agent."
  assume_role_policy = data.aws_iam_policy_document.assume["instance"].json
  tags               = module.common.tags
}

# AWS's own policy, as the cluster that the agent reports to is made and named by Batch.
resource "aws_iam_role_policy_attachment" "instance" {
  role       = aws_iam_role.instance.name
  policy_arn = "arn:${module.common.partition}:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"
}

resource "aws_iam_instance_profile" "instance" {
  name = "${local.prefix}-instance"
  role = aws_iam_role.instance.name
  tags = module.common.tags
}

resource "aws_iam_role" "execution" {
  name               = "${local.prefix}-execution"
  description        = "Starts the containers of ${local.prefix}: its image, its log."
  assume_role_policy = data.aws_iam_policy_document.assume["tasks"].json
  tags               = module.common.tags
}

data "aws_iam_policy_document" "execution" {
  #checkov:skip=CKV_AWS_356:ecr:GetAuthorizationToken has no resource type
  dynamic "statement" {
    for_each = local.image_source == null ? [] : [local.image_source]

    content {
      sid       = "PullTheImage"
      actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
      resources = [statement.value]
    }
  }

  dynamic "statement" {
    for_each = local.image_source == null ? [] : [1]

    content {
      sid       = "LogInToTheRegistry"
      actions   = ["ecr:GetAuthorizationToken"]
      resources = ["*"]
    }
  }

  statement {
    sid       = "WriteTheLog"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${module.common.log_group_arn}:*"]
  }
}

resource "aws_iam_role_policy" "execution" {
  name   = "image-and-log"
  role   = aws_iam_role.execution.id
  policy = data.aws_iam_policy_document.execution.json
}

resource "aws_iam_role" "job" {
  name               = "${local.prefix}-job"
  description        = "Jobs of ${local.prefix}: csv2kafka."
  assume_role_policy = data.aws_iam_policy_document.assume["tasks"].json
  tags               = module.common.tags
}

resource "aws_iam_role_policy_attachment" "job" {
  role       = aws_iam_role.job.name
  policy_arn = module.common.job_policy_arn
}

data "aws_iam_policy_document" "manifests" {
  statement {
    sid       = "ReadManifests"
    actions   = ["s3:GetObject"]
    resources = ["arn:${module.common.partition}:s3:::${var.source_bucket}/${var.manifest_prefix}*"]
  }
}

resource "aws_iam_role_policy" "manifests" {
  name   = "manifests"
  role   = aws_iam_role.job.id
  policy = data.aws_iam_policy_document.manifests.json
}
