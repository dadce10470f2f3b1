//! The replies of STS: one JSON value each, written as JSON or as XML.

use serde_json::{Value, json};

use crate::{
    encoding::{escape_xml, request_id},
    http::reply::Reply,
    sts::error::StsError,
};

/// The host name in error replies, which clients only print.
const HOST: &str = "sts.aliyuncs.com";

/// The format of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Xml,
}

/// Returns the reply to a successful call.
pub(crate) fn success(format: Format, action: &str, mut body: Value) -> Reply {
    let id = request_id();
    body["RequestId"] = Value::String(id.clone());
    encode(format, &format!("{action}Response"), &body).with_header("x-acs-request-id", id)
}

/// Returns the reply to a refused call.
pub(crate) fn error(format: Format, error: &StsError) -> Reply {
    let id = request_id();
    let code = error.code();
    let body = json!({
        "RequestId": id,
        "HostId": HOST,
        "Code": code,
        "Message": error.to_string(),
        "Recommend": format!("https://api.aliyun.com/troubleshoot?q={code}&product=Sts"),
    });
    let mut reply = encode(format, "Error", &body).with_header("x-acs-request-id", id);
    reply.status = error.status();
    reply.outcome = code;
    reply
}

fn encode(format: Format, root: &str, body: &Value) -> Reply {
    match format {
        Format::Json => Reply::ok("application/json;charset=utf-8", body.to_string()),
        Format::Xml => {
            let mut xml = String::from("<?xml version='1.0' encoding='UTF-8'?>");
            push_xml(&mut xml, root, body);
            Reply::ok("text/xml;charset=utf-8", xml)
        }
    }
}

fn push_xml(xml: &mut String, name: &str, value: &Value) {
    xml.push_str(&format!("<{name}>"));
    match value {
        Value::Object(fields) => {
            for (field, inner) in fields {
                push_xml(xml, field, inner);
            }
        }
        Value::String(text) => xml.push_str(&escape_xml(text)),
        other => xml.push_str(&escape_xml(&other.to_string())),
    }
    xml.push_str(&format!("</{name}>"));
}
