"""The peer: what one would write with boto3 in an afternoon, and sixteen threads.

Every region and type is a task; where a listing has no tags, every resource is one call more. Prints the counts
by type as JSON.
"""

import json
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

REGIONS, TYPES, RULES = sys.argv[1].split(","), sys.argv[2].split(","), json.loads(sys.argv[3])
CONFIG = Config(max_pool_connections=32, retries={"mode": "standard", "max_attempts": 20})
SESSION = boto3.Session()
for rule in RULES:
    rule["regex"] = re.compile(rule["regex"]) if rule["regex"] else None


@lru_cache(maxsize=None)
def client(service, region):
    return SESSION.client(service, region_name=region, config=CONFIG)


def pages(service, region, operation, **arguments):
    return client(service, region).get_paginator(operation).paginate(**arguments)


def pairs(tags):
    return {tag["Key"]: tag["Value"] for tag in tags or []}


def bucket_tags(region, bucket):
    try:
        return pairs(client("s3", region).get_bucket_tagging(Bucket=bucket)["TagSet"])
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchTagSet":
            return {}
        raise


def instances(region, _):
    for page in pages("ec2", region, "describe_instances", PaginationConfig={"PageSize": 1000}):
        for reservation in page["Reservations"]:
            yield from (pairs(one.get("Tags")) for one in reservation["Instances"])


def volumes(region, _):
    for page in pages("ec2", region, "describe_volumes", PaginationConfig={"PageSize": 1000}):
        yield from (pairs(one.get("Tags")) for one in page["Volumes"])


def databases(region, _):
    for page in pages("rds", region, "describe_db_instances"):
        yield from (pairs(one.get("TagList")) for one in page["DBInstances"])


def functions(region, each):
    arns = [one["FunctionArn"] for page in pages("lambda", region, "list_functions") for one in page["Functions"]]
    return each(lambda arn: client("lambda", region).list_tags(Resource=arn).get("Tags") or {}, arns)


def buckets(region, each):
    listed = client("s3", region).list_buckets(BucketRegion=region)["Buckets"]
    return each(lambda name: bucket_tags(region, name), [one["Name"] for one in listed])


def tables(region, each):
    names = [name for page in pages("dynamodb", region, "list_tables") for name in page["TableNames"]]
    dynamodb = client("dynamodb", region)
    account = client("sts", "us-east-1").get_caller_identity()["Account"] if names else ""
    arns = [f"arn:aws:dynamodb:{region}:{account}:table/{name}" for name in names]
    return each(lambda arn: pairs(dynamodb.list_tags_of_resource(ResourceArn=arn)["Tags"]), arns)


def services(region, _):
    ecs = client("ecs", region)
    for cluster in ecs.list_clusters()["clusterArns"]:
        for page in pages("ecs", region, "list_services", cluster=cluster, PaginationConfig={"PageSize": 10}):
            arns = page["serviceArns"]
            for one in ecs.describe_services(cluster=cluster, services=arns, include=["TAGS"])["services"] if arns else []:
                yield {tag["key"]: tag["value"] for tag in one.get("tags", [])}


LISTINGS = {
    "ec2:instance": instances,
    "ec2:volume": volumes,
    "rds:db": databases,
    "lambda:function": functions,
    "s3:bucket": buckets,
    "dynamodb:table": tables,
    "ecs:service": services,
}


def holds(rule, value):
    if rule["regex"]:
        return rule["regex"].fullmatch(value) is not None
    return value in rule["allowed"] if rule["allowed"] else value.strip() != ""


def count(resource_type, region, each):
    rules = [rule for rule in RULES if resource_type in rule["types"]]
    resources = compliant = violations = 0
    for tags in LISTINGS[resource_type](region, each):
        broken = sum(1 for rule in rules if rule["key"] not in tags or not holds(rule, tags[rule["key"]]))
        resources += 1
        compliant += broken == 0
        violations += broken
    return resource_type, (resources, compliant, violations)


def main():
    # Clients are made one by one: making them is not safe in several threads.
    for region in REGIONS:
        for resource_type in TYPES:
            client(resource_type.split(":")[0], region)
    client("sts", "us-east-1")
    totals = {resource_type: [0, 0, 0] for resource_type in TYPES}
    with ThreadPoolExecutor(16) as listers, ThreadPoolExecutor(16) as askers:
        tasks = [listers.submit(count, one, region, askers.map) for region in REGIONS for one in TYPES]
        for task in tasks:
            resource_type, counts = task.result()
            totals[resource_type] = [sum(pair) for pair in zip(totals[resource_type], counts)]
    names = ("resources", "compliant", "violations")
    json.dump({resource_type: dict(zip(names, counts)) for resource_type, counts in totals.items()}, sys.stdout)


main()
