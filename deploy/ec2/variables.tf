# What only this target has. What all targets have is in common.tf.

variable "architecture" {
  description = "The processors: arm64 (cheaper) or x86_64. `job up` makes the bundle for it."
  type        = string
  default     = "arm64"
  nullable    = false

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "architecture: expected arm64 or x86_64; choose what instance_types are."
  }
}

variable "instance_types" {
  description = "Instance types that will do, all of the architecture. With several of them Spot capacity is found sooner and taken back more seldom. A job uses four CPUs and less than 2 GiB."
  type        = list(string)
  default     = ["c7g.xlarge", "c6g.xlarge", "c8g.xlarge", "m7g.xlarge", "m6g.xlarge"]
  nullable    = false

  validation {
    condition     = length(var.instance_types) >= 1 && length(var.instance_types) <= 40 && length(distinct(var.instance_types)) == length(var.instance_types) && alltrue([for type in var.instance_types : can(regex("^[a-z0-9-]+\\.[a-z0-9-]+$", type))])
    error_message = "instance_types: expected 1 to 40 types such as c7g.xlarge, none twice; give such names (aws ec2 describe-instance-types lists them)."
  }

  validation {
    # Graviton's have a g behind the generation: c7g, m6gd, x2gd. g4dn and g5 have it in front.
    condition     = alltrue([for type in var.instance_types : can(regex("^(a1|[a-z-]+[0-9]+g[a-z]*)\\.", type)) == (var.architecture == "arm64")])
    error_message = "instance_types: expected types of var.architecture (for arm64 with a g behind the generation, such as c7g.xlarge; for x86_64 without, such as c7i.xlarge); change the types or architecture."
  }
}

variable "spot" {
  description = "Whether to run on Spot instances (about a third of the price; they may be taken back, and the job goes on on another). false: on demand."
  type        = bool
  default     = true
  nullable    = false
}

variable "assign_public_ip" {
  description = "Whether instances get a public address. Only needed in public subnets; nothing can reach them all the same."
  type        = bool
  default     = false
  nullable    = false
}

variable "max_hours" {
  description = "The longest that a job may take, all its instances together. Then it is stopped and counts as failed, so that nothing costs money for ever."
  type        = number
  default     = 24
  nullable    = false

  validation {
    condition     = var.max_hours >= 1 && var.max_hours <= 167 && floor(var.max_hours) == var.max_hours
    error_message = "max_hours: expected a whole number from 1 to 167, as CloudWatch looks back seven days at most; choose about three times what the job takes."
  }
}

variable "bundle_bucket" {
  description = "A bucket of yours for what instances install. Null: one is made."
  type        = string
  default     = null

  validation {
    condition     = var.bundle_bucket == null || can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.bundle_bucket))
    error_message = "bundle_bucket: expected a bucket's name (3 to 63 small letters, digits, '.' and '-'); give the name alone, or leave it out and one is made."
  }
}

variable "bundle_prefix" {
  description = "What its keys there begin with, ending with /."
  type        = string
  default     = "csv2kafka/"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_.-][A-Za-z0-9_./-]*/$", var.bundle_prefix))
    error_message = "bundle_prefix: expected the beginning of keys that ends with '/', of letters, digits, '_', '.', '-' and '/', such as csv2kafka/; change it to that."
  }
}
