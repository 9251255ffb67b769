# What the job may reach: the brokers on one port, and AWS on 443. Nothing may reach the job.

locals {
  default_port = { iam = 9098, scram = 9096, mtls = 9094, none = 9092 }[var.authentication]
  kafka_port   = try(tonumber(regex(":([0-9]{1,5})$", var.bootstrap_servers)[0]), local.default_port)

  gateways   = var.vpc_endpoints == "none" ? [] : ["s3", "dynamodb"]
  inside     = var.vpc_endpoints == "all"
  interfaces = local.inside ? setunion(["logs"], var.interface_endpoints, length(local.secrets) > 0 ? ["secretsmanager"] : [], length(local.parameters) > 0 ? ["ssm"] : []) : []
}

resource "aws_security_group" "job" {
  #checkov:skip=CKV2_AWS_5:the targets attach it
  name        = local.prefix
  description = "csv2kafka: out to the brokers and to AWS, nothing in."
  vpc_id      = var.vpc_id
  tags        = merge(local.tags, { Name = local.prefix })
}

resource "aws_vpc_security_group_egress_rule" "kafka_group" {
  count = var.kafka_security_group_id == null ? 0 : 1

  description                  = "Brokers"
  security_group_id            = aws_security_group.job.id
  referenced_security_group_id = var.kafka_security_group_id
  ip_protocol                  = "tcp"
  from_port                    = local.kafka_port
  to_port                      = local.kafka_port
  tags                         = local.tags
}

resource "aws_vpc_security_group_egress_rule" "kafka_cidr" {
  for_each = toset(var.kafka_cidr_blocks)

  description       = "Brokers"
  security_group_id = aws_security_group.job.id
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = local.kafka_port
  to_port           = local.kafka_port
  tags              = local.tags
}

resource "aws_vpc_security_group_ingress_rule" "brokers" {
  count = var.kafka_security_group_id != null && var.manage_kafka_ingress ? 1 : 0

  description                  = "Jobs of ${local.prefix}"
  security_group_id            = var.kafka_security_group_id
  referenced_security_group_id = aws_security_group.job.id
  ip_protocol                  = "tcp"
  from_port                    = local.kafka_port
  to_port                      = local.kafka_port
  tags                         = local.tags
}

# AWS: anywhere on 443, unless all of it has endpoints in the VPC.
resource "aws_vpc_security_group_egress_rule" "aws" {
  count = local.inside ? 0 : 1

  description       = "AWS, whose addresses change"
  security_group_id = aws_security_group.job.id
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  tags              = local.tags
}

resource "aws_vpc_security_group_egress_rule" "gateways" {
  for_each = local.inside ? toset(local.gateways) : []

  description       = "AWS, by its gateway endpoint"
  security_group_id = aws_security_group.job.id
  prefix_list_id    = aws_vpc_endpoint.gateway[each.value].prefix_list_id
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  tags              = local.tags
}

resource "aws_vpc_security_group_egress_rule" "interfaces" {
  count = local.inside ? 1 : 0

  description                  = "AWS, by its endpoints in the VPC"
  security_group_id            = aws_security_group.job.id
  referenced_security_group_id = aws_security_group.endpoints[0].id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  tags                         = local.tags
}

resource "aws_vpc_endpoint" "gateway" {
  for_each = toset(local.gateways)

  vpc_id            = var.vpc_id
  service_name      = "com.amazonaws.${local.region}.${each.value}"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = var.route_table_ids
  tags              = merge(local.tags, { Name = "${local.prefix}-${each.value}" })
}

resource "aws_vpc_endpoint" "interface" {
  for_each = toset(local.interfaces)

  vpc_id              = var.vpc_id
  service_name        = "com.amazonaws.${local.region}.${each.value}"
  vpc_endpoint_type   = "Interface"
  subnet_ids          = var.subnet_ids
  security_group_ids  = aws_security_group.endpoints[*].id
  private_dns_enabled = true
  tags                = merge(local.tags, { Name = "${local.prefix}-${each.value}" })
}

resource "aws_security_group" "endpoints" {
  count = local.inside ? 1 : 0

  name        = "${local.prefix}-endpoints"
  description = "AWS endpoints of ${local.prefix}: the VPC may come in."
  vpc_id      = var.vpc_id
  tags        = merge(local.tags, { Name = "${local.prefix}-endpoints" })
}

# The endpoints' names are those of AWS itself, for all that is in the VPC: whoever has used these services stays let in.
data "aws_vpc" "endpoints" {
  count = local.inside ? 1 : 0

  id = var.vpc_id
}

# The VPC's first block of addresses is not its only one where a second was added: jobs come in from any.
resource "aws_vpc_security_group_ingress_rule" "endpoints_job" {
  count = local.inside ? 1 : 0

  description                  = "Jobs of ${local.prefix}"
  security_group_id            = aws_security_group.endpoints[0].id
  referenced_security_group_id = aws_security_group.job.id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  tags                         = local.tags
}

resource "aws_vpc_security_group_ingress_rule" "endpoints" {
  count = local.inside ? 1 : 0

  description       = "All of the VPC"
  security_group_id = aws_security_group.endpoints[0].id
  cidr_ipv4         = data.aws_vpc.endpoints[0].cidr_block
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  tags              = local.tags
}
