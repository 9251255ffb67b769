# What only this target has; the rest is in common.tf. No assign_public_ip: instances take that from the subnets (README.md).

variable "architecture" {
  description = "arm64 (Graviton, cheaper) or x86_64. The image is built for it."
  type        = string
  default     = "arm64"
  nullable    = false

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "architecture: expected arm64 or x86_64; choose one."
  }
}

variable "instance_types" {
  description = "What Spot may choose among. Null: six types of 4 vCPUs, of the architecture. The more there are, the sooner one is found and the later it is taken back."
  type        = list(string)
  default     = null

  validation {
    condition     = var.instance_types == null || try(length(distinct(var.instance_types)) >= 2 && alltrue([for kind in var.instance_types : can(regex("^[a-z]+[0-9]+[a-z0-9-]*\\.[a-z0-9]+$", kind))]), false)
    error_message = "instance_types: expected at least two types such as c7g.xlarge, as Spot capacity of a single one comes and goes; name several, or leave it out."
  }

  validation {
    # Graviton's families have a g behind the generation's number: c7g, m8gd, t4g.
    condition     = var.instance_types == null || try(alltrue([for kind in var.instance_types : can(regex("^[a-z]+[0-9]+g[a-z]*\\.", kind)) == (var.architecture == "arm64")]), false)
    error_message = "instance_types: expected types of the architecture (arm64: Graviton's, such as c7g.xlarge; x86_64: the others), as the image is built for one; change the types or the architecture."
  }
}

variable "vcpus" {
  description = "Of one job. Four are used at full speed: reading, parsing, compressing, sending."
  type        = number
  default     = 4
  nullable    = false

  validation {
    condition     = var.vcpus >= 1 && var.vcpus <= 192 && floor(var.vcpus) == var.vcpus
    error_message = "vcpus: expected a whole number from 1 to 192, not more than the smallest of instance_types has; 4 is enough for a job."
  }
}

variable "memory" {
  description = "Of one job, in MiB. It must be some 10 % less than the instances have: the system and ECS's agent take the rest."
  type        = number
  default     = 6144
  nullable    = false

  validation {
    condition     = var.memory >= 512 && var.memory <= 786432 && floor(var.memory) == var.memory
    error_message = "memory: expected a whole number of MiB from 512 on, some 10 % less than the smallest of instance_types has, or jobs wait for ever; 6144 fits instances of 8 GiB."
  }
}

variable "max_vcpus" {
  description = "How many vCPUs may run at once, of all jobs (Batch may go over it by one instance): the bound of what it costs, and of how many children of an array job run together. Nothing runs when there are no jobs."
  type        = number
  default     = 16
  nullable    = false

  validation {
    condition     = var.max_vcpus >= var.vcpus && floor(var.max_vcpus) == var.max_vcpus
    error_message = "max_vcpus: expected a whole number that is not less than vcpus, or no job ever starts; raise it."
  }
}

variable "on_demand_fallback" {
  description = "Whether Batch may turn to On-Demand instances, at two to three times the price, where there is no Spot capacity."
  type        = bool
  default     = false
  nullable    = false
}

variable "attempts" {
  description = "How often a job is started in all, where an attempt ends with a Spot reclaim, 75, 69 or 137."
  type        = number
  default     = 10
  nullable    = false

  validation {
    condition     = var.attempts >= 1 && var.attempts <= 10 && floor(var.attempts) == var.attempts
    error_message = "attempts: expected a whole number from 1 to 10, which is what Batch has; 10 is usual."
  }
}

variable "timeout_hours" {
  description = "After how many hours an attempt is stopped. It is not tried again then; start the job yourself to go on."
  type        = number
  default     = 24
  nullable    = false

  validation {
    condition     = var.timeout_hours >= 1 && var.timeout_hours <= 336 && floor(var.timeout_hours) == var.timeout_hours
    error_message = "timeout_hours: expected a whole number from 1 to 336; take several times what a job needs."
  }
}

variable "manifest_prefix" {
  description = "Where in source_bucket ./job run --array puts its manifests, ending with /. Jobs may read them."
  type        = string
  default     = "csv2kafka-jobs/"
  nullable    = false

  validation {
    condition     = can(regex("^[^/*?][^*?]*/$", var.manifest_prefix)) && (var.source_prefix == "" || !startswith(var.manifest_prefix, var.source_prefix))
    error_message = "manifest_prefix: expected the beginning of keys that ends with '/', without '*', '?' and a '/' at the front, outside of source_prefix, or manifests would be taken for exports; choose another."
  }
}

variable "image" {
  description = "An image of one's own, with csv2kafka as its entry point. Null: the one that ./job up builds and pushes."
  type        = string
  default     = null

  validation {
    condition     = var.image == null || can(regex("^[^\\s:@]+(:[0-9]+/[^\\s:@]+)?(:[A-Za-z0-9._-]{1,128}|@sha256:[0-9a-f]{64})$", var.image))
    error_message = "image: expected REPOSITORY:TAG or REPOSITORY@sha256:DIGEST; name the tag, as latest is whatever was pushed last."
  }
}

variable "image_tag" {
  description = "The tag in the repository that is made here. ./job up sets it in image.auto.tfvars."
  type        = string
  default     = "none"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$", var.image_tag))
    error_message = "image_tag: expected up to 128 letters, digits, '.', '_' and '-'; let ./job up set it."
  }
}
