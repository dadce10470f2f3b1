"""Takes an OIDC token to STS with the official credentials library, and uses the session:
the independent client that keeps the emulator honest. The library speaks to STS by https and
by nothing else, so that there is a TLS front before the emulator, whose certificate the
environment names."""

import argparse

import oss2
from alibabacloud_credentials.client import Client
from alibabacloud_credentials.provider import OIDCRoleArnCredentialsProvider

from shim_credentials import hold_no_key, require, run


def story(arguments):
    hold_no_key()
    provider = OIDCRoleArnCredentialsProvider(
        role_arn=arguments.role_arn,
        oidc_provider_arn=arguments.provider_arn,
        oidc_token_file_path=arguments.token_file,
        role_session_name="oidc-story",
        duration_seconds=900,
        policy=arguments.policy,
        sts_endpoint=arguments.front,
    )
    session = Client(provider=provider).get_credential()
    require(session.type == "oidc_role_arn", f"the session is of type {session.type}")

    auth = oss2.StsAuth(
        session.access_key_id,
        session.access_key_secret,
        session.security_token,
        auth_version=oss2.AUTH_VERSION_4,
    )
    bucket = oss2.Bucket(auth, arguments.oss, "examplebucket", region="cn-hongkong")
    bucket.put_object("stories/oidc", b"text")
    require(bucket.get_object("stories/oidc").read() == b"text", "the object came back changed")
    return {"AccessKeyId": session.access_key_id}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--front", required=True, help="HOST:PORT of the TLS front of STS")
    parser.add_argument("--oss", required=True)
    parser.add_argument("--provider-arn", required=True)
    parser.add_argument("--role-arn", required=True)
    parser.add_argument("--token-file", required=True)
    parser.add_argument("--policy", help="of the session, as JSON")
    arguments = parser.parse_args()
    run(lambda: story(arguments))


if __name__ == "__main__":
    main()
