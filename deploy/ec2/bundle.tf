# Where instances find what they install and what they are to run, unless bundle_bucket names a bucket.

locals {
  own_bucket = var.bundle_bucket == null ? 1 : 0
}

resource "aws_s3_bucket" "bundle" {
  #checkov:skip=CKV_AWS_18:it holds a program that anyone may have; who changed it is in CloudTrail
  #checkov:skip=CKV_AWS_144:`job up` makes its content again
  #checkov:skip=CKV_AWS_145:S3's own key encrypts it; it holds no rows and no secrets
  #checkov:skip=CKV2_AWS_62:nothing waits for what is put there
  count = local.own_bucket

  bucket        = local.bundle_bucket
  force_destroy = true
  tags          = module.common.tags
}

resource "aws_s3_bucket_public_access_block" "bundle" {
  count = local.own_bucket

  bucket                  = aws_s3_bucket.bundle[0].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "bundle" {
  count = local.own_bucket

  bucket = aws_s3_bucket.bundle[0].id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_versioning" "bundle" {
  count = local.own_bucket

  bucket = aws_s3_bucket.bundle[0].id

  versioning_configuration {
    status = "Enabled" # to go back, copy an older version over the newest
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "bundle" {
  count = local.own_bucket

  bucket = aws_s3_bucket.bundle[0].id

  rule {
    id     = "old"
    status = "Enabled"

    filter {}

    noncurrent_version_expiration {
      noncurrent_days = 90
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
}

data "aws_iam_policy_document" "bundle" {
  statement {
    sid       = "OnlyByTls"
    effect    = "Deny"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket"]
    resources = ["arn:${module.common.partition}:s3:::${local.bundle_bucket}", "arn:${module.common.partition}:s3:::${local.bundle_bucket}/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "bundle" {
  count = local.own_bucket

  bucket     = aws_s3_bucket.bundle[0].id
  policy     = data.aws_iam_policy_document.bundle.json
  depends_on = [aws_s3_bucket_public_access_block.bundle]
}
