"""Calls to AWS that nothing of deploy/ may make: what the job must not do, and what no role may do."""

from __future__ import annotations

from tests.deploy.iam import ACCOUNT, REGION
from tests.deploy.recorded import Call
from tests.deploy.terraform import TARGETS

BUCKET = "example-exports"
CLUSTER = f"arn:aws:kafka:{REGION}:{ACCOUNT}:cluster/csv2kafka-example/a1b2c3d4-5678-90ab-cdef-11111example-2"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ADMIN = f"arn:aws:iam::{ACCOUNT}:role/Admin"


def of_cluster(kind: str, name: str, cluster: str = CLUSTER) -> str:
    """The ARN of a topic, transactional-id and so on of the cluster."""
    return f"{cluster.replace(':cluster/', f':{kind}/')}/{name}"


VIA_S3 = (("kms:ViaService", f"s3.{REGION}.amazonaws.com"),)
JOB = [
    Call("s3:GetObject", "arn:aws:s3:::another-bucket/orders/a.csv"),
    Call("s3:GetObject", f"arn:aws:s3:::{BUCKET}/invoices/a.csv"),
    Call("s3:ListBucket", f"arn:aws:s3:::{BUCKET}", (("s3:prefix", "invoices/"),)),
    Call("s3:ListBucket", f"arn:aws:s3:::{BUCKET}"),
    Call("s3:PutObject", f"arn:aws:s3:::{BUCKET}/orders/a.csv"),
    Call("s3:DeleteObject", f"arn:aws:s3:::{BUCKET}/orders/a.csv"),
    Call("dynamodb:Scan", f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/customers"),
    Call("dynamodb:UpdateItem", f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/customers"),
    Call("iam:PassRole", ADMIN),
    Call("sts:AssumeRole", ADMIN),
    Call("secretsmanager:GetSecretValue", f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:payroll-AbCdEf"),
    Call("ssm:GetParameter", f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/payroll"),
    Call("kms:Decrypt", KEY.replace("1234abcd", "99999999"), VIA_S3),
    Call("kms:Decrypt", KEY),
    Call("kafka-cluster:Connect", CLUSTER.replace("csv2kafka-example", "payments")),
    Call("kafka-cluster:WriteData", of_cluster("topic", "payments")),
    Call("kafka-cluster:ReadData", of_cluster("topic", "orders-bad")),
    Call("kafka-cluster:WriteData", of_cluster("topic", "orders", CLUSTER.replace("csv2kafka-example", "payments"))),
    Call("kafka-cluster:AlterTransactionalId", of_cluster("transactional-id", "payments-1")),
    Call("kafka-cluster:DeleteTopic", of_cluster("topic", "orders")),
    Call("kafka-cluster:AlterTopic", of_cluster("topic", "orders")),
    Call("kafka-cluster:AlterCluster", CLUSTER),
]

# What no role of a target may do, whatever it is for.
NOBODY = [
    *(Call(action) for action in ("iam:CreateRole", "iam:AttachRolePolicy", "iam:PutRolePolicy", "sts:AssumeRole")),
    *(
        Call("iam:PassRole", ADMIN, (("iam:PassedToService", f"{service}.amazonaws.com"),))
        for service in ("ecs-tasks", "ec2", "batch", "states", "lambda")
    ),
    Call("ecs:RunTask", f"arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/another:1"),
    Call("ecs:StopTask", f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/another/1234"),
    Call("batch:SubmitJob", f"arn:aws:batch:{REGION}:{ACCOUNT}:job-queue/another"),
    Call("states:StartExecution", f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:another"),
    Call("lambda:InvokeFunction", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:another"),
    Call(
        "autoscaling:UpdateAutoScalingGroup",
        f"arn:aws:autoscaling:{REGION}:{ACCOUNT}:autoScalingGroup:1234abcd:autoScalingGroupName/another",
    ),
    Call("ec2:TerminateInstances", f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/i-0123456789abcdef0"),
    Call("ec2:RunInstances", f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/*"),
    Call("s3:GetObject", "arn:aws:s3:::another-bucket/orders/a.csv"),
    Call("s3:PutObject", f"arn:aws:s3:::{BUCKET}/orders/a.csv"),
    Call("dynamodb:Scan", f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/customers"),
    Call("ecr:PutImage", f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/another"),
    Call("logs:PutLogEvents", f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:another:log-stream:x"),
    Call("kms:ScheduleKeyDeletion", KEY),
    *(Call("dynamodb:DeleteTable", f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/csv2kafka-{name}") for name in TARGETS),
    *(Call("logs:DeleteLogGroup", f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:csv2kafka-{name}") for name in TARGETS),
    *(Call("ecr:PutImage", f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/csv2kafka-{name}") for name in TARGETS),
]
