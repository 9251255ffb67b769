# What the user of a target sets in terraform.tfvars, the same for all three. Each target has this file as common.tf (a
# link) and passes every variable on to the module. What only a target has is in its own variables.tf.

# --- The job ---

variable "name" {
  description = "What everything that is made is called, with the target behind it: csv2kafka-ecs."
  type        = string
  default     = "csv2kafka"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,28}[a-z0-9]$", var.name))
    error_message = "name: expected 2 to 30 small letters, digits and '-', beginning with a letter and not ending with '-'; choose such a name."
  }
}

variable "source_bucket" {
  description = "The bucket that the CSV objects are in. The job may read this one alone."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.source_bucket))
    error_message = "source_bucket: expected a bucket's name (3 to 63 small letters, digits, '.' and '-'); give the name alone, without s3:// and without a key."
  }
}

variable "source_prefix" {
  description = "What the keys begin with, ending with /. The job may read nothing else. Empty: the whole bucket."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.source_prefix == "" || can(regex("^[^/*?][^*?]*/$", var.source_prefix))
    error_message = "source_prefix: expected nothing, or the beginning of keys that ends with '/', without '*', '?' and a '/' at the front, such as \"orders/\"; change it to that."
  }
}

variable "sources" {
  description = "What the job loads: s3:// addresses of objects, prefixes or globs, one stream in this order. Empty where only uploads or array jobs say what to load."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for source in var.sources : startswith(source, "s3://${var.source_bucket}/${var.source_prefix}")])
    error_message = "sources: expected addresses that begin with s3://, source_bucket, '/' and source_prefix, as the job may read nothing else; change the address, or source_bucket and source_prefix."
  }
}

variable "topic" {
  description = "The topic. It must be there, unless CSV2KAFKA_CREATE_TOPIC is in environment. Only array jobs can do without."
  type        = string
  default     = null

  validation {
    condition     = var.topic == null || can(regex("^[A-Za-z0-9._-]{1,249}$", var.topic))
    error_message = "topic: expected 1 to 249 letters, digits, '.', '_' and '-'; give the topic's name as Kafka has it."
  }
}

variable "more_topics" {
  description = "Further topics that jobs may write: those that array jobs name."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for topic in var.more_topics : can(regex("^[A-Za-z0-9._-]{1,249}$", topic))])
    error_message = "more_topics: expected names of 1 to 249 letters, digits, '.', '_' and '-'; give the topics' names as Kafka has them."
  }
}

variable "partition" {
  description = "The partition: all rows of a job go to one, because order holds only within a partition."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = var.partition >= 0 && var.partition < 2147483648 && floor(var.partition) == var.partition
    error_message = "partition: expected a whole number from 0 on; partitions count from 0."
  }
}

variable "dead_letter_topic" {
  description = "Where bad rows go. Without it the first one stops the job."
  type        = string
  default     = null

  validation {
    condition     = var.dead_letter_topic == null || (can(regex("^[A-Za-z0-9._-]{1,249}$", var.dead_letter_topic)) && try(var.dead_letter_topic != var.topic, true))
    error_message = "dead_letter_topic: expected 1 to 249 letters, digits, '.', '_' and '-', and another topic than topic; give it a topic of its own."
  }
}

variable "completion_topic" {
  description = "A topic that gets one record when every row is visible."
  type        = string
  default     = null

  validation {
    condition     = var.completion_topic == null || (can(regex("^[A-Za-z0-9._-]{1,249}$", var.completion_topic)) && try(var.completion_topic != var.topic, true))
    error_message = "completion_topic: expected 1 to 249 letters, digits, '.', '_' and '-', and another topic than topic; give it a topic of its own."
  }
}

variable "job" {
  description = "What the job is called: a run of the same name goes on where the last one stopped. Made from source and destination if not given."
  type        = string
  default     = null

  validation {
    condition     = var.job == null || can(regex("^[A-Za-z0-9._-]{1,200}$", var.job))
    error_message = "job: expected 1 to 200 letters, digits, '.', '_' and '-'; choose such a name, or leave it out."
  }
}

variable "after" {
  description = "What becomes of the objects once every row is visible: tag, tag:KEY=VALUE, move:s3://BUCKET/PREFIX/ or delete. The job gets the rights for it."
  type        = string
  default     = null

  validation {
    condition     = var.after == null || can(regex("^(tag|tag:[^=]+=.*|delete|move:s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/([^*?]*/)?)$", var.after))
    error_message = "after: expected tag, tag:KEY=VALUE, move:s3://BUCKET/PREFIX/ (with the last '/') or delete; change it to one of these, or leave it out."
  }
}

variable "environment" {
  description = "Further variables of the job, CSV2KAFKA_* (docs/commands.md) or AWS_*. Passwords only as references: secretsmanager://NAME#key or ssm://NAME, with their ARNs in secret_arns."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for name in keys(var.environment) : can(regex("^(CSV2KAFKA|AWS)_[A-Z0-9_]+$", name))])
    error_message = "environment: expected names that begin with CSV2KAFKA_ or AWS_, in capitals; nothing else is read by the job, so leave others out."
  }

  validation {
    condition = length(setintersection(keys(var.environment), [
      "CSV2KAFKA_SOURCES", "CSV2KAFKA_BOOTSTRAP_SERVERS", "CSV2KAFKA_TOPIC", "CSV2KAFKA_PARTITION", "CSV2KAFKA_JOB",
      "CSV2KAFKA_AFTER", "CSV2KAFKA_DEAD_LETTER_TOPIC", "CSV2KAFKA_COMPLETION_TOPIC", "CSV2KAFKA_CHECKPOINTS",
      "CSV2KAFKA_KAFKA_SECURITY_PROTOCOL", "CSV2KAFKA_KAFKA_SASL_MECHANISM", "CSV2KAFKA_PROGRESS", "CSV2KAFKA_METRICS",
      "CSV2KAFKA_WATCH", "CSV2KAFKA_RESTART", "AWS_REGION", "AWS_DEFAULT_REGION",
      "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
    ])) == 0
    error_message = "environment: expected none of the variables that are set from others here (sources, topic, job, authentication, …), that the alarms need (progress, metrics), that begin anew after each crash (restart), or that the job's role gives (credentials); use the variable of that name, or leave it out."
  }

  validation {
    condition = alltrue([
      for name, value in var.environment : can(regex("^(secretsmanager|ssm)://", value))
      if can(regex("PASSWORD|SECRET|TOKEN|CUSTOMER_KEY", name))
    ])
    error_message = "environment: expected a reference, secretsmanager://NAME#key or ssm://NAME, for what is a password or key, as plain text would be readable in definitions and in Terraform's state; keep it in Secrets Manager."
  }

  validation {
    # Options by name within one variable: CSV2KAFKA_KAFKA = "sasl_plain_password=…".
    condition = alltrue(flatten([
      for name, value in var.environment : [
        for found in regexall("(?i)(?:password|secret|token|customer_key)[a-z_]*=([^\\s]*)", value) : can(regex("^['\"]?(secretsmanager|ssm)://", found[0]))
      ] if contains(["CSV2KAFKA_KAFKA", "CSV2KAFKA_S3"], name)
    ]))
    error_message = "environment: expected a reference, NAME=secretsmanager://NAME#key, for each password or key within CSV2KAFKA_KAFKA and CSV2KAFKA_S3, as plain text would be readable in definitions and in Terraform's state; keep it in Secrets Manager."
  }
}

# --- The cluster ---

variable "bootstrap_servers" {
  description = "Brokers, HOST:PORT with commas between; or a reference, ssm://NAME."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^([A-Za-z0-9.-]+:[0-9]{1,5})(,[A-Za-z0-9.-]+:[0-9]{1,5})*$", var.bootstrap_servers)) || can(regex("^(secretsmanager|ssm)://.+", var.bootstrap_servers))
    error_message = "bootstrap_servers: expected HOST:PORT with commas and no spaces between, or ssm://NAME; take them from aws kafka get-bootstrap-brokers."
  }

  validation {
    condition     = alltrue([for found in regexall(":([0-9]+)(?:,|$)", var.bootstrap_servers) : tonumber(found[0]) >= 1 && tonumber(found[0]) <= 65535])
    error_message = "bootstrap_servers: expected ports from 1 to 65535; take HOST:PORT from aws kafka get-bootstrap-brokers."
  }

  validation {
    condition     = length(distinct([for server in split(",", var.bootstrap_servers) : reverse(split(":", server))[0]])) == 1 || can(regex("^(secretsmanager|ssm)://", var.bootstrap_servers))
    error_message = "bootstrap_servers: expected one port for all brokers, as only that one is opened; give the servers of one kind of login."
  }

  validation {
    condition = alltrue([
      for way, port in { iam = "9098", scram = "9096", mtls = "9094", none = "9092" } :
      way == var.authentication || !can(regex(":${port}(,|$)", var.bootstrap_servers))
    ])
    error_message = "bootstrap_servers: expected the port of authentication (iam 9098, scram 9096, mtls 9094, none 9092), found another one's; change authentication, or take that login's servers from aws kafka get-bootstrap-brokers."
  }
}

variable "authentication" {
  description = "How the job logs in to Kafka: iam, scram, mtls or none."
  type        = string
  default     = "iam"
  nullable    = false

  validation {
    condition     = contains(["iam", "scram", "mtls", "none"], var.authentication)
    error_message = "authentication: expected iam, scram, mtls or none; choose what the cluster has switched on."
  }

  validation {
    condition     = var.authentication != "scram" || length(setintersection(keys(var.environment), ["CSV2KAFKA_KAFKA_SASL_PLAIN_USERNAME", "CSV2KAFKA_KAFKA_SASL_PLAIN_PASSWORD"])) == 2
    error_message = "authentication: for scram expected CSV2KAFKA_KAFKA_SASL_PLAIN_USERNAME and CSV2KAFKA_KAFKA_SASL_PLAIN_PASSWORD in environment; give them as references to the secret that the cluster is associated with."
  }

  validation {
    condition     = var.authentication != "mtls" || length(setintersection(keys(var.environment), ["CSV2KAFKA_KAFKA_SSL_CERTFILE", "CSV2KAFKA_KAFKA_SSL_KEYFILE"])) == 2
    error_message = "authentication: for mtls expected CSV2KAFKA_KAFKA_SSL_CERTFILE and CSV2KAFKA_KAFKA_SSL_KEYFILE in environment; give them as references to secrets."
  }
}

variable "msk_cluster_arn" {
  description = "The MSK cluster. Needed for authentication by IAM: the job's rights name it."
  type        = string
  default     = null

  validation {
    condition     = var.msk_cluster_arn == null || can(regex("^arn:aws[a-z-]*:kafka:[a-z0-9-]+:[0-9]{12}:cluster/[^/*]+/[^/*]+$", var.msk_cluster_arn))
    error_message = "msk_cluster_arn: expected arn:aws:kafka:REGION:ACCOUNT:cluster/NAME/UUID; take it from aws kafka list-clusters-v2."
  }

  validation {
    condition     = var.authentication != "iam" || var.msk_cluster_arn != null
    error_message = "msk_cluster_arn: expected the cluster's ARN, as authentication is iam and the job's rights name the cluster; take it from aws kafka list-clusters-v2."
  }
}

variable "kafka_security_group_id" {
  description = "The brokers' security group. The job may reach the brokers' port in it and no other."
  type        = string
  default     = null

  validation {
    condition     = var.kafka_security_group_id == null || can(regex("^sg-[0-9a-f]{8,17}$", var.kafka_security_group_id))
    error_message = "kafka_security_group_id: expected the id of a security group, sg- and 8 to 17 hex digits; take it from aws kafka describe-cluster-v2."
  }

  validation {
    condition     = var.kafka_security_group_id != null || length(var.kafka_cidr_blocks) > 0
    error_message = "kafka_security_group_id: expected the brokers' security group, or kafka_cidr_blocks instead, as the job may reach nothing else; give one of the two."
  }
}

variable "kafka_cidr_blocks" {
  description = "The brokers' addresses, where they are in no security group of this account's."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for block in var.kafka_cidr_blocks : can(cidrhost(block, 0)) && can(regex("^[0-9.]+/", block)) && !endswith(block, "/0")])
    error_message = "kafka_cidr_blocks: expected IPv4 CIDR blocks such as 10.0.0.0/16, and not the whole internet; give the brokers' subnets."
  }
}

variable "manage_kafka_ingress" {
  description = "Whether to let the job in by a rule in the brokers' security group. false: somebody else does."
  type        = bool
  default     = true
  nullable    = false
}

# --- The network ---

variable "vpc_id" {
  description = "The VPC that the job runs in; the brokers must be reachable from it."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^vpc-[0-9a-f]{8,17}$", var.vpc_id))
    error_message = "vpc_id: expected the id of a VPC, vpc- and 8 to 17 hex digits; take the cluster's."
  }
}

variable "subnet_ids" {
  description = "Subnets that the job runs in. The zone of the partition's leader is the cheapest; several find Spot capacity sooner."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.subnet_ids) > 0 && alltrue([for subnet in var.subnet_ids : can(regex("^subnet-[0-9a-f]{8,17}$", subnet))]) && length(distinct(var.subnet_ids)) == length(var.subnet_ids)
    error_message = "subnet_ids: expected at least one id of a subnet, subnet- and 8 to 17 hex digits, and none twice; give subnets of vpc_id from which brokers and S3 are reached."
  }
}

variable "vpc_endpoints" {
  description = "Endpoints to make in the VPC: none, gateway (S3 and DynamoDB, free), or all (interface endpoints too, billed by the hour, which all of the VPC then uses; nothing of the job leaves the VPC)."
  type        = string
  default     = "none"
  nullable    = false

  validation {
    condition     = contains(["none", "gateway", "all"], var.vpc_endpoints)
    error_message = "vpc_endpoints: expected none, gateway or all; choose none if the VPC has its endpoints already."
  }
}

variable "route_table_ids" {
  description = "The subnets' route tables, which the gateway endpoints are entered in."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for table in var.route_table_ids : can(regex("^rtb-[0-9a-f]{8,17}$", table))])
    error_message = "route_table_ids: expected ids of route tables, rtb- and 8 to 17 hex digits; give those of subnet_ids."
  }

  validation {
    condition     = var.vpc_endpoints == "none" || length(var.route_table_ids) > 0
    error_message = "route_table_ids: expected the route tables of subnet_ids, as vpc_endpoints makes gateway endpoints, which are of no use without; give them."
  }
}

# --- Secrets and keys ---

variable "secret_arns" {
  description = "ARNs of the secrets and parameters that environment refers to. The job may read these alone."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.secret_arns : can(regex("^arn:aws[a-z-]*:(secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:|ssm:[a-z0-9-]+:[0-9]{12}:parameter/)[^*]+$", arn))])
    error_message = "secret_arns: expected ARNs of secrets (arn:aws:secretsmanager:…:secret:NAME-AbCdEf) or parameters (arn:aws:ssm:…:parameter/NAME) without '*'; take them from aws secretsmanager list-secrets or aws ssm get-parameter."
  }

  validation {
    condition     = length(var.secret_arns) > 0 || !anytrue([for value in concat(values(var.environment), [var.bootstrap_servers]) : can(regex("(secretsmanager|ssm)://", value))])
    error_message = "secret_arns: expected the ARNs of what environment and bootstrap_servers refer to, as the job may read no other secrets; give them."
  }
}

variable "kms_key_arns" {
  description = "ARNs of the KMS keys that the objects and secrets are encrypted with."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.kms_key_arns : can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", arn))])
    error_message = "kms_key_arns: expected arn:aws:kms:REGION:ACCOUNT:key/ID, as rights cannot name an alias; take it from aws kms describe-key."
  }
}

variable "customer_managed_key" {
  description = "Whether to make a KMS key ($1 a month) for the table, the log, the image repository and the topic of alarms. Without it AWS's own keys encrypt them."
  type        = bool
  default     = false
  nullable    = false
}

# --- Watching ---

variable "alarm_email" {
  description = "Where alarms are sent. AWS asks that address for its consent first. Without it, subscribe to the topic alarm_topic_arn."
  type        = string
  default     = null

  validation {
    condition     = var.alarm_email == null || can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", var.alarm_email))
    error_message = "alarm_email: expected an e-mail address; give one, or leave it out."
  }
}

variable "no_progress_minutes" {
  description = "After how many minutes without a row, while the job runs, an alarm is raised."
  type        = number
  default     = 10
  nullable    = false

  validation {
    condition     = var.no_progress_minutes >= 2 && var.no_progress_minutes <= 1440 && floor(var.no_progress_minutes) == var.no_progress_minutes
    error_message = "no_progress_minutes: expected a whole number from 2 to 1440, as CloudWatch looks back a day at most; 10 is usual."
  }
}

variable "log_retention_days" {
  description = "How long the job's log is kept."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days: expected a number of days that CloudWatch has: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653; take the next one."
  }
}

variable "tags" {
  description = "Tags of everything that is made."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for name, value in var.tags : length(name) <= 128 && length(value) <= 256 && !startswith(lower(name), "aws:")])
    error_message = "tags: expected names of up to 128 letters that do not begin with aws:, and values of up to 256; shorten them."
  }
}
