# AWS Batch on Spot instances: where jobs run, the queue, and the two definitions: of a job, and of an array job's child.

module "common" {
  source = "../modules/common"

  target              = "batch"
  repository          = var.image == null
  interface_endpoints = ["ecr.api", "ecr.dkr", "ecs", "ecs-agent", "ecs-telemetry"]

  name                    = var.name
  sources                 = var.sources
  source_bucket           = var.source_bucket
  source_prefix           = var.source_prefix
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
  secret_arns             = var.secret_arns
  kms_key_arns            = var.kms_key_arns
  vpc_id                  = var.vpc_id
  subnet_ids              = var.subnet_ids
  vpc_endpoints           = var.vpc_endpoints
  route_table_ids         = var.route_table_ids
  customer_managed_key    = var.customer_managed_key
  alarm_email             = var.alarm_email
  no_progress_minutes     = var.no_progress_minutes
  log_retention_days      = var.log_retention_days
  tags                    = var.tags
}

locals {
  prefix = module.common.prefix
  image  = var.image == null ? "${module.common.repository_url}:${var.image_tag}" : var.image

  # An image in ECR may be pulled, one of somebody else's too; others need no right.
  ecr          = var.image == null ? null : try(regex("^([0-9]{12})\\.dkr\\.ecr\\.([a-z0-9-]+)\\.amazonaws\\.com(?:\\.cn)?/([^:@]+)", var.image), null)
  image_source = var.image == null ? module.common.repository_arn : local.ecr == null ? null : "arn:${module.common.partition}:ecr:${local.ecr[1]}:${local.ecr[0]}:repository/${local.ecr[2]}"

  instance_types = var.instance_types != null ? var.instance_types : {
    arm64  = ["c7g.xlarge", "c6g.xlarge", "c8g.xlarge", "m7g.xlarge", "m6g.xlarge", "m8g.xlarge"]
    x86_64 = ["c7i.xlarge", "c6i.xlarge", "c7a.xlarge", "m7i.xlarge", "m6i.xlarge", "m7a.xlarge"]
  }[var.architecture]

  # Put together here, so that a plan shows it.
  queue_arn = "arn:${module.common.partition}:batch:${module.common.region}:${module.common.account}:job-queue/${local.prefix}"

  # Spot first; Batch goes down the list where one has no capacity.
  environments = merge(
    { spot = { type = "SPOT", strategy = "SPOT_PRICE_CAPACITY_OPTIMIZED" } },
    var.on_demand_fallback ? { on-demand = { type = "EC2", strategy = "BEST_FIT_PROGRESSIVE" } } : {},
  )

  # ECS stops no task of Batch's on an instance that Spot takes back, so the task's own metadata never tell; the
  # instance's do, two minutes before. "ec2" would stop for a rebalance recommendation too, and so would every retry
  # that Batch places on the same instance.
  environment = merge(module.common.environment, { CSV2KAFKA_WATCH = "spot" })

  # What a child's table says must not be said for all children: the environment would win.
  child_environment = { for name, value in local.environment : name => value if !contains([
    "CSV2KAFKA_SOURCES", "CSV2KAFKA_TOPIC", "CSV2KAFKA_PARTITION", "CSV2KAFKA_JOB",
  ], name) }

  definitions = {
    (local.prefix)          = local.environment
    "${local.prefix}-array" = local.child_environment
  }
}

resource "aws_launch_template" "instance" {
  name                   = local.prefix
  update_default_version = true
  tags                   = module.common.tags

  # Jobs ask for Spot notices from within a container, and one hop is enough: it has the instance's own network, as Batch
  # knows no other for single-node jobs on EC2 ("Networking modes for AWS Batch jobs" in its guide). A container with a
  # network of its own would need two.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      volume_size           = 30
      volume_type           = "gp3"
      encrypted             = true
      delete_on_termination = true
    }
  }

  # Draining: an instance with a Spot notice gets no new attempt, which would be stopped at once.
  # Stop time-out: SIGKILL comes two minutes after SIGTERM, not thirty seconds.
  user_data = base64encode(<<-EOT
    MIME-Version: 1.0
    Content-Type: multipart/mixed; boundary="==csv2kafka=="

    --==csv2kafka==
    Content-Type: text/x-shellscript; charset="us-ascii"

    #!/bin/bash
    cat >> /etc/ecs/ecs.config <<'EOF'
    ECS_ENABLE_SPOT_INSTANCE_DRAINING=true
    ECS_CONTAINER_STOP_TIMEOUT=2m
    EOF

    --==csv2kafka==--
  EOT
  )

  dynamic "tag_specifications" {
    for_each = ["instance", "volume"]

    content {
      resource_type = tag_specifications.value
      tags          = merge(module.common.tags, { Name = local.prefix })
    }
  }
}

resource "aws_batch_compute_environment" "instances" {
  for_each = local.environments

  name  = "${local.prefix}-${each.key}"
  type  = "MANAGED"
  state = "ENABLED"
  tags  = module.common.tags

  compute_resources {
    type                = each.value.type
    allocation_strategy = each.value.strategy
    instance_type       = local.instance_types
    min_vcpus           = 0
    max_vcpus           = var.max_vcpus
    instance_role       = aws_iam_instance_profile.instance.arn
    subnets             = var.subnet_ids # they say whether instances get a public address: Batch has no switch for it
    security_group_ids  = [module.common.security_group_id]
    tags                = merge(module.common.tags, { Name = local.prefix })

    ec2_configuration {
      image_type = "ECS_AL2023"
    }

    launch_template {
      launch_template_id = aws_launch_template.instance.id
      version            = aws_launch_template.instance.latest_version
    }
  }

  # A change waits for running jobs; after half an hour they are stopped, and go on elsewhere.
  update_policy {
    job_execution_timeout_minutes = 30
    terminate_jobs_on_update      = false
  }

  lifecycle {
    ignore_changes = [compute_resources[0].desired_vcpus] # Batch's own
  }

  depends_on = [aws_iam_role_policy_attachment.instance]
}

# Who shares the queue: a long array job must not hold up single jobs. The smaller the weight, the more a share gets.
resource "aws_batch_scheduling_policy" "fair" {
  name = local.prefix
  tags = module.common.tags

  fair_share_policy {
    compute_reservation = 10
    share_decay_seconds = 3600

    share_distribution {
      share_identifier = "single"
      weight_factor    = 0.25
    }

    share_distribution {
      share_identifier = "array"
      weight_factor    = 1
    }
  }
}

resource "aws_batch_job_queue" "jobs" {
  name                  = local.prefix
  state                 = "ENABLED"
  priority              = 1
  scheduling_policy_arn = aws_batch_scheduling_policy.fair.arn
  tags                  = module.common.tags

  dynamic "compute_environment_order" {
    for_each = [for kind in ["spot", "on-demand"] : kind if contains(keys(local.environments), kind)]

    content {
      order               = compute_environment_order.key + 1
      compute_environment = aws_batch_compute_environment.instances[compute_environment_order.value].arn
    }
  }

  # What can never start would wait for ever, and nobody would hear of it.
  dynamic "job_state_time_limit_action" {
    for_each = ["MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE", "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"]

    content {
      action           = "CANCEL"
      state            = "RUNNABLE"
      reason           = job_state_time_limit_action.value
      max_time_seconds = 1800
    }
  }
}

resource "aws_batch_job_definition" "job" {
  for_each = local.definitions

  name                  = each.key
  type                  = "container"
  platform_capabilities = ["EC2"]
  propagate_tags        = true
  scheduling_priority   = 1
  tags                  = module.common.tags

  container_properties = jsonencode({
    image                  = local.image
    command                = ["run"]
    environment            = [for name, value in each.value : { name = name, value = value }]
    executionRoleArn       = aws_iam_role.execution.arn
    jobRoleArn             = aws_iam_role.job.arn
    privileged             = false
    readonlyRootFilesystem = true
    user                   = "10001:10001"
    resourceRequirements = [
      { type = "VCPU", value = tostring(var.vcpus) },
      { type = "MEMORY", value = tostring(var.memory) },
    ]
    linuxParameters = {
      initProcessEnabled = false # it would be a process between SIGTERM and csv2kafka
      tmpfs              = [{ containerPath = "/tmp", size = 64, mountOptions = ["rw", "noexec", "nosuid", "nodev"] }]
    }
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        "awslogs-group"         = module.common.log_group_name
        "awslogs-region"        = module.common.region
        "awslogs-stream-prefix" = "job"
        "mode"                  = "non-blocking" # a log that does not take lines must not hold up rows
        "max-buffer-size"       = "16m"
      }
    }
  })

  # docs/errors.md: only what another start can help is started again. Read in this order; without the last, whatever
  # matches nothing would be retried.
  retry_strategy {
    attempts = var.attempts

    evaluate_on_exit {
      action           = "RETRY"
      on_status_reason = "Host EC2*" # Spot took the instance back
    }
    evaluate_on_exit {
      action       = "RETRY"
      on_exit_code = "75" # stopped before the end
    }
    evaluate_on_exit {
      action       = "RETRY"
      on_exit_code = "69" # gave up on something that did not answer
    }
    evaluate_on_exit {
      action       = "RETRY"
      on_exit_code = "137" # killed. Batch takes five rules, so 143 is for a person: no pattern has both and not 1
    }
    evaluate_on_exit {
      action    = "EXIT"
      on_reason = "*"
    }
  }

  timeout {
    attempt_duration_seconds = var.timeout_hours * 3600
  }
}
