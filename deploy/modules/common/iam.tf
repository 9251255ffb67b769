# What the job may do: the statements of docs/iam, with the names that were given and nothing besides; and the key.

locals {
  bucket_arn  = "arn:${local.partition}:s3:::${var.source_bucket}"
  objects_arn = "${local.bucket_arn}/${var.source_prefix}*"

  after = var.after == null ? "" : split(":", var.after)[0]
  moved = local.after == "move" ? "arn:${local.partition}:s3:::${trimprefix(var.after, "move:s3://")}*" : ""

  # What has a name of its own in the cluster has an ARN with the cluster's name and id in it.
  iam       = var.authentication == "iam" && var.msk_cluster_arn != null
  of_topic  = local.iam ? replace(var.msk_cluster_arn, ":cluster/", ":topic/") : ""
  of_ids    = local.iam ? replace(var.msk_cluster_arn, ":cluster/", ":transactional-id/") : ""
  topics    = distinct(compact(concat([var.topic], var.more_topics)))
  rest      = distinct(compact([var.dead_letter_topic, var.completion_topic]))
  makes_all = contains(["1", "true", "yes", "on"], lower(lookup(var.environment, "CSV2KAFKA_CREATE_TOPIC", "")))

  secrets    = [for arn in var.secret_arns : arn if strcontains(arn, ":secretsmanager:")]
  parameters = [for arn in var.secret_arns : arn if strcontains(arn, ":ssm:")]

  statements = concat(
    [
      {
        sid       = "ReadExports"
        actions   = ["s3:GetObject", "s3:GetObjectVersion"]
        resources = [local.objects_arn]
        condition = []
      },
      {
        sid       = "ListExports"
        actions   = ["s3:ListBucket"]
        resources = [local.bucket_arn]
        condition = [{ test = "StringLike", variable = "s3:prefix", values = ["${var.source_prefix}*"] }]
      },
      {
        sid       = "KeepCheckpoints"
        actions   = ["dynamodb:GetItem", "dynamodb:UpdateItem"]
        resources = [local.table_arn]
        condition = []
      },
    ],
    local.after != "tag" ? [] : [{
      sid       = "TagLoadedExports"
      actions   = ["s3:GetObjectTagging", "s3:GetObjectVersionTagging", "s3:PutObjectTagging", "s3:PutObjectVersionTagging"]
      resources = [local.objects_arn]
      condition = []
    }],
    local.after != "move" ? [] : [
      {
        sid       = "CopyLoadedExports"
        actions   = ["s3:GetObjectTagging", "s3:GetObjectVersionTagging"]
        resources = [local.objects_arn]
        condition = []
      },
      {
        sid       = "KeepLoadedExports"
        actions   = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject", "s3:PutObjectTagging"]
        resources = [local.moved]
        condition = []
      },
    ],
    !contains(["move", "delete"], local.after) ? [] : [{
      sid       = "RemoveLoadedExports"
      actions   = ["s3:DeleteObject"]
      resources = [local.objects_arn]
      condition = []
    }],
    !local.iam ? [] : [
      {
        sid       = "Connect"
        actions   = ["kafka-cluster:Connect", "kafka-cluster:DescribeCluster", "kafka-cluster:WriteDataIdempotently"]
        resources = [var.msk_cluster_arn]
        condition = []
      },
      {
        sid       = "WriteAndReadBack"
        actions   = ["kafka-cluster:DescribeTopic", "kafka-cluster:DescribeTopicDynamicConfiguration", "kafka-cluster:ReadData", "kafka-cluster:WriteData"]
        resources = [for topic in concat(local.topics, [local.checkpoint_topic]) : "${local.of_topic}/${topic}"]
        condition = []
      },
      {
        sid       = "CreateTopics"
        actions   = ["kafka-cluster:CreateTopic"]
        resources = [for topic in concat(local.makes_all ? local.topics : [], [local.checkpoint_topic]) : "${local.of_topic}/${topic}"]
        condition = []
      },
      {
        sid       = "OwnTheJob"
        actions   = ["kafka-cluster:AlterTransactionalId", "kafka-cluster:DescribeTransactionalId"]
        resources = ["${local.of_ids}/csv2kafka.*", "${local.of_ids}/csv2kafka-check.*"]
        condition = []
      },
    ],
    !local.iam || length(local.rest) == 0 ? [] : [{
      sid       = "WriteBadRowsAndCompletion"
      actions   = ["kafka-cluster:DescribeTopic", "kafka-cluster:DescribeTopicDynamicConfiguration", "kafka-cluster:WriteData"]
      resources = [for topic in local.rest : "${local.of_topic}/${topic}"]
      condition = []
    }],
    length(local.secrets) == 0 ? [] : [{
      sid       = "ReadSecrets"
      actions   = ["secretsmanager:GetSecretValue"]
      resources = local.secrets
      condition = []
    }],
    length(local.parameters) == 0 ? [] : [{
      sid       = "ReadParameters"
      actions   = ["ssm:GetParameter"]
      resources = local.parameters
      condition = []
    }],
    length(var.kms_key_arns) == 0 ? [] : [{
      sid       = "DecryptExportsAndSecrets"
      actions   = concat(["kms:Decrypt"], local.after == "move" ? ["kms:GenerateDataKey"] : [])
      resources = var.kms_key_arns
      condition = [{ test = "StringEquals", variable = "kms:ViaService", values = [for service in ["s3", "secretsmanager", "ssm"] : "${service}.${local.region}.amazonaws.com"] }]
    }],
    !var.customer_managed_key ? [] : [{
      sid       = "UseTheTablesKey"
      actions   = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"]
      resources = aws_kms_key.own[*].arn
      condition = [{ test = "StringEquals", variable = "kms:ViaService", values = ["dynamodb.${local.region}.amazonaws.com"] }]
    }],
  )
}

data "aws_iam_policy_document" "job" {
  dynamic "statement" {
    for_each = local.statements

    content {
      sid       = statement.value.sid
      actions   = statement.value.actions
      resources = statement.value.resources

      dynamic "condition" {
        for_each = statement.value.condition

        content {
          test     = condition.value.test
          variable = condition.value.variable
          values   = condition.value.values
        }
      }
    }
  }
}

resource "aws_iam_policy" "job" {
  name        = "${local.prefix}-job"
  description = "What a csv2kafka job of ${local.prefix} may do."
  policy      = data.aws_iam_policy_document.job.json
  tags        = local.tags
}

resource "aws_kms_key" "own" {
  count = var.customer_managed_key ? 1 : 0

  description             = "Table, log, images and alarms of ${local.prefix}."
  enable_key_rotation     = true
  deletion_window_in_days = 7
  policy                  = data.aws_iam_policy_document.own_key[0].json
  tags                    = local.tags
}

data "aws_iam_policy_document" "own_key" {
  #checkov:skip=CKV_AWS_109:a key's policy: its resource is the key itself, and the account must be able to administer it
  #checkov:skip=CKV_AWS_111:a key's policy: its resource is the key itself
  #checkov:skip=CKV_AWS_356:a key's policy: its resource is the key itself, which it calls *
  count = var.customer_managed_key ? 1 : 0

  statement {
    sid       = "RightsAreGivenByIam"
    actions   = ["kms:*"]
    resources = ["*"]
    principals {
      type        = "AWS"
      identifiers = ["arn:${local.partition}:iam::${local.account}:root"]
    }
  }

  # What AWS's guide asks of a log group's key ("Encrypt log data in CloudWatch Logs using AWS KMS": Encrypt*, Decrypt*,
  # ReEncrypt*, GenerateDataKey*, Describe*), each action by its name.
  statement {
    sid = "TheLog"
    actions = [
      "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyPair",
      "kms:GenerateDataKeyPairWithoutPlaintext", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo",
    ]
    resources = ["*"]
    principals {
      type        = "Service"
      identifiers = ["logs.${local.region}.amazonaws.com"]
    }
    condition {
      test     = "ArnEquals"
      variable = "kms:EncryptionContext:aws:logs:arn"
      values   = [local.log_arn]
    }
  }

  statement {
    sid       = "Alarms"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = ["*"]
    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com", "events.amazonaws.com"]
    }
  }
}
