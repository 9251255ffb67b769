# One Fargate task at a time for the partition, started again until its job is done. What starts tasks is the state
# machine in state_machine.tf; what starts that is in starts.tf, or ./job run.

module "common" {
  source = "../modules/common"

  target              = "ecs"
  repository          = var.image == null
  interface_endpoints = ["ecr.api", "ecr.dkr"]

  name                    = var.name
  source_bucket           = var.source_bucket
  source_prefix           = var.source_prefix
  sources                 = var.sources
  topic                   = var.topic
  more_topics             = var.more_topics
  partition               = var.partition
  dead_letter_topic       = var.dead_letter_topic
  completion_topic        = var.completion_topic
  job                     = var.job
  after                   = var.after
  environment             = var.environment
  bootstrap_servers       = var.bootstrap_servers
  authentication          = var.authentication
  msk_cluster_arn         = var.msk_cluster_arn
  kafka_security_group_id = var.kafka_security_group_id
  kafka_cidr_blocks       = var.kafka_cidr_blocks
  manage_kafka_ingress    = var.manage_kafka_ingress
  vpc_id                  = var.vpc_id
  subnet_ids              = var.subnet_ids
  vpc_endpoints           = var.vpc_endpoints
  route_table_ids         = var.route_table_ids
  secret_arns             = var.secret_arns
  kms_key_arns            = var.kms_key_arns
  customer_managed_key    = var.customer_managed_key
  alarm_email             = var.alarm_email
  no_progress_minutes     = var.no_progress_minutes
  log_retention_days      = var.log_retention_days
  tags                    = var.tags
}

locals {
  prefix  = module.common.prefix
  tags    = module.common.tags
  arn     = "arn:${module.common.partition}"
  here    = "${module.common.region}:${module.common.account}"
  cluster = "${local.arn}:ecs:${local.here}:cluster/${local.prefix}"

  container    = "csv2kafka"
  image        = var.image == null ? "${module.common.repository_url}:${var.image_tag}" : var.image
  stop_timeout = 120 # s; the most that Fargate has. A run needs some ten

  environment = merge(module.common.environment, {
    CSV2KAFKA_WATCH = "ecs"
    TMPDIR          = "/dev/shm" # in memory: the root file system is read-only, and a run needs no disk
  })

  # An image in ECR may be pulled, one of somebody else's too; others need no right.
  ecr          = var.image == null ? null : try(regex("^([0-9]{12})\\.dkr\\.ecr\\.([a-z0-9-]+)\\.amazonaws\\.com(?:\\.cn)?/([^:@]+)", var.image), null)
  image_source = var.image == null ? module.common.repository_arn : local.ecr == null ? null : "${local.arn}:ecr:${local.ecr[1]}:${local.ecr[0]}:repository/${local.ecr[2]}"
}

resource "aws_ecs_cluster" "jobs" {
  #checkov:skip=CKV_AWS_65:Container Insights bills by the task; the job's own metrics and alarms say more
  name = local.prefix
  tags = local.tags
}

resource "aws_ecs_cluster_capacity_providers" "jobs" {
  cluster_name       = aws_ecs_cluster.jobs.name
  capacity_providers = ["FARGATE", "FARGATE_SPOT"]

  default_capacity_provider_strategy {
    capacity_provider = var.spot ? "FARGATE_SPOT" : "FARGATE"
    weight            = 1
  }
}

resource "aws_ecs_task_definition" "job" {
  family                   = local.prefix
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.cpu
  memory                   = var.memory
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.job.arn
  tags                     = local.tags

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.architecture
  }

  container_definitions = jsonencode([{
    name                   = local.container
    image                  = local.image
    essential              = true
    command                = ["run"] # behind the image's entry point, csv2kafka: no shell between it and the SIGTERM
    stopTimeout            = local.stop_timeout
    readonlyRootFilesystem = true
    user                   = "10001:10001"
    linuxParameters        = { capabilities = { drop = ["ALL"] } }
    environment            = [for name in sort(keys(local.environment)) : { name = name, value = local.environment[name] }]

    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = module.common.log_group_name
        awslogs-region        = module.common.region
        awslogs-stream-prefix = "job"
        mode                  = "non-blocking" # a log that does not take lines must not hold up rows
        max-buffer-size       = "16m"
      }
    }
  }])

  lifecycle {
    precondition {
      condition     = var.topic != null
      error_message = "topic: expected the name of a topic, as every job of this target writes to it; set it."
    }
  }
}
