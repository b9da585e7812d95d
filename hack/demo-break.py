#!/usr/bin/env python3
"""Takes the Owner of some instances of the first account away, as a careless script would.

Talks to the simulated AWS of the demo, which takes any signature.
"""

import json
import os
import pathlib
import sys
import urllib.parse
import urllib.request
import xml.etree.ElementTree

HOW_MANY = 5


def call(service: str, region: str, key: str, form: dict[str, str]) -> xml.etree.ElementTree.Element:
    """One call of a query API."""
    request = urllib.request.Request(
        os.environ["AWS_ENDPOINT_URL"],
        data=urllib.parse.urlencode(form).encode(),
        headers={
            "Authorization": f"AWS4-HMAC-SHA256 Credential={key}/20260101/{region}/{service}/aws4_request, "
            "SignedHeaders=host, Signature=0",
        },
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return xml.etree.ElementTree.fromstring(answer.read())


def enter(account: str) -> str:
    """The access key of a session in the account."""
    form = {
        "Action": "AssumeRole",
        "Version": "2011-06-15",
        "RoleArn": f"arn:aws:iam::{account}:role/tagwarden-reader",
        "RoleSessionName": "careless",
    }
    answer = call("sts", "us-east-1", os.environ["AWS_ACCESS_KEY_ID"], form)
    return next(element.text or "" for element in answer.iter() if element.tag.endswith("AccessKeyId"))


def main() -> None:
    """Breaks what the truth file of the demo lists."""
    resources = json.loads((pathlib.Path(sys.argv[1]) / "truth.json").read_text())["resources"]
    account = min(resource["account"] for resource in resources)
    owned = [
        resource
        for resource in resources
        if resource["account"] == account and resource["type"] == "ec2:instance" and "Owner" in resource["tags"]
    ]
    key = enter(account)
    for resource in owned[:HOW_MANY]:
        form = {
            "Action": "DeleteTags",
            "Version": "2016-11-15",
            "ResourceId.1": resource["arn"].rsplit("/", 1)[1],
            "Tag.1.Key": "Owner",
        }
        call("ec2", resource["region"], key, form)
        print(f"  {resource['arn']} lost its Owner {resource['tags']['Owner']}")


if __name__ == "__main__":
    main()
