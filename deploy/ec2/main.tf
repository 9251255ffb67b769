# One instance at a time, in a group whose desired size is 1 while a job is to be done. The instance sets it to 0 when the
# job needs no further one; where the instance vanishes, the group starts the next. What the instance does: instance/.

provider "aws" {}

module "common" {
  source = "../modules/common"

  target              = "ec2"
  interface_endpoints = ["autoscaling"]

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
  prefix        = module.common.prefix
  group_arn     = "arn:${module.common.partition}:autoscaling:${module.common.region}:${module.common.account}:autoScalingGroup:*:autoScalingGroupName/${local.prefix}"
  bundle_bucket = coalesce(var.bundle_bucket, "${local.prefix}-${module.common.account}-${module.common.region}")
  bundle        = "s3://${local.bundle_bucket}/${var.bundle_prefix}bundle-${var.architecture}.tar.gz"
  run           = "s3://${local.bundle_bucket}/${var.bundle_prefix}run.env"
  quoted        = { for name, value in merge(module.common.environment, { CSV2KAFKA_WATCH = "ec2" }) : name => "'${replace(value, "'", "'\\''")}'" }

  user_data = templatefile("${path.module}/user_data.sh.tftpl", {
    GROUP            = local.prefix
    LOG_GROUP        = module.common.log_group_name
    REGION           = module.common.region
    BUNDLE           = local.bundle
    RUN              = local.run
    LIMIT_SECONDS    = var.max_hours * 3600
    WATCHDOG_MINUTES = var.max_hours * 60 + 60
    ENVIRONMENT      = join("\n", [for name in sort(keys(local.quoted)) : "${name}=${local.quoted[name]}"])
    RUN_JOB          = file("${path.module}/instance/run_job")
    SHIP_LOG         = file("${path.module}/instance/ship_log.py")
  })
}

# Amazon Linux 2023, the newest when this is applied. "resolve:ssm:…" in the template would find it at each start, but
# whether a group with several instance types takes that is not documented.
data "aws_ssm_parameter" "image" {
  name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-${var.architecture}"
}

resource "aws_launch_template" "job" {
  name                                 = local.prefix
  description                          = "An instance that runs one csv2kafka job and ends itself."
  update_default_version               = true
  image_id                             = data.aws_ssm_parameter.image.insecure_value
  instance_initiated_shutdown_behavior = "terminate"
  ebs_optimized                        = true
  user_data                            = base64gzip(local.user_data) # cloud-init unpacks it; EC2 takes 16 KiB
  tags                                 = module.common.tags

  iam_instance_profile {
    name = aws_iam_instance_profile.instance.name
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
    instance_metadata_tags      = "disabled"
  }

  network_interfaces {
    associate_public_ip_address = var.assign_public_ip
    delete_on_termination       = true
    security_groups             = [module.common.security_group_id]
  }

  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      volume_size           = 16
      volume_type           = "gp3"
      encrypted             = true
      delete_on_termination = true
    }
  }

  dynamic "tag_specifications" {
    for_each = toset(["instance", "volume", "network-interface"])

    content {
      resource_type = tag_specifications.value
      tags          = merge(module.common.tags, { Name = local.prefix })
    }
  }

  lifecycle {
    precondition {
      condition     = var.topic != null
      error_message = "topic: expected the name of a topic, as every job of this target writes to it; set it."
    }

    precondition {
      condition     = length(base64gzip(local.user_data)) <= 21848 # 16 KiB in base64
      error_message = "sources: what an instance is started with would be too long, expected at most 16 KiB compressed (EC2's limit), and sources and environment are most of it; name a prefix or a glob instead of each object."
    }
  }
}

resource "aws_autoscaling_group" "job" {
  name                      = local.prefix
  min_size                  = 0
  max_size                  = 1
  desired_capacity          = 0
  vpc_zone_identifier       = var.subnet_ids
  health_check_type         = "EC2"
  health_check_grace_period = 60
  wait_for_capacity_timeout = "0"
  force_delete              = true
  enabled_metrics           = ["GroupDesiredCapacity"]

  # Both may start a second instance before the first has ended, also above max_size: that one would find the job's lease
  # held and end with 76. Under --watch a run gives way to a rebalance recommendation by itself.
  capacity_rebalance  = false
  suspended_processes = ["AZRebalance"]

  mixed_instances_policy {
    launch_template {
      launch_template_specification {
        launch_template_id = aws_launch_template.job.id
        version            = aws_launch_template.job.latest_version
      }

      dynamic "override" {
        for_each = var.instance_types

        content {
          instance_type = override.value
        }
      }
    }

    instances_distribution {
      on_demand_base_capacity                  = 0
      on_demand_percentage_above_base_capacity = var.spot ? 0 : 100
      on_demand_allocation_strategy            = "prioritized"
      spot_allocation_strategy                 = "price-capacity-optimized"
    }
  }

  dynamic "tag" {
    for_each = merge(module.common.tags, { Name = local.prefix })

    content {
      key                 = tag.key
      value               = tag.value
      propagate_at_launch = false # the launch template's tags do that
    }
  }

  lifecycle {
    ignore_changes = [desired_capacity] # `job run` and the instance set it
  }
}
