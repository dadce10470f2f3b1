//! The endpoints of STS: from the configuration, else from the variables of the platform, else the
//! global one.

use stsd_codes::Code;
use stsd_sts::{Endpoint, is_known_region, similar_region};

use super::{Raw, context::ReadContext, spanned::Spanned};
use crate::{
    identity::ProcessEnvironment,
    profile::{EndpointOrigin, Endpoints},
};

/// The variables of the official SDKs and of aliyun-cli; the first is injected into pods by the webhook
/// of ACK (ack-pod-identity-webhook 0.4.0), with the other two.
const ENDPOINT_VARIABLES: [&str; 2] = ["ALIBABA_CLOUD_STS_ENDPOINT", "ALIBABACLOUD_STS_ENDPOINT"];
const REGION_VARIABLE: &str = "ALIBABA_CLOUD_STS_REGION";
const VPC_VARIABLE: &str = "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED";

/// Maximum number of endpoints: an attempt tries each in turn.
const MAX_ENDPOINTS: usize = 3;

const VARIABLE_HINT: &str = "correct the variable, or name endpoint or region in the configuration, \
                             which take precedence";

const URL_HINT: &str = "correct the URL, or name the region in its place: region = \"cn-hongkong\"";

const REGION_HINT: &str = "the regions are listed in the service's documentation of its endpoints";

/// Returns the endpoints; `None` after an error.
pub(super) fn endpoints(context: &mut ReadContext<'_>, raw: &Raw) -> Option<Endpoints> {
    if let Some(list) = &raw.endpoints {
        return from_list(context, list, raw.endpoint.is_some());
    }
    let vpc = raw.vpc.as_ref().map(|it| *it.get_ref());
    let (key, span, made) = match (&raw.endpoint, &raw.region) {
        (Some(url), _) => ("endpoint", url.span(), Endpoint::custom(url.get_ref())),
        (None, Some(region)) => {
            let name = region.get_ref();
            let made = match vpc {
                Some(true) => Endpoint::vpc(name),
                _ => Endpoint::regional(name),
            };
            if let Some((problem, hint)) = unknown(name) {
                context.warn_at(
                    Code::ConfigInvalidValue,
                    region.span().start,
                    "region",
                    &problem,
                    &hint,
                );
            }
            ("region", region.span(), made)
        }
        (None, None) if vpc == Some(true) => {
            let hint = "add region = \"…\"";
            context.error_at(
                Code::ConfigMissingKey,
                raw.vpc.as_ref().map_or(0, |it| it.span().start),
                "vpc",
                "a vpc endpoint needs a region",
                hint,
            );
            return None;
        }
        (None, None) if vpc.is_none() => return from_variables(context),
        (None, None) => {
            let origin = EndpointOrigin::Default;
            return Some(Endpoints::one(Endpoint::global(), origin));
        }
    };
    let made = made.map_err(|error| {
        let hint = if key == "region" {
            REGION_HINT
        } else {
            URL_HINT
        };
        context.error_at(
            Code::ConfigInvalidValue,
            span.start,
            key,
            &error.to_string(),
            hint,
        );
    });
    Some(Endpoints::one(made.ok()?, EndpointOrigin::Key(key)))
}

fn from_list(
    context: &mut ReadContext<'_>,
    list: &Spanned<Vec<Spanned<String>>>,
    has_endpoint: bool,
) -> Option<Endpoints> {
    const KEY: &str = "endpoints";
    let (at, list) = (list.span().start, list.get_ref());
    if has_endpoint {
        let hint = "move the value of endpoint to the beginning of the list";
        context.error_at(
            Code::ConfigConflict,
            at,
            KEY,
            "either endpoint or endpoints is allowed",
            hint,
        );
        return None;
    }
    if !(1..=MAX_ENDPOINTS).contains(&list.len()) {
        let problem = format!("1 to {MAX_ENDPOINTS} endpoints are allowed");
        let hint = "the endpoint of the region first: an attempt tries each in turn";
        context.error_at(Code::ConfigInvalidValue, at, KEY, &problem, hint);
        return None;
    }
    let mut all = Vec::new();
    for url in list {
        match Endpoint::custom(url.get_ref()) {
            Ok(endpoint) if all.contains(&endpoint) => {
                let problem = "the endpoint is in the list already";
                context.error_at(
                    Code::ConfigConflict,
                    url.span().start,
                    KEY,
                    problem,
                    "remove one of them",
                );
            }
            Ok(endpoint) => all.push(endpoint),
            Err(error) => {
                context.error_at(
                    Code::ConfigInvalidValue,
                    url.span().start,
                    KEY,
                    &error.to_string(),
                    URL_HINT,
                );
            }
        }
    }
    Endpoints::new(all, EndpointOrigin::Key(KEY))
}

/// Returns the endpoint that the variables of the platform name, as the official SDKs read them.
fn from_variables(context: &mut ReadContext<'_>) -> Option<Endpoints> {
    let environment = context.environment;
    let set = |name| Some((name, text(environment, name)?));
    let is_vpc = text(environment, VPC_VARIABLE).is_some_and(|it| it.eq_ignore_ascii_case("true"));
    let (name, made) = if let Some((name, text)) = ENDPOINT_VARIABLES.into_iter().find_map(set) {
        (name, Endpoint::from_variable(&text))
    } else if let Some(region) = text(environment, REGION_VARIABLE) {
        let variable = format!("the variable {REGION_VARIABLE}");
        if let Some((problem, hint)) = unknown(&region) {
            context.warn_of_file(
                Code::ConfigVariable,
                &format!("{variable}: {problem}"),
                &hint,
            );
        }
        let made = match is_vpc {
            true => Endpoint::vpc(&region),
            false => Endpoint::regional(&region),
        };
        (REGION_VARIABLE, made)
    } else {
        if is_vpc {
            let problem = format!("the variable {VPC_VARIABLE} has no effect without a region");
            let hint = format!("set {REGION_VARIABLE}, or region and vpc in the configuration");
            context.warn_of_file(Code::ConfigVariable, &problem, &hint);
        }
        return Some(Endpoints::one(Endpoint::global(), EndpointOrigin::Default));
    };
    Some(match made {
        Ok(endpoint) => Endpoints::one(endpoint, EndpointOrigin::Variable(name)),
        Err(error) => {
            context.endpoint_problem =
                Some((format!("the variable {name}: {error}"), VARIABLE_HINT));
            Endpoints::one(Endpoint::global(), EndpointOrigin::Default)
        }
    })
}

/// Returns the value of a variable without surrounding blanks; `None` for an empty one.
fn text(environment: &ProcessEnvironment, name: &str) -> Option<String> {
    let text = environment.text(name)?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// Returns the problem and the hint of a region that this version does not know.
fn unknown(region: &str) -> Option<(String, String)> {
    if is_known_region(region) || region.starts_with("oss-") {
        return None;
    }
    let hint = match similar_region(region) {
        Some(similar) => format!("correct it if {similar} is meant"),
        None => "check its spelling; a newer region works as well".to_owned(),
    };
    Some((
        format!("the region {region} is not known to this version of stsd"),
        hint,
    ))
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsString, path::Path, sync::Arc};

    use super::super::parse;
    use crate::{
        identity::ProcessEnvironment, profile::NameParts, runtime::program::ProgramContext,
    };

    const PROFILE: &str = "[source.a]\ntype = \"ecs-role\"\n[profile.p]\nsource = \"a\"\n";

    type Variable = fn(&str) -> Option<OsString>;

    fn environment(variable: Variable) -> ProcessEnvironment {
        ProcessEnvironment {
            parts: NameParts {
                user: "user".into(),
                host: "host".into(),
                pid: 1,
                instance_id: || None,
            },
            variable,
            proxies: Arc::default(),
            programs: Arc::new(ProgramContext {
                environment: Vec::new(),
                variable: |_| None,
                temp_parents: Vec::new(),
            }),
            runtime_files: Vec::new(),
            http_port: 0,
        }
    }

    /// Checks the endpoints, their origin and the warnings, or the first error.
    fn check(text: &str, variable: Variable, expected: &str) {
        let config = parse(
            &format!("{text}\n{PROFILE}"),
            Path::new("/etc/stsd/config.toml"),
            &environment(variable),
        );
        let found = match config {
            Ok(config) => {
                let warnings = config.warnings.iter().map(ToString::to_string);
                let warnings: Vec<_> = warnings.collect();
                format!("{} {}", config.endpoints, warnings.join(" "))
            }
            Err(errors) => errors.to_string(),
        };
        assert!(found.contains(expected), "{text}: {found}");
    }

    fn pod(name: &str) -> Option<OsString> {
        match name {
            "ALIBABA_CLOUD_STS_ENDPOINT" => Some("sts-vpc.ap-northeast-2.aliyuncs.com".into()),
            "ALIBABA_CLOUD_STS_REGION" => Some("ap-northeast-1".into()),
            "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED" => Some("true".into()),
            _ => None,
        }
    }

    fn region_and_vpc(name: &str) -> Option<OsString> {
        pod(name).filter(|_| name != "ALIBABA_CLOUD_STS_ENDPOINT")
    }

    fn vpc_alone(name: &str) -> Option<OsString> {
        pod(name).filter(|_| name == "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED")
    }

    fn of_cli(name: &str) -> Option<OsString> {
        (name == "ALIBABACLOUD_STS_ENDPOINT").then(|| "https://sts.example.com".into())
    }

    fn plain_http(name: &str) -> Option<OsString> {
        (name == "ALIBABA_CLOUD_STS_ENDPOINT").then(|| "http://sts.example.com".into())
    }

    #[test]
    fn variables_name_the_endpoint_if_the_configuration_does_not() {
        let from_endpoint = "https://sts-vpc.ap-northeast-2.aliyuncs.com (the variable \
                             ALIBABA_CLOUD_STS_ENDPOINT)";
        check("", pod, from_endpoint);
        let from_region = "https://sts-vpc.ap-northeast-1.aliyuncs.com (the variable \
                           ALIBABA_CLOUD_STS_REGION)";
        check("", region_and_vpc, from_region);
        check(
            "",
            of_cli,
            "https://sts.example.com (the variable ALIBABACLOUD_STS_ENDPOINT)",
        );
        check("", vpc_alone, "https://sts.aliyuncs.com (the default)");
        check("", vpc_alone, "no effect without a region");
        check(
            "",
            plain_http,
            "the variable ALIBABA_CLOUD_STS_ENDPOINT: an endpoint is https",
        );
        check("", |_| None, "https://sts.aliyuncs.com (the default)");
        check("vpc = false", pod, "https://sts.aliyuncs.com (the default)");
        let region = "https://sts.cn-hongkong.aliyuncs.com (region in the configuration)";
        check("region = \"cn-hongkong\"", pod, region);
        check(
            "endpoint = \"https://a.example\"",
            pod,
            "https://a.example (endpoint in",
        );
        check(
            "endpoint = \"https://a.example\"",
            plain_http,
            "https://a.example (endpoint in",
        );
    }

    #[test]
    fn unknown_region_is_a_warning_and_a_region_of_oss_an_error() {
        check(
            "region = \"cn-hongkon\"",
            |_| None,
            "correct it if cn-hongkong is meant",
        );
        check(
            "region = \"xx-moon-1\"",
            |_| None,
            "https://sts.xx-moon-1.aliyuncs.com (region",
        );
        check(
            "region = \"oss-cn-hangzhou\"",
            |_| None,
            "oss-… is the spelling of OSS",
        );
    }

    #[test]
    fn endpoints_are_a_list_without_duplicates() {
        let two = "https://a.example, then https://b.example (endpoints in the configuration)";
        check(
            "endpoints = [\"https://a.example\", \"https://b.example\"]",
            pod,
            two,
        );
        check("endpoints = []", pod, "1 to 3 endpoints are allowed");
        check(
            "endpoints = [\"https://a.example\", \"https://a.example\"]",
            pod,
            "already",
        );
        check("endpoints = [\"sts.example\"]", pod, "absolute URL");
        let both = "endpoint = \"https://a.example\"\nendpoints = [\"https://b.example\"]";
        check(both, pod, "either endpoint or endpoints");
    }
}
