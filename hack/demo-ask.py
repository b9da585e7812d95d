"""Asks one question over MCP, as an agent would, and prints what the agent gets to read.

    demo-ask.py http://127.0.0.1:8080/mcp
"""

import json
import sys
import urllib.request

QUESTION = {"policy": "demo", "resource_types": ["ec2:instance"]}


def call(url, tool, arguments):
    """The structured answer of one tool."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers | {"MCP-Protocol-Version": "2025-11-25"})
    # The proxy of the estate is for AWS alone.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=60) as answer:
        result = json.load(answer)["result"]
    if result.get("isError"):
        sys.exit(f"the tool refused: {result['content'][0]['text']}")
    return result["structuredContent"]


answer = call(sys.argv[1], "check_tag_compliance", QUESTION)
print(f"  {answer['compliance_score']:.1%} compliant: {answer['compliant_resources']} of "
      f"{answer['total_resources']} resources, {answer['total_violations']} violations")
print(f"  {answer['data_quality']['note']} As of {answer['scan_timestamp']}, out of run {answer['run_id']}"
      f"{' without a call to AWS' if answer['cached'] else ''}.")
for violation in answer["violations"][:3]:
    print(f"  {violation['resource_id']}: {violation['message']}")
print("  …")
