# What an instance may do: what the job may, read what it installs, write its log, and say that it is done.

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "instance" {
  name               = "${local.prefix}-instance"
  description        = "Instances of ${local.prefix}."
  assume_role_policy = data.aws_iam_policy_document.assume.json
  tags               = module.common.tags
}

resource "aws_iam_instance_profile" "instance" {
  name = "${local.prefix}-instance"
  role = aws_iam_role.instance.name
  tags = module.common.tags
}

resource "aws_iam_role_policy_attachment" "job" {
  role       = aws_iam_role.instance.name
  policy_arn = module.common.job_policy_arn
}

data "aws_iam_policy_document" "instance" {
  statement {
    sid       = "ReadBundle"
    actions   = ["s3:GetObject"]
    resources = ["arn:${module.common.partition}:s3:::${local.bundle_bucket}/${var.bundle_prefix}*"]
  }

  statement {
    sid       = "WriteLog"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${module.common.log_group_arn}:*"]
  }

  statement {
    sid       = "SayThatNoOtherIsNeeded"
    actions   = ["autoscaling:SetDesiredCapacity"]
    resources = [local.group_arn]
  }
}

resource "aws_iam_role_policy" "instance" {
  name   = "instance"
  role   = aws_iam_role.instance.id
  policy = data.aws_iam_policy_document.instance.json
}
