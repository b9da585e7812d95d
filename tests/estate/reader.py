"""An independent reader and evaluator: what `tagwarden scan` should find, computed another way.

`read` lists an estate through boto3, tags asked natively one resource at a time; `expect` takes the truth that
`estate.py` wrote. Both apply the policy with the plainest code that follows the rules, and print the same JSON.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml
from botocore.exceptions import ClientError

from estate import AMBIENT, Clients, Resource, Tags

Json = dict[str, Any]

# --- listing ---------------------------------------------------------------------------------------------------


def tag_map(tags: list[Json] | None, key: str = "Key", value: str = "Value") -> Tags:
    # S3 leaves the value of an empty one out.
    return {tag[key]: tag.get(value, "") for tag in tags or []}


class Reader:
    """Lists the resources of one account and region, type by type."""

    def __init__(self, clients: Clients, account: str, region: str) -> None:
        self.account, self.region = account, region
        self._clients = clients

    def list(self, type_: str) -> list[Resource]:
        lister = NATIVE.get(type_)
        found = lister(self) if lister else self._tagged(TAGGED[type_])
        return [Resource(arn, type_, self.account, self.region, tags) for arn, tags in found]

    def pages(self, service: str, operation: str, field: str, **arguments: Any) -> Iterator[Any]:
        client = self.client(service)
        if not client.can_paginate(operation):
            yield from getattr(client, operation)(**arguments)[field]
            return
        for page in client.get_paginator(operation).paginate(**arguments):
            yield from page[field]

    def client(self, service: str) -> Any:
        return self._clients.get(service, self.account, self.region)

    def ec2(self, operation: str, field: str, id_field: str, noun: str, **arguments: Any) -> Iterator[tuple[str, Tags]]:
        for row in self.pages("ec2", operation, field, **arguments):
            if row.get("State") in ("deleted", "deleting"):
                continue
            arn = f"arn:aws:ec2:{self.region}:{self.account}:{noun}/{row[id_field]}"
            yield arn, tag_map(row.get("Tags"))

    def instances(self) -> Iterator[tuple[str, Tags]]:
        for reservation in self.pages("ec2", "describe_instances", "Reservations"):
            for row in reservation["Instances"]:
                if row["State"]["Name"] not in ("terminated", "shutting-down"):
                    arn = f"arn:aws:ec2:{self.region}:{self.account}:instance/{row['InstanceId']}"
                    yield arn, tag_map(row.get("Tags"))

    def rds(self, operation: str, field: str, arn_field: str) -> Iterator[tuple[str, Tags]]:
        for row in self.pages("rds", operation, field):
            arn = row[arn_field]
            yield arn, tag_map(self.client("rds").list_tags_for_resource(ResourceName=arn)["TagList"])

    def buckets(self) -> Iterator[tuple[str, Tags]]:
        s3 = self.client("s3")
        for row in s3.list_buckets()["Buckets"]:
            name = row["Name"]
            home = s3.get_bucket_location(Bucket=name)["LocationConstraint"] or "us-east-1"
            if home != self.region:
                continue
            try:
                tags = tag_map(s3.get_bucket_tagging(Bucket=name)["TagSet"])
            except ClientError as error:
                if error.response["Error"]["Code"] != "NoSuchTagSet":
                    raise
                tags = {}
            yield f"arn:aws:s3:::{name}", tags

    def functions(self) -> Iterator[tuple[str, Tags]]:
        for row in self.pages("lambda", "list_functions", "Functions"):
            arn = row["FunctionArn"]
            yield arn, dict(self.client("lambda").list_tags(Resource=arn).get("Tags", {}))

    def ecs_tags(self, arn: str) -> Tags:
        return tag_map(self.client("ecs").list_tags_for_resource(resourceArn=arn).get("tags"), "key", "value")

    def ecs_clusters(self) -> Iterator[tuple[str, Tags]]:
        for arn in self.pages("ecs", "list_clusters", "clusterArns"):
            yield arn, self.ecs_tags(arn)

    def ecs_services(self) -> Iterator[tuple[str, Tags]]:
        for cluster in self.pages("ecs", "list_clusters", "clusterArns"):
            for arn in self.pages("ecs", "list_services", "serviceArns", cluster=cluster):
                yield arn, self.ecs_tags(arn)

    def task_definitions(self) -> Iterator[tuple[str, Tags]]:
        newest: dict[str, int] = {}
        for arn in self.pages("ecs", "list_task_definitions", "taskDefinitionArns", status="ACTIVE"):
            family, _, revision = arn.rpartition(":")
            newest[family] = max(newest.get(family, 0), int(revision))
        for family, revision in newest.items():
            arn = f"{family}:{revision}"
            yield arn, self.ecs_tags(arn)

    def _tagged(self, filter_: str) -> Iterator[tuple[str, Tags]]:
        rows = self.pages(
            "resourcegroupstaggingapi", "get_resources", "ResourceTagMappingList", ResourceTypeFilters=[filter_]
        )
        for row in rows:
            yield row["ResourceARN"], tag_map(row["Tags"])


NATIVE: dict[str, Callable[[Reader], Iterator[tuple[str, Tags]]]] = {
    "ec2:instance": Reader.instances,
    "ec2:volume": lambda reader: reader.ec2("describe_volumes", "Volumes", "VolumeId", "volume"),
    "ec2:snapshot": lambda reader: reader.ec2(
        "describe_snapshots", "Snapshots", "SnapshotId", "snapshot", OwnerIds=["self"]
    ),
    "ec2:elastic-ip": lambda reader: reader.ec2("describe_addresses", "Addresses", "AllocationId", "elastic-ip"),
    "ec2:natgateway": lambda reader: reader.ec2("describe_nat_gateways", "NatGateways", "NatGatewayId", "natgateway"),
    "ec2:vpc": lambda reader: reader.ec2("describe_vpcs", "Vpcs", "VpcId", "vpc"),
    "ec2:subnet": lambda reader: reader.ec2("describe_subnets", "Subnets", "SubnetId", "subnet"),
    "ec2:security-group": lambda reader: reader.ec2(
        "describe_security_groups", "SecurityGroups", "GroupId", "security-group"
    ),
    "rds:db": lambda reader: reader.rds("describe_db_instances", "DBInstances", "DBInstanceArn"),
    "rds:cluster": lambda reader: reader.rds("describe_db_clusters", "DBClusters", "DBClusterArn"),
    "s3:bucket": Reader.buckets,
    "lambda:function": Reader.functions,
    "ecs:cluster": Reader.ecs_clusters,
    "ecs:service": Reader.ecs_services,
    "ecs:task-definition": Reader.task_definitions,
}

# Type: its filter in the tagging API.
TAGGED = {
    "dynamodb:table": "dynamodb:table",
    "kms:key": "kms:key",
    "secretsmanager:secret": "secretsmanager:secret",
    "sns:topic": "sns",
    "sqs:queue": "sqs",
    "logs:log-group": "logs",
}

# Scanned only when a rule names them.
FREE = {"ec2:vpc", "ec2:subnet", "ec2:security-group", "sns:topic", "sqs:queue", "logs:log-group"}

TYPES = [*NATIVE, *TAGGED]

# --- evaluating ------------------------------------------------------------------------------------------------


def like(pattern: str, text: str, flags: int = 0) -> bool:
    """Whether a text is what a pattern with `*` describes."""
    expression = ".*".join(re.escape(piece) for piece in pattern.split("*"))
    return re.fullmatch(expression, text, flags | re.DOTALL) is not None


def like_any(patterns: list[str], text: str, flags: int = 0) -> bool:
    return any(like(pattern, text, flags) for pattern in patterns)


@dataclass(frozen=True)
class Account:
    id: str
    labels: dict[str, str]


def account_fits(selector: Json, account: Account) -> bool:
    if selector.get("ids") and account.id not in selector["ids"]:
        return False
    labels = account.labels
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for expression in selector.get("matchExpressions", []):
        value, values = labels.get(expression["key"]), expression.get("values", [])
        holds = {
            "In": value in values,
            "NotIn": value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not holds[expression["operator"]]:
            return False
    return True


def fits(scope: Json | None, types_field: str, resource: Resource, account: Account) -> bool:
    """Whether a resource is one that `appliesTo`, or the `resources` of an exemption, speaks of."""
    if not scope:
        return True
    types, regions = scope.get(types_field), scope.get("regions")
    return (
        (not types or like_any(types, resource.type))
        and (not regions or like_any(regions, resource.region))
        and account_fits(scope.get("accounts") or {}, account)
        and all(tag_fits(selector, resource.tags) for selector in scope.get("tags", []))
    )


def tag_fits(selector: Json, tags: Tags) -> bool:
    value = tags.get(selector["key"])
    return value is not None and (not selector.get("values") or like_any(selector["values"], value))


def value_fault(values: Json, value: str) -> str | None:
    case = values.get("case", "Exact")
    flags = re.IGNORECASE if case == "Insensitive" else 0
    allowed = values.get("allowed")
    if allowed is not None and not like_any(allowed, value, flags):
        return "invalid_value"
    regex = values.get("regex")
    well_formed = (
        (regex is None or re.fullmatch(f"(?:{regex})", value, flags) is not None)
        and values.get("minLength", 0) <= len(value) <= values.get("maxLength", 256)
        and (case != "Lower" or value == value.lower())
        and (case != "Upper" or value == value.upper())
        and (case != "Title" or all(word == word.capitalize() for word in re.split(r"[\W_]+", value)))
    )
    return None if well_formed else "invalid_format"


Fault = tuple[str, str, str, str]  # (tag key, violation type, severity, kind)


def tag_faults(rule: Json, required: bool, tags: Tags, ruled: set[str]) -> Iterator[Fault]:
    """What is wrong with the tag of one rule. A key with a rule of its own is no misspelling of another."""
    key = rule["key"]
    kind = "violation" if required else "advice"
    severity = rule.get("severity", "high" if required else "low")
    value = tags.get(key)
    if value is None:
        namesakes = sorted(other for other in tags if other.lower() == key.lower() and other not in ruled)
        if namesakes and rule.get("keyCase", "Exact") == "Exact":
            yield key, "wrong_case", severity, kind
            return
        if namesakes:
            yield key, "wrong_case", severity, "advice"
            value = tags[namesakes[0]]
    if required and (value is None or not value.strip()):
        yield key, "missing_required_tag", severity, kind
        return
    if value is None:
        return
    fault = value_fault(rule.get("values") or {}, value)
    if fault:
        yield key, fault, severity, kind


WRITTEN = {
    "Any": ".*",
    "Pascal": r"[^\W\d_a-z][^\W_]*",
    "Camel": r"[^\W\d_A-Z][^\W_]*",
    "Kebab": "[a-z0-9]+(-[a-z0-9]+)*",
    "Snake": "[a-z0-9]+(_[a-z0-9]+)*",
    "Lower": "[^A-Z]*",
    "Upper": "[^a-z]*",
}


def naming_faults(naming: Json, tags: Tags) -> Iterator[Fault]:
    """What is wrong with how keys and values look: at most one advice for a key, and one for its value."""
    plain = r"[^\W_]|[ +\-=._:/@]"
    for key, value in tags.items():
        well_named = (
            len(key) <= naming.get("maxKeyLength", 128)
            and (naming.get("allowSpecialCharacters", True) or re.fullmatch(f"({plain})*", key))
            and all(re.fullmatch(WRITTEN[naming.get("keyCase", "Any")], part) for part in re.split("[:/]", key))
            and ("keyPattern" not in naming or re.fullmatch(f"(?:{naming['keyPattern']})", key))
        )
        if not well_named:
            yield key, "naming_rule", "low", "advice"
        if len(value) > naming.get("maxValueLength", 256):
            yield key, "naming_rule", "low", "advice"


def time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def exempt_until(
    policy: Json, resource: Resource, account: Account, key: str, now: datetime
) -> tuple[bool, str | None]:
    for exemption in policy.get("exemptions", []):
        end = exemption.get("expiresAt")
        if end and now >= time(end):
            continue
        keys, arns = exemption.get("tagKeys"), exemption.get("arns")
        if keys and not like_any(keys, key):
            continue
        if arns and not like_any(arns, resource.arn):
            continue
        if fits(exemption.get("resources"), "types", resource, account):
            return True, end
    return False, None


def judge(policy: Json, resource: Resource, account: Account, now: datetime) -> tuple[str, list[Json]]:
    """The verdict on one resource and everything found on it."""
    tags = {key: value for key, value in resource.tags.items() if not key.startswith("aws:")}
    rules = [
        (rule, required)
        for field, required in (("requiredTags", True), ("optionalTags", False))
        for rule in policy.get(field, [])
        if fits(rule.get("appliesTo"), "resourceTypes", resource, account)
    ]
    forbidden = policy.get("forbiddenTags", [])
    if not forbidden and not any(required for _, required in rules):
        return "out of scope", []
    ruled = {rule["key"] for field in ("requiredTags", "optionalTags") for rule in policy.get(field, [])}
    faults = [fault for rule, required in rules for fault in tag_faults(rule, required, tags, ruled)]
    for key in tags:
        severities = [rule.get("severity", "high") for rule in forbidden if like(rule["key"], key)]
        if severities:
            worst = min(severities, key=["critical", "high", "medium", "low", "info"].index)
            faults.append((key, "forbidden_tag", worst, "violation"))
    if policy.get("naming"):
        faults += naming_faults(policy["naming"], tags)

    rows, verdict = [], "compliant"
    for key, violation_type, severity, kind in faults:
        exempt, until = exempt_until(policy, resource, account, key, now)
        row = {
            "arn": resource.arn,
            "resourceType": resource.type,
            "accountId": resource.account,
            "region": resource.region,
            "tagKey": key,
            "violationType": violation_type,
            "severity": severity,
            "kind": kind,
            "exempt": exempt,
        }
        if kind == "violation":
            verdict = "violating" if not exempt or verdict == "violating" else "exempt"
        rows.append({**row, "exemptUntil": until} if until else row)
    return verdict, rows


def types_in_scope(policy: Json, asked: list[str]) -> list[str]:
    """Without a choice: what costs money, and the free types that a rule names by themselves or by `service:*`."""
    rules = policy.get("requiredTags", []) + policy.get("optionalTags", [])
    patterns = [pattern for rule in rules for pattern in (rule.get("appliesTo") or {}).get("resourceTypes", [])]
    naming = [pattern for pattern in patterns if ":" in pattern and "*" not in pattern.split(":")[0]]

    def wanted(type_: str) -> bool:
        if asked:
            return type_ in asked
        return type_ not in FREE or like_any(naming, type_)

    def ruled(type_: str) -> bool:
        scopes = [(rule.get("appliesTo") or {}).get("resourceTypes") for rule in policy.get("requiredTags", [])]
        return bool(policy.get("forbiddenTags")) or any(not scope or like_any(scope, type_) for scope in scopes)

    return [type_ for type_ in TYPES if wanted(type_) and ruled(type_)]


def evaluate(policy: Json, resources: list[Resource], accounts: list[Account], now: datetime) -> Json:
    by_id = {account.id: account for account in accounts}
    counters: dict[tuple[str, str], Counter[str]] = {}
    details: dict[str, Counter[str]] = {"severity": Counter(), "violationType": Counter()}
    rows: list[Json] = []
    for resource in resources:
        verdict, found = judge(policy, resource, by_id[resource.account], now)
        if verdict == "out of scope":
            continue
        rows += found
        for place in (
            ("", ""),
            ("accountId", resource.account),
            ("region", resource.region),
            ("resourceType", resource.type),
        ):
            counters.setdefault(place, Counter())[verdict] += 1
        for row in found:
            if row["kind"] == "violation" and not row["exempt"]:
                for field, counter in details.items():
                    counter[row[field]] += 1

    def tally(counter: Counter[str]) -> Json:
        judged = counter["compliant"] + counter["violating"]
        return {
            "score": counter["compliant"] / judged if judged else 1.0,
            "resources": judged,
            "compliant": counter["compliant"],
            "violating": counter["violating"],
            "exempt": counter["exempt"],
            "unknown": 0,
        }

    def table(field: str) -> list[Json]:
        places = sorted(value for kind, value in counters if kind == field)
        return [{field: value, **tally(counters[field, value])} for value in places]

    summary = tally(counters.get(("", ""), Counter()))
    summary["bySeverity"] = dict(sorted(details["severity"].items()))
    summary["byViolationType"] = dict(sorted(details["violationType"].items()))
    return {
        "summary": summary,
        "byAccount": table("accountId"),
        "byRegion": table("region"),
        "byResourceType": table("resourceType"),
        "violations": sorted(rows, key=lambda row: (row["arn"], row["tagKey"], row["violationType"])),
    }


# --- the commands ----------------------------------------------------------------------------------------------


def load_policy(path: Path) -> Json:
    """The spec of the only TaggingPolicy in a file."""
    with path.open() as file:
        # Times stay text: they are printed again as they were written.
        documents = [document for document in yaml.load_all(file, yaml.BaseLoader) if document]
    specs = [numbers(document["spec"]) for document in documents if document.get("kind") == "TaggingPolicy"]
    if len(specs) != 1:
        raise SystemExit(f"{path}: expected one TaggingPolicy, found {len(specs)}")
    return specs[0]


def numbers(spec: Json) -> Json:
    """The same, with numbers and truth values instead of their text."""
    naming = spec.get("naming") or {}
    naming.update({name: int(naming[name]) for name in ("maxKeyLength", "maxValueLength") if name in naming})
    if "allowSpecialCharacters" in naming:
        naming["allowSpecialCharacters"] = naming["allowSpecialCharacters"] == "true"
    for field in ("requiredTags", "optionalTags"):
        for rule in spec.get(field, []):
            values = rule.get("values") or {}
            values.update({name: int(values[name]) for name in ("minLength", "maxLength") if name in values})
    return spec


def load_accounts(text: str) -> list[Account]:
    """Ids separated by commas, or a JSON file: `[{"accountId": "…", "labels": {}}]`."""
    if re.fullmatch(r"[0-9]{12}(,[0-9]{12})*", text):
        return [Account(account, {}) for account in text.split(",")]
    return [Account(row["accountId"], row.get("labels", {})) for row in json.loads(Path(text).read_text())]


def read(endpoint: str, accounts: list[Account], regions: list[str], types: list[str]) -> list[Resource]:
    clients = Clients(endpoint)
    readers = [Reader(clients, account.id, region) for account in accounts for region in regions]
    jobs = [(reader, type_) for reader in readers for type_ in types]
    with ThreadPoolExecutor(max_workers=8) as pool:
        lists = pool.map(lambda job: job[0].list(job[1]), jobs)
        return [resource for found in lists for resource in found]


def from_truth(path: Path, accounts: list[Account], regions: list[str], types: list[str]) -> list[Resource]:
    wanted = {account.id for account in accounts}
    resources = [Resource(**row) for row in json.loads(path.read_text())["resources"]]
    return [
        resource
        for resource in resources
        if not resource.ignored
        and resource.account in wanted
        and resource.type in types
        and (not regions or resource.region in regions)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, about in (("read", "list through boto3"), ("expect", "take the truth of the seeder")):
        command = commands.add_parser(name, help=about)
        command.add_argument("--policy", type=Path, required=True)
        command.add_argument("--accounts", default=AMBIENT, help="ids, or a JSON file with ids and labels")
        command.add_argument("--regions", default="", help="comma-separated regions")
        command.add_argument("--types", default="", help="comma-separated types; all that the policy asks for")
        command.add_argument("--now", type=time, default=datetime.now(timezone.utc))
        if name == "read":
            command.add_argument("--endpoint", required=True)
        else:
            command.add_argument("--truth", type=Path, required=True)
    arguments = parser.parse_args()

    policy, accounts = load_policy(arguments.policy), load_accounts(arguments.accounts)
    regions = [region for region in arguments.regions.split(",") if region]
    types = types_in_scope(policy, [type_ for type_ in arguments.types.split(",") if type_])
    if arguments.command == "read":
        resources = read(arguments.endpoint, accounts, regions, types)
    else:
        resources = from_truth(arguments.truth, accounts, regions, types)
    json.dump(evaluate(policy, resources, accounts, arguments.now), sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
