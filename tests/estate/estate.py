"""Fills a simulator with a plausible estate, mistakes included, and writes down what is really there.

The plan depends on the seed alone; ids are the simulator's. `truth.json` holds every resource that was made,
and those that exist by default, so the expected result of a scan can be computed without reading anything back.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import threading
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

AMBIENT = "123456789012"

TEAMS = {
    "payments": ["ledger", "checkout", "refunds"],
    "search": ["indexer", "ranking"],
    "platform": ["gateway", "identity", "builds"],
    "data": ["lake", "reports", "events"],
}
COST_CENTERS = ["CC-1010", "CC-1020", "CC-2040", "CC-3075", "CC-9001"]
PEOPLE = ["ada.byron", "grace.hopper", "alan.kay", "barbara.liskov", "ken.thompson", "radia.perlman"]
ENVIRONMENTS = ["production", "production", "staging", "development", "test"]
DATA_CLASSES = ["public", "internal", "Confidential", "restricted"]
DATABASES = {"rds:db", "rds:cluster"}

# How many of each, for an account, a region and a scale of 1.
COUNTS = {
    "ec2:vpc": 2,
    "ec2:subnet": 3,
    "ec2:security-group": 3,
    "ec2:natgateway": 2,
    "ec2:elastic-ip": 2,
    "ec2:instance": 11,
    "ec2:volume": 6,
    "ec2:snapshot": 4,
    "rds:db": 6,
    "rds:cluster": 2,
    "s3:bucket": 6,
    "lambda:function": 9,
    "ecs:cluster": 2,
    "ecs:service": 5,
    "ecs:task-definition": 4,
    "sns:topic": 3,
    "sqs:queue": 3,
    "dynamodb:table": 3,
    "kms:key": 2,
    "secretsmanager:secret": 2,
    "logs:log-group": 3,
}
# Seen only through the tagging API, which knows nothing that was never tagged.
TAGGING_ONLY = {
    "sns:topic",
    "sqs:queue",
    "dynamodb:table",
    "kms:key",
    "secretsmanager:secret",
    "logs:log-group",
}

Tags = dict[str, str]


@dataclass
class Resource:
    """One resource as it is."""

    arn: str
    type: str
    account: str
    region: str
    tags: Tags = field(default_factory=dict)
    # Why a scan must leave it out; empty for one that counts.
    ignored: str = ""


@dataclass
class Wanted:
    """One resource as it is planned."""

    type: str
    name: str
    tags: Tags


class Clients:
    """boto3 clients of one simulator, for any account and region."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._session = boto3.session.Session()
        self._lock = threading.Lock()
        self._keys: dict[str, dict[str, str]] = {}
        self._clients: dict[tuple[str, str, str], Any] = {}

    def get(self, service: str, account: str, region: str) -> Any:
        key = (service, account, region)
        with self._lock:
            if key not in self._clients:
                self._clients[key] = self._make(service, region, self._keys_of(account))
            return self._clients[key]

    def _keys_of(self, account: str) -> dict[str, str]:
        own = {"aws_access_key_id": "AKIATESTBEDSEEDER000", "aws_secret_access_key": "not-a-secret"}
        if account == AMBIENT:
            return own
        if account not in self._keys:
            sts = self._make("sts", "us-east-1", own)
            role = f"arn:aws:iam::{account}:role/seeder"
            given = sts.assume_role(RoleArn=role, RoleSessionName="seeder")["Credentials"]
            self._keys[account] = {
                "aws_access_key_id": given["AccessKeyId"],
                "aws_secret_access_key": given["SecretAccessKey"],
                "aws_session_token": given["SessionToken"],
            }
        return self._keys[account]

    def _make(self, service: str, region: str, keys: dict[str, str]) -> Any:
        config = Config(
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "path"},
            read_timeout=60,
            request_checksum_calculation="when_required",
        )
        return self._session.client(service, region_name=region, endpoint_url=self._endpoint, config=config, **keys)


# --- what is planned -------------------------------------------------------------------------------------------


def proper_tags(rng: random.Random, type_: str, team: str, app: str) -> Tags:
    tags = {
        "Name": f"{team}-{app}",
        "CostCenter": rng.choice(COST_CENTERS),
        "Owner": f"{rng.choice(PEOPLE)}@example.com",
        "Environment": rng.choice(ENVIRONMENTS),
        "Application": app,
    }
    if type_ in DATABASES | {"s3:bucket", "dynamodb:table"}:
        tags["DataClass"] = rng.choice(DATA_CLASSES)
    if type_ in DATABASES and tags["Environment"] == "production" and rng.random() < 0.7:
        tags["BackupPlan"] = rng.choice(["daily", "hourly"])
    if rng.random() < 0.3:
        tags["Project"] = rng.choice(["atlas", "blue-whale", "q7", "Unregistered Idea"])
    return tags


def rename(tags: Tags, key: str, other: str) -> None:
    if key in tags:
        tags[other] = tags.pop(key)


def lose(rng: random.Random, tags: Tags, _: str) -> None:
    tags.pop(rng.choice(["CostCenter", "Owner", "Environment"]), None)


def blank(rng: random.Random, tags: Tags, type_: str) -> None:
    # The simulator's S3 trims values; elsewhere a space stays one.
    tags[rng.choice(["CostCenter", "Owner", "Environment"])] = "" if type_ == "s3:bucket" else rng.choice(["", " "])


def wrong_value(rng: random.Random, tags: Tags, _: str) -> None:
    key, value = rng.choice([("CostCenter", "CC-0000"), ("Environment", "prod"), ("Environment", "live")])
    tags[key] = value


def wrong_value_case(_: random.Random, tags: Tags, __: str) -> None:
    tags["Environment"] = tags.get("Environment", "test").title()


def wrong_key_case(rng: random.Random, tags: Tags, _: str) -> None:
    key, other = rng.choice(
        [
            ("CostCenter", "costcenter"),
            ("Owner", "owner"),
            ("Environment", "ENVIRONMENT"),
            ("Application", "application"),
        ]
    )
    rename(tags, key, other)


def bad_owner(rng: random.Random, tags: Tags, _: str) -> None:
    tags["Owner"] = rng.choice(["Ada Byron", "ada.byron@", "team-search", "ada.byron@example.com.invalid"])


def temporary(rng: random.Random, tags: Tags, _: str) -> None:
    tags[rng.choice(["tmp-delete-after", "tmp-owner", "tmp-"])] = "soon"


def twice(rng: random.Random, tags: Tags, _: str) -> None:
    """Two keys that differ only in case: the exact one counts."""
    tags["owner"] = rng.choice(["nobody", "somebody@example.com"])


def loud_application(_: random.Random, tags: Tags, __: str) -> None:
    tags["Application"] = tags.get("Application", "app").upper()


MISTAKES = [
    lose, lose, blank, wrong_value, wrong_value, wrong_value_case, wrong_key_case, wrong_key_case, bad_owner,
    temporary, twice, loud_application,
]  # fmt: skip


def tags_of(rng: random.Random, type_: str, team: str, app: str) -> Tags:
    """Tags as people set them: mostly right, sometimes none, sometimes with a mistake or two."""
    luck = rng.random()
    if luck < 0.08:
        return {}
    tags = proper_tags(rng, type_, team, app)
    if type_ in DATABASES and rng.random() < 0.3:
        tags["Migration"] = rng.choice(["wave-1", "wave-2", "wave-2", "later"])
    if luck > 0.66:
        for _ in range(rng.choice([1, 1, 2])):
            rng.choice(MISTAKES)(rng, tags, type_)
    return tags


def plan(seed: int, account: str, region: str, scale: float, many: dict[str, int]) -> list[Wanted]:
    rng = random.Random(f"{seed}/{account}/{region}")
    wanted = []
    for type_, count in COUNTS.items():
        for number in range(max(1, round(count * scale)) + many.get(type_, 0)):
            team = rng.choice(list(TEAMS))
            app = rng.choice(TEAMS[team])
            legacy = "legacy-" if type_ == "lambda:function" and rng.random() < 0.2 else ""
            name = f"{legacy}{team}-{app}-{number}"
            wanted.append(Wanted(type_, name, tags_of(rng, type_, team, app)))
    return wanted


# --- how it is made --------------------------------------------------------------------------------------------


def pairs(tags: Tags) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def specification(kind: str, tags: Tags) -> dict[str, Any]:
    return {"TagSpecifications": [{"ResourceType": kind, "Tags": pairs(tags)}]} if tags else {}


class Slot:
    """Makes the resources of one account and region, in the order of the plan."""

    def __init__(self, clients: Clients, account: str, region: str, seed: int) -> None:
        self.account, self.region = account, region
        self.made: list[Resource] = []
        self._clients = clients
        # Apart from the plan's: what is made must not change what is planned.
        self._rng = random.Random(f"{seed}/{account}/{region}/make")
        self._vpcs: list[str] = []
        self._subnets: list[str] = []
        self._volumes: list[str] = []
        self._clusters: list[str] = []
        self._role = ""

    def client(self, service: str) -> Any:
        return self._clients.get(service, self.account, self.region)

    def make(self, wanted: Wanted) -> None:
        makers: dict[str, Callable[[Wanted], None]] = {
            "ec2:vpc": self._vpc,
            "ec2:subnet": self._subnet,
            "ec2:security-group": self._security_group,
            "ec2:natgateway": self._natgateway,
            "ec2:elastic-ip": self._elastic_ip,
            "ec2:instance": self._instance,
            "ec2:volume": self._volume,
            "ec2:snapshot": self._snapshot,
            "rds:db": self._db,
            "rds:cluster": self._db_cluster,
            "s3:bucket": self._bucket,
            "lambda:function": self._function,
            "ecs:cluster": self._ecs_cluster,
            "ecs:service": self._ecs_service,
            "ecs:task-definition": self._task_definition,
            "sns:topic": self._topic,
            "sqs:queue": self._queue,
            "dynamodb:table": self._table,
            "kms:key": self._key,
            "secretsmanager:secret": self._secret,
            "logs:log-group": self._log_group,
        }
        makers[wanted.type](wanted)

    def _add(self, type_: str, arn: str, tags: Tags, ignored: str = "") -> None:
        self.made.append(Resource(arn, type_, self.account, self.region, dict(tags), ignored))

    def _arn(self, service: str, rest: str) -> str:
        return f"arn:aws:{service}:{self.region}:{self.account}:{rest}"

    def _vpc(self, wanted: Wanted) -> None:
        block = f"10.{len(self._vpcs) + 1}.0.0/16"
        vpc = self.client("ec2").create_vpc(CidrBlock=block, **specification("vpc", wanted.tags))["Vpc"]["VpcId"]
        self._vpcs.append(vpc)
        self._add(wanted.type, self._arn("ec2", f"vpc/{vpc}"), wanted.tags)

    def _subnet(self, wanted: Wanted) -> None:
        number = len(self._subnets)
        which = number % len(self._vpcs)
        answer = self.client("ec2").create_subnet(
            VpcId=self._vpcs[which],
            CidrBlock=f"10.{which + 1}.{number}.0/24",
            **specification("subnet", wanted.tags),
        )
        self._subnets.append(answer["Subnet"]["SubnetId"])
        self._add(wanted.type, self._arn("ec2", f"subnet/{self._subnets[-1]}"), wanted.tags)

    def _security_group(self, wanted: Wanted) -> None:
        answer = self.client("ec2").create_security_group(
            GroupName=wanted.name,
            Description=wanted.name,
            VpcId=self._rng.choice(self._vpcs),
            **specification("security-group", wanted.tags),
        )
        self._add(wanted.type, self._arn("ec2", f"security-group/{answer['GroupId']}"), wanted.tags)

    def _natgateway(self, wanted: Wanted) -> None:
        ec2 = self.client("ec2")
        answer = ec2.create_nat_gateway(
            SubnetId=self._rng.choice(self._subnets),
            ConnectivityType="private",
            **specification("natgateway", wanted.tags),
        )
        gateway = answer["NatGateway"]["NatGatewayId"]
        deleted = self._rng.random() < 0.25
        if deleted:
            ec2.delete_nat_gateway(NatGatewayId=gateway)
        arn = self._arn("ec2", f"natgateway/{gateway}")
        self._add(wanted.type, arn, wanted.tags, "deleted" if deleted else "")

    def _elastic_ip(self, wanted: Wanted) -> None:
        answer = self.client("ec2").allocate_address(Domain="vpc", **specification("elastic-ip", wanted.tags))
        self._add(wanted.type, self._arn("ec2", f"elastic-ip/{answer['AllocationId']}"), wanted.tags)

    def _instance(self, wanted: Wanted) -> None:
        ec2 = self.client("ec2")
        # A launch template tags the root volume too; a hurried launch by hand does not.
        root_tags = dict(wanted.tags) if self._rng.random() < 0.5 else {}
        specifications = [
            {"ResourceType": kind, "Tags": pairs(tags)}
            for kind, tags in (("instance", wanted.tags), ("volume", root_tags))
            if tags
        ]
        count = 3 if self._rng.random() < 0.1 else 1
        instances = ec2.run_instances(
            ImageId="ami-12345678",
            InstanceType="t3.micro",
            MinCount=count,
            MaxCount=count,
            TagSpecifications=specifications,
        )["Instances"]
        fate = self._rng.random()
        for instance in instances:
            instance_id = instance["InstanceId"]
            arn = self._arn("ec2", f"instance/{instance_id}")
            if fate < 0.15:
                ec2.terminate_instances(InstanceIds=[instance_id])
                self._add(wanted.type, arn, wanted.tags, "terminated")
                continue
            if fate < 0.3:
                ec2.stop_instances(InstanceIds=[instance_id])
            tags = dict(wanted.tags)
            if fate > 0.85:
                # As CloudFormation would; such keys are never judged.
                tags["aws:cloudformation:stack-name"] = wanted.name
                ec2.create_tags(Resources=[instance_id], Tags=pairs({"aws:cloudformation:stack-name": wanted.name}))
            self._add(wanted.type, arn, tags)
            for device in instance["BlockDeviceMappings"]:
                self._add("ec2:volume", self._arn("ec2", f"volume/{device['Ebs']['VolumeId']}"), root_tags)

    def _volume(self, wanted: Wanted) -> None:
        volume = self.client("ec2").create_volume(
            AvailabilityZone=f"{self.region}a", Size=8, **specification("volume", wanted.tags)
        )["VolumeId"]
        self._volumes.append(volume)
        self._add(wanted.type, self._arn("ec2", f"volume/{volume}"), wanted.tags)

    def _snapshot(self, wanted: Wanted) -> None:
        answer = self.client("ec2").create_snapshot(
            VolumeId=self._rng.choice(self._volumes), **specification("snapshot", wanted.tags)
        )
        self._add(wanted.type, self._arn("ec2", f"snapshot/{answer['SnapshotId']}"), wanted.tags)

    def _db(self, wanted: Wanted) -> None:
        answer = self.client("rds").create_db_instance(
            DBInstanceIdentifier=wanted.name,
            DBInstanceClass="db.t3.micro",
            Engine="postgres",
            AllocatedStorage=20,
            MasterUsername="master",
            MasterUserPassword="not-a-secret",
            Tags=pairs(wanted.tags),
        )
        self._add(wanted.type, answer["DBInstance"]["DBInstanceArn"], wanted.tags)

    def _db_cluster(self, wanted: Wanted) -> None:
        answer = self.client("rds").create_db_cluster(
            DBClusterIdentifier=f"{wanted.name}-cluster",
            Engine="aurora-postgresql",
            MasterUsername="master",
            MasterUserPassword="not-a-secret",
            Tags=pairs(wanted.tags),
        )
        self._add(wanted.type, answer["DBCluster"]["DBClusterArn"], wanted.tags)

    def _bucket(self, wanted: Wanted) -> None:
        # Names of buckets are the world's: account and region keep them apart.
        name = f"{wanted.name}-{self.account}-{self.region}"
        place = {} if self.region == "us-east-1" else {"LocationConstraint": self.region}
        s3 = self.client("s3")
        s3.create_bucket(Bucket=name, **({"CreateBucketConfiguration": place} if place else {}))
        if wanted.tags:
            s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": pairs(wanted.tags)})
        self._add(wanted.type, f"arn:aws:s3:::{name}", wanted.tags)

    def _function(self, wanted: Wanted) -> None:
        if not self._role:
            self._role = f"arn:aws:iam::{self.account}:role/{self.region}-functions"
            with FUNCTIONS:
                self.client("iam").create_role(RoleName=f"{self.region}-functions", AssumeRolePolicyDocument="{}")
        # One at a time: the simulator checks the role while others make theirs, and trips over it.
        with FUNCTIONS:
            answer = self.client("lambda").create_function(
                FunctionName=wanted.name,
                Runtime="python3.12",
                Role=self._role,
                Handler="main.handler",
                Code={"ZipFile": CODE},
                Tags=wanted.tags,
            )
        self._add(wanted.type, answer["FunctionArn"], wanted.tags)

    def _ecs_tags(self, tags: Tags) -> dict[str, Any]:
        return {"tags": [{"key": key, "value": value} for key, value in tags.items()]} if tags else {}

    def _ecs_cluster(self, wanted: Wanted) -> None:
        answer = self.client("ecs").create_cluster(clusterName=wanted.name, **self._ecs_tags(wanted.tags))
        self._clusters.append(wanted.name)
        self._add(wanted.type, answer["cluster"]["clusterArn"], wanted.tags)

    def _ecs_service(self, wanted: Wanted) -> None:
        ecs = self.client("ecs")
        if not any(resource.type == "ecs:service" for resource in self.made):
            self._register("services", {})
        answer = ecs.create_service(
            cluster=self._rng.choice(self._clusters),
            serviceName=wanted.name,
            taskDefinition="services",
            desiredCount=0,
            **self._ecs_tags(wanted.tags),
        )
        self._add(wanted.type, answer["service"]["serviceArn"], wanted.tags)

    def _register(self, family: str, tags: Tags, ignored: str = "") -> None:
        answer = self.client("ecs").register_task_definition(
            family=family,
            containerDefinitions=[{"name": "main", "image": "example", "memory": 128}],
            **self._ecs_tags(tags),
        )
        self._add("ecs:task-definition", answer["taskDefinition"]["taskDefinitionArn"], tags, ignored)

    def _task_definition(self, wanted: Wanted) -> None:
        for _ in range(self._rng.choice([0, 0, 1, 2])):
            self._register(wanted.name, {"Name": "an older revision"}, "older revision")
        self._register(wanted.name, wanted.tags)

    def _topic(self, wanted: Wanted) -> None:
        arn = self.client("sns").create_topic(Name=wanted.name, Tags=pairs(wanted.tags))["TopicArn"]
        self._add(wanted.type, arn, wanted.tags)

    def _queue(self, wanted: Wanted) -> None:
        self.client("sqs").create_queue(QueueName=wanted.name, tags=wanted.tags)
        self._add(wanted.type, self._arn("sqs", wanted.name), wanted.tags)

    def _table(self, wanted: Wanted) -> None:
        answer = self.client("dynamodb").create_table(
            TableName=wanted.name,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            Tags=pairs(wanted.tags),
        )
        self._add(wanted.type, answer["TableDescription"]["TableArn"], wanted.tags)

    def _key(self, wanted: Wanted) -> None:
        tags = [{"TagKey": key, "TagValue": value} for key, value in wanted.tags.items()]
        answer = self.client("kms").create_key(Description=wanted.name, Tags=tags)
        self._add(wanted.type, answer["KeyMetadata"]["Arn"], wanted.tags)

    def _secret(self, wanted: Wanted) -> None:
        answer = self.client("secretsmanager").create_secret(
            Name=wanted.name, SecretString="not-a-secret", Tags=pairs(wanted.tags)
        )
        self._add(wanted.type, answer["ARN"], wanted.tags)

    def _log_group(self, wanted: Wanted) -> None:
        name = f"/example/{wanted.name}"
        self.client("logs").create_log_group(logGroupName=name, **({"tags": wanted.tags} if wanted.tags else {}))
        self._add(wanted.type, self._arn("logs", f"log-group:{name}"), wanted.tags)

    def add_defaults(self) -> None:
        """What nobody made: default VPCs with their subnets, and the default group of every VPC."""
        ec2 = self.client("ec2")
        known = {resource.arn for resource in self.made}
        found = (
            [("ec2:vpc", f"vpc/{vpc['VpcId']}") for vpc in ec2.describe_vpcs()["Vpcs"]]
            + [("ec2:subnet", f"subnet/{subnet['SubnetId']}") for subnet in ec2.describe_subnets()["Subnets"]]
            + [
                ("ec2:security-group", f"security-group/{group['GroupId']}")
                for group in ec2.describe_security_groups()["SecurityGroups"]
            ]
        )
        for type_, rest in found:
            arn = self._arn("ec2", rest)
            if arn not in known:
                self._add(type_, arn, {})


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as code:
        code.writestr("main.py", "def handler(event, context): ...\n")
    return buffer.getvalue()


# Held while a function, or the role that it needs, is made.
FUNCTIONS = threading.Lock()
CODE = archive()


def fill(clients: Clients, seed: int, account: str, region: str, scale: float, many: dict[str, int]) -> list[Resource]:
    slot = Slot(clients, account, region, seed)
    for wanted in plan(seed, account, region, scale, many):
        slot.make(wanted)
    slot.add_defaults()
    for resource in slot.made:
        if resource.type in TAGGING_ONLY and not resource.tags:
            resource.ignored = "never tagged, and its type can only be seen through the tagging API"
    return slot.made


def parse_many(text: str) -> dict[str, int]:
    """`rds=105,lambda=60`: so many more of a type, in the first region of the first account."""
    short = {"rds": "rds:db", "lambda": "lambda:function", "s3": "s3:bucket", "dynamodb": "dynamodb:table"}
    many = {}
    for part in filter(None, text.split(",")):
        name, _, count = part.partition("=")
        type_ = short.get(name, name)
        if type_ not in COUNTS:
            raise SystemExit(f"--many: `{name}` is not a type of the estate: {', '.join(COUNTS)}")
        many[type_] = int(count)
    return many


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    seed = commands.add_parser("seed", help="make an estate")
    seed.add_argument("--endpoint", required=True, help="URL of the simulator")
    seed.add_argument("--seed", type=int, default=1)
    seed.add_argument("--accounts", required=True, help="comma-separated account ids")
    seed.add_argument("--regions", required=True, help="comma-separated regions")
    seed.add_argument("--scale", type=float, default=1.0, help="1 makes about 85 resources an account and region")
    seed.add_argument("--many", type=parse_many, default={}, help="rds=105,lambda=60")
    seed.add_argument("--out", type=Path, required=True, help="where to write the truth")
    arguments = parser.parse_args()

    clients = Clients(arguments.endpoint)
    accounts, regions = arguments.accounts.split(","), arguments.regions.split(",")
    slots = [(account, region) for account in accounts for region in regions]
    with ThreadPoolExecutor(max_workers=min(8, len(slots))) as pool:
        futures = [
            pool.submit(
                fill,
                clients,
                arguments.seed,
                account,
                region,
                arguments.scale,
                arguments.many if (account, region) == slots[0] else {},
            )
            for account, region in slots
        ]
        resources = [resource for future in futures for resource in future.result()]
    resources.sort(key=lambda resource: resource.arn)
    truth = {
        "seed": arguments.seed,
        "accounts": accounts,
        "regions": regions,
        "resources": [asdict(resource) for resource in resources],
    }
    partial = arguments.out.with_suffix(".partial")
    partial.write_text(json.dumps(truth, indent=1))
    partial.rename(arguments.out)
    print(f"{len(resources)} resources in {len(accounts)} accounts and {len(regions)} regions")


if __name__ == "__main__":
    main()
