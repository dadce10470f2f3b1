//! Buckets: their creation, their regions, and their place in the host or in the path.

use crate::{
    code, expect,
    kit::{Credentials, Oss, TestEmulator, UPLOAD, start, start_with},
};

const HONGKONG: &str = "oss-cn-hongkong.aliyuncs.com";

/// A role that may create the buckets `new-*` and list all.
const CREATOR: &str = r#"
[[role]]
name = "creator"
trusts = ["user/uploader"]
policy = '''{"Version":"1","Statement":[
    {"Effect":"Allow","Action":["oss:PutBucket","oss:DeleteBucket","oss:*Object*","oss:GetBucket*"],"Resource":["acs:oss:*:*:new-*"]},
    {"Effect":"Allow","Action":"oss:ListBuckets","Resource":"acs:oss:*:*:*"}]}'''
"#;

fn creator() -> (TestEmulator, Credentials) {
    let account = format!("{}{CREATOR}", stsd_emulator::account::DEFAULT_MODEL);
    let emulator = start_with(&account, None);
    let session = emulator.session("acs:ram::100000000000001:role/creator", None);
    (emulator, session)
}

#[test]
fn bucket_is_created_if_the_policy_allows() {
    let (emulator, session) = creator();
    let oss = Oss::new(&emulator, &session);
    let put = |name: &str| oss.send("PUT", &format!("/{name}"), &[], b"");
    expect(&put("other-one"), 403, "AccessDenied", "0003-00000001");
    expect(&put("examplebucket"), 403, "AccessDenied", "0003-00000001");
    expect(&put("New_one"), 400, "InvalidBucketName", "0015-00000001");
    let head = oss.send("HEAD", "/new-one", &[], b"");
    expect(&head, 404, "NoSuchBucket", "0015-00000101");
    assert_eq!(put("new-one").status, 200);
    assert_eq!(put("new-one").status, 200, "a second time");
    assert_eq!(oss.send("HEAD", "/new-one", &[], b"").status, 200);
    assert_eq!(oss.send("PUT", "/new-one/k", &[], b"x").status, 200);
    let info = oss.send("GET", "/new-one?bucketInfo", &[], b"");
    assert_eq!(info.element("Location"), "oss-cn-hongkong");
    assert_eq!(info.element("CreationDate"), "2026-01-01T00:00:00.000Z");
    let location = oss.send("GET", "/new-one?location", &[], b"");
    assert_eq!(location.element("LocationConstraint"), "oss-cn-hongkong");
    let list = oss.send("GET", "/", &[], b"");
    assert_eq!(
        list.elements("Name"),
        ["examplebucket", "new-one", "otherbucket"]
    );
    let page = oss.send("GET", "/?max-keys=1&marker=examplebucket", &[], b"");
    assert_eq!(page.elements("Name"), ["new-one"]);
    assert_eq!(page.element("NextMarker"), "new-one");
    let last = oss.send("GET", "/?prefix=other&max-keys=1&marker=new-one", &[], b"");
    assert_eq!(last.elements("Name"), ["otherbucket"]);
    assert!(last.elements("IsTruncated").is_empty());
    for operation in ["PutBucket", "HeadBucket", "ListBuckets", "GetBucketInfo"] {
        let outcomes = &emulator.stats()["calls"][format!("oss:{operation}")];
        assert!(outcomes["ok"].as_u64() > Some(0), "{operation}: {outcomes}");
    }
}

#[test]
fn bucket_is_deleted_when_it_is_empty() {
    let (emulator, session) = creator();
    let oss = Oss::new(&emulator, &session);
    let send = |method: &str, target: &str| oss.send(method, target, &[], b"");
    assert_eq!(send("PUT", "/new-one").status, 200);
    assert_eq!(send("PUT", "/new-one/k").status, 200);
    let full = send("DELETE", "/new-one");
    expect(&full, 409, "BucketNotEmpty", "0000-00000000");
    assert_eq!(send("DELETE", "/new-one/k").status, 204);
    assert_eq!(send("POST", "/new-one/k?uploads").status, 200);
    let full = send("DELETE", "/new-one");
    expect(&full, 409, "BucketNotEmpty", "0000-00000000");
    let other = send("DELETE", "/otherbucket");
    expect(&other, 403, "AccessDenied", "0003-00000001");
    assert_eq!(send("PUT", "/new-two").status, 200);
    assert_eq!(send("DELETE", "/new-two").status, 204);
    expect(
        &send("HEAD", "/new-two"),
        404,
        "NoSuchBucket",
        "0015-00000101",
    );
}

#[test]
fn rights_on_a_bucket_are_those_of_its_policy() {
    let emulator = start();
    let session = emulator.session(UPLOAD, None);
    let oss = Oss::new(&emulator, &session);
    // rclone creates the bucket before an upload.
    assert_eq!(oss.send("PUT", "/examplebucket", &[], b"").status, 200);
    assert_eq!(oss.send("HEAD", "/examplebucket/", &[], b"").status, 200);
    for (method, target) in [
        ("PUT", "/otherbucket"),
        ("HEAD", "/otherbucket"),
        ("GET", "/"),
    ] {
        let answer = oss.send(method, target, &[], b"");
        assert_eq!((answer.status, code(&answer)), (403, "AccessDenied".into()));
    }
}

#[test]
fn operation_that_is_not_emulated_is_refused_by_name() {
    let emulator = start();
    let session = emulator.session(UPLOAD, None);
    let oss = Oss::new(&emulator, &session);
    for (method, target) in [
        ("DELETE", "/examplebucket?policy"),
        ("PUT", "/examplebucket?lifecycle"),
        ("PUT", "/examplebucket?object-lock"),
        ("POST", "/examplebucket/k?append&position=0"),
        ("GET", "/examplebucket/k?x-oss-process=image%2Finfo"),
        ("GET", "/examplebucket/k?uploads"),
        ("POST", "/examplebucket/"),
    ] {
        let answer = oss.send(method, target, &[], b"");
        expect(&answer, 501, "NotImplemented", "0017-00000901");
    }
}

#[test]
fn region_of_a_new_bucket_is_that_of_the_request() {
    let (emulator, session) = creator();
    let mut oss = Oss::new(&emulator, &session);
    let check = |oss: &Oss, target: &str, host: &str, body: &str, expected: &str| {
        let put = oss.send("PUT", target, &[("host", host)], body.as_bytes());
        assert_eq!(put.status, 200, "{}", put.text());
        let list = oss.send("GET", "/?prefix=new-", &[], b"");
        let regions = list.elements("Region");
        assert_eq!(regions.last().unwrap(), expected, "{target} {host}");
    };
    let vhost = format!("new-x1.{HONGKONG}");
    check(&oss, "/", &vhost, "", "cn-hongkong");
    oss.region = "cn-beijing";
    check(&oss, "/new-x2", "127.0.0.1", "", "cn-beijing");
    oss.version = 1;
    check(&oss, "/new-x3", "127.0.0.1", "", "cn-hangzhou");
    check(
        &oss,
        "/new-x4",
        "oss-us-west-1-internal.aliyuncs.com",
        "",
        "us-west-1",
    );
    let constraint = "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
        <LocationConstraint>oss-eu-west-1</LocationConstraint></CreateBucketConfiguration>";
    check(&oss, "/new-x5", "127.0.0.1", constraint, "eu-west-1");
    let other = oss.send("PUT", "/new-x5", &[], b"");
    expect(&other, 409, "BucketAlreadyExists", "0000-00000000");
}

#[test]
fn endpoint_of_another_region_is_refused_by_name() {
    let emulator = start();
    let session = emulator.session(UPLOAD, None);
    let oss = Oss::new(&emulator, &session);
    for host in [
        "examplebucket.oss-cn-hangzhou.aliyuncs.com",
        "oss-cn-hangzhou-internal.aliyuncs.com",
    ] {
        let target = if host.starts_with("oss-") {
            "/examplebucket/k"
        } else {
            "/k"
        };
        let answer = oss.send("PUT", target, &[("host", host)], b"x");
        expect(&answer, 403, "AccessDenied", "0000-00000000");
        assert_eq!(answer.element("Endpoint"), HONGKONG);
        assert_eq!(answer.element("Bucket"), "examplebucket");
    }
}

#[test]
fn key_that_begins_with_a_bucket_name_is_a_key() {
    for version in [1, 4] {
        let emulator = start();
        let session = emulator.session(UPLOAD, None);
        let mut oss = Oss::new(&emulator, &session);
        oss.version = version;
        for host in [
            format!("examplebucket.{HONGKONG}"),
            "examplebucket.localhost:8080".to_owned(),
        ] {
            for key in ["otherbucket/k", "examplebucket/k", "otherbucket", "k"] {
                let host = [("host", host.as_str())];
                let put = oss.send("PUT", &format!("/{key}"), &host, key.as_bytes());
                assert_eq!(put.status, 200, "{}", put.text());
                let found = oss.send("GET", &format!("/examplebucket/{key}"), &[], b"");
                assert_eq!(found.text(), key);
            }
            let list = oss.send("GET", "/?list-type=2", &[("host", &host)], b"");
            assert_eq!(list.elements("Key").len(), 4, "{}", list.text());
        }
    }
}
