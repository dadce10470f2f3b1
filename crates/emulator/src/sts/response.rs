//! The shapes of STS's answers: one JSON value each, written as JSON or as XML.

use serde_json::{Value, json};

use crate::{
    encoding::{escape_xml, request_id},
    http::reply::Reply,
    state::Cloud,
    sts::{
        error::StsError,
        service::{Caller, HOST},
    },
};

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Xml,
}

pub(crate) fn success(format: Format, action: &str, mut body: Value) -> Reply {
    let id = request_id();
    body["RequestId"] = Value::String(id.clone());
    write(format, &format!("{action}Response"), &body).with("x-acs-request-id", id)
}

pub(crate) fn refusal(format: Format, error: &StsError) -> Reply {
    let id = request_id();
    let code = error.code();
    let body = json!({
        "RequestId": id,
        "HostId": HOST,
        "Code": code,
        "Message": error.to_string(),
        "Recommend": format!("https://api.aliyun.com/troubleshoot?q={code}&product=Sts"),
    });
    let mut reply = write(format, "Error", &body).with("x-acs-request-id", id);
    reply.status = error.status();
    reply.outcome = code;
    reply
}

/// The answer of `GetCallerIdentity`, which needs no permission.
pub(crate) fn identity(cloud: &Cloud, caller: &Caller) -> Value {
    let account = &cloud.world.account;
    match caller {
        Caller::User(name) => {
            let id = cloud.world.users.get(name).map_or("", |user| &user.id);
            json!({
                "AccountId": account,
                "Arn": format!("acs:ram::{account}:user/{name}"),
                "IdentityType": "RAMUser",
                "PrincipalId": id,
                "UserId": id,
            })
        }
        Caller::Session(session) => {
            let role = &session.role;
            let id = cloud.world.roles.get(role).map_or("", |role| &role.id);
            let mut body = json!({
                "AccountId": account,
                "Arn": format!("acs:ram::{account}:assumed-role/{role}/{}", session.name),
                "IdentityType": "AssumedRoleUser",
                "PrincipalId": format!("{id}:{}", session.name),
                "RoleId": id,
            });
            if let Some(identity) = &session.source_identity {
                body["SourceIdentity"] = Value::String(identity.clone());
            }
            body
        }
    }
}

fn write(format: Format, root: &str, body: &Value) -> Reply {
    match format {
        Format::Json => Reply::ok("application/json;charset=utf-8", body.to_string()),
        Format::Xml => {
            let mut xml = String::from("<?xml version='1.0' encoding='UTF-8'?>");
            write_xml(&mut xml, root, body);
            Reply::ok("text/xml;charset=utf-8", xml)
        }
    }
}

fn write_xml(xml: &mut String, name: &str, value: &Value) {
    xml.push_str(&format!("<{name}>"));
    match value {
        Value::Object(fields) => {
            for (field, inner) in fields {
                write_xml(xml, field, inner);
            }
        }
        Value::String(text) => xml.push_str(&escape_xml(text)),
        other => xml.push_str(&escape_xml(&other.to_string())),
    }
    xml.push_str(&format!("</{name}>"));
}
