"""Assumes a role with the official STS SDK, and uses the session: the independent client
that keeps the emulator honest."""

import argparse
import json
import os

import oss2
from aliyunsdkcore.client import AcsClient
from aliyunsdksts.request.v20150401 import AssumeRoleRequest, GetCallerIdentityRequest

from shim_credentials import require, run


def call(client, endpoint, request):
    """Sends a request to the emulator; the old SDK takes a host, not a URL."""
    request.set_accept_format("json")
    request.set_protocol_type("http")
    request.set_endpoint(endpoint.removeprefix("http://"))
    return json.loads(client.do_action_with_exception(request))


def story(arguments):
    secret = os.environ["STORY_ACCESS_KEY_SECRET"]
    client = AcsClient(arguments.access_key_id, secret, "cn-hongkong")
    who = call(client, arguments.sts, GetCallerIdentityRequest.GetCallerIdentityRequest())
    request = AssumeRoleRequest.AssumeRoleRequest()
    request.set_RoleArn(arguments.role_arn)
    request.set_RoleSessionName("sts-story")
    if arguments.policy:
        request.set_Policy(arguments.policy)
    answer = call(client, arguments.sts, request)
    session = answer["Credentials"]

    auth = oss2.StsAuth(
        session["AccessKeyId"],
        session["AccessKeySecret"],
        session["SecurityToken"],
        auth_version=oss2.AUTH_VERSION_4,
    )
    bucket = oss2.Bucket(auth, arguments.oss, "examplebucket", region="cn-hongkong")
    bucket.put_object("stories/sts", b"text")
    require(bucket.get_object("stories/sts").read() == b"text", "the object came back changed")
    return {
        "RequestId": answer["RequestId"],
        "AccessKeyId": session["AccessKeyId"],
        "Expiration": session["Expiration"],
        "caller": who["Arn"],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sts", required=True)
    parser.add_argument("--oss", required=True)
    parser.add_argument("--access-key-id", required=True)
    parser.add_argument("--role-arn", required=True)
    parser.add_argument("--policy", help="of the session, as JSON")
    arguments = parser.parse_args()
    run(lambda: story(arguments))


if __name__ == "__main__":
    main()
