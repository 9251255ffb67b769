# What all three targets need: the checkpoint table, the log, the image repository, and the job's environment. Its rights
# are in iam.tf, what it may reach in network.tf, what is watched in alarms.tf.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  prefix    = "${var.name}-${var.target}"
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.region
  tags      = merge({ "csv2kafka" = local.prefix }, var.tags)

  # ARNs are put together here and not taken from the resources, so that a plan shows the rights in full.
  table_arn = "arn:${local.partition}:dynamodb:${local.region}:${local.account}:table/${local.prefix}"
  log_arn   = "arn:${local.partition}:logs:${local.region}:${local.account}:log-group:${local.prefix}"

  checkpoint_topic = lookup(var.environment, "CSV2KAFKA_CHECKPOINT_TOPIC", "csv2kafka-checkpoints")

  # The command splits them as a shell does.
  quoted_sources = [for source in var.sources : "'${replace(source, "'", "'\\''")}'"]

  login = {
    iam   = { SECURITY_PROTOCOL = "SASL_SSL", SASL_MECHANISM = "AWS_MSK_IAM" }
    scram = { SECURITY_PROTOCOL = "SASL_SSL", SASL_MECHANISM = "SCRAM-SHA-512" }
    mtls  = { SECURITY_PROTOCOL = "SSL", SASL_MECHANISM = null }
    none  = { SECURITY_PROTOCOL = "PLAINTEXT", SASL_MECHANISM = null }
  }[var.authentication]

  set = {
    CSV2KAFKA_SOURCES                 = length(var.sources) > 0 ? join(" ", local.quoted_sources) : null
    CSV2KAFKA_BOOTSTRAP_SERVERS       = var.bootstrap_servers
    CSV2KAFKA_TOPIC                   = var.topic
    CSV2KAFKA_PARTITION               = tostring(var.partition)
    CSV2KAFKA_JOB                     = var.job
    CSV2KAFKA_AFTER                   = var.after
    CSV2KAFKA_DEAD_LETTER_TOPIC       = var.dead_letter_topic
    CSV2KAFKA_ON_BAD_ROW              = var.dead_letter_topic == null ? null : "dead-letter"
    CSV2KAFKA_COMPLETION_TOPIC        = var.completion_topic
    CSV2KAFKA_CHECKPOINTS             = "dynamodb://${aws_dynamodb_table.checkpoints.name}"
    CSV2KAFKA_KAFKA_SECURITY_PROTOCOL = local.login.SECURITY_PROTOCOL
    CSV2KAFKA_KAFKA_SASL_MECHANISM    = local.login.SASL_MECHANISM
    CSV2KAFKA_PROGRESS                = "json" # the alarms read these lines
    CSV2KAFKA_METRICS                 = "emf"
    CSV2KAFKA_GIVE_UP_AFTER           = "10m" # exit 69, and whatever runs the job starts it again
    AWS_REGION                        = local.region
  }
  environment = merge({ for name, value in local.set : name => value if value != null }, var.environment)
}

# A run makes what it keeps in it by itself, the store's id too.
resource "aws_dynamodb_table" "checkpoints" {
  #checkov:skip=CKV_AWS_119:AWS's own key encrypts it unless customer_managed_key is set; it holds places in files and no rows
  name         = local.prefix
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "job"
  tags         = local.tags

  attribute {
    name = "job"
    type = "S"
  }

  ttl {
    attribute_name = "expires_at"
    enabled        = true
  }

  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled     = var.customer_managed_key
    kms_key_arn = one(aws_kms_key.own[*].arn)
  }
}

resource "aws_cloudwatch_log_group" "job" {
  #checkov:skip=CKV_AWS_158:CloudWatch's own key encrypts it unless customer_managed_key is set; it holds no rows
  #checkov:skip=CKV_AWS_338:how long logs are kept is the user's choice, log_retention_days
  name              = local.prefix
  retention_in_days = var.log_retention_days
  kms_key_id        = one(aws_kms_key.own[*].arn)
  tags              = local.tags
}

resource "aws_ecr_repository" "image" {
  #checkov:skip=CKV_AWS_136:AES256 unless customer_managed_key is set; the image holds no secret
  count = var.repository ? 1 : 0

  name                 = local.prefix
  image_tag_mutability = "IMMUTABLE" # what a task definition names is what was built
  force_delete         = true        # images are built again by job up
  tags                 = local.tags

  image_scanning_configuration {
    scan_on_push = true
  }

  encryption_configuration {
    encryption_type = var.customer_managed_key ? "KMS" : "AES256"
    kms_key         = one(aws_kms_key.own[*].arn)
  }
}

resource "aws_ecr_lifecycle_policy" "image" {
  count = var.repository ? 1 : 0

  repository = aws_ecr_repository.image[0].name
  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "The ten newest images are enough to go back."
      selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = 10 }
      action       = { type = "expire" }
    }]
  })
}
