//! `stsd --check`: the configuration and the files that it names, as text or as JSON.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::Result;
use serde_json::{Value, json};
use stsd::{
    cli::{self, CheckOutput, Options},
    config::{self, Config, ConfigError, ConfigErrors, Scope},
    identity::ProcessEnvironment,
    sts::connectivity,
};
use stsd_codes::Code;
use stsd_document::printable_lines;
use stsd_sts::ConnectFault;

/// Checks the configuration, and for this machine also the files that it names. All mistakes are
/// reported at once.
pub(crate) fn check(options: &Options, scope: Scope, output: CheckOutput) -> Result<ExitCode> {
    let environment = match scope {
        Scope::Host => cli::process_environment(options)?,
        Scope::Portable => cli::portable_environment(options),
    };
    let checked = config::load(&options.config, &environment, scope).and_then(|config| {
        if scope == Scope::Host {
            // An upgrade runs the check under the confinement of the running daemon.
            stsd::check_runtime_files(&config)?;
        }
        Ok(config)
    });
    let warnings = match (&checked, scope) {
        (Ok(config), Scope::Host) => warnings(config, &environment),
        (Ok(config), Scope::Portable) => config.warnings.clone(),
        (Err(refused), _) => refused.warnings.clone(),
    };
    match output {
        CheckOutput::Text => print_text(checked, scope, &warnings),
        CheckOutput::Json => print_json(options, scope, checked, &warnings),
    }
}

/// Returns the warnings of the configuration, and those of the environment in which it is used.
fn warnings(config: &Config, environment: &ProcessEnvironment) -> Vec<ConfigError> {
    let warning = |code: Code, problem: String, hint: &str| ConfigError {
        file: config.path.clone(),
        code,
        line: None,
        key: String::new(),
        problem,
        hint: hint.to_owned(),
    };
    let proxies = &environment.proxies;
    // Authorities that are installed later are found by the next request.
    let authorities = match config.calls_sts() {
        true => connectivity::prepare(&config.endpoints, proxies).err(),
        false => None,
    };
    let authorities = authorities.map(|it| warning(it.code(), it.problem(), &it.hint()));
    let proxy = proxies.problem().map(|problem| {
        let hint = ConnectFault::UnusableProxy.hint();
        warning(Code::UnusableProxy, problem.to_string(), hint)
    });
    let own = config.warnings.iter().cloned();
    own.chain(authorities).chain(proxy).collect()
}

fn print_text(
    checked: Result<Config, ConfigErrors>,
    scope: Scope,
    warnings: &[ConfigError],
) -> Result<ExitCode> {
    let config = match checked {
        Ok(config) => config,
        // Whole, also to a pipe that is read slowly. The text has the warnings.
        Err(errors) => {
            writeln!(
                io::stderr(),
                "stsd: {}",
                printable_lines(&errors.to_string())
            )?;
            return Ok(ExitCode::FAILURE);
        }
    };
    for warning in warnings {
        let line = printable_lines(&warning.to_string());
        writeln!(io::stderr(), "warning: {line}")?;
    }
    if config.calls_sts() {
        writeln!(io::stdout(), "STS endpoint: {}", config.endpoints)?;
    }
    let count = config.profiles.len();
    let plural = if count == 1 { "" } else { "s" };
    let file = config.path.display();
    let verdict = match warnings.len() {
        0 => "no mistakes".to_owned(),
        1 => "no errors, 1 warning".to_owned(),
        count => format!("no errors, {count} warnings"),
    };
    let fragments = match config.fragments.len() {
        0 => String::new(),
        1 => " and 1 fragment".to_owned(),
        count => format!(" and {count} fragments"),
    };
    let unchecked = match scope {
        Scope::Host => "",
        Scope::Portable => {
            "; users, groups, files, credentials and variables of a machine were not looked at"
        }
    };
    writeln!(
        io::stdout(),
        "{file}{fragments}: {count} profile{plural}, {verdict}{unchecked}"
    )?;
    Ok(ExitCode::SUCCESS)
}

fn print_json(
    options: &Options,
    scope: Scope,
    checked: Result<Config, ConfigErrors>,
    warnings: &[ConfigError],
) -> Result<ExitCode> {
    let all = |errors: &[ConfigError]| errors.iter().map(document).collect::<Vec<_>>();
    let (config, errors) = match checked {
        Ok(config) => (Some(config), Vec::new()),
        Err(refused) => (None, refused.errors),
    };
    let config = config.as_ref();
    let endpoints = config.filter(|it| it.calls_sts()).map(|it| &it.endpoints);
    let endpoints = endpoints.map(|it| {
        let urls = it.all().iter().map(|it| it.as_str().trim_end_matches('/'));
        json!({"urls": urls.collect::<Vec<_>>(), "named_by": it.origin().to_string()})
    });
    let profiles = config.map(|it| it.profiles.keys().map(ToString::to_string));
    let fragments = config.map(|it| it.fragments.iter().map(|it| it.display().to_string()));
    let report = json!({
        "file": options.config.display().to_string(),
        "fragments": fragments.map(Iterator::collect::<Vec<_>>),
        "portable": scope == Scope::Portable,
        "valid": config.is_some(),
        "profiles": profiles.map(Iterator::collect::<Vec<_>>),
        "sts_endpoints": endpoints,
        "errors": all(&errors),
        "warnings": all(warnings),
    });
    writeln!(io::stdout(), "{report:#}")?;
    Ok(match config {
        Some(_) => ExitCode::SUCCESS,
        None => ExitCode::FAILURE,
    })
}

fn document(error: &ConfigError) -> Value {
    json!({
        "code": error.code.name(),
        "file": error.file.display().to_string(),
        "line": error.line,
        "key": error.key,
        "problem": error.problem,
        "hint": error.hint,
    })
}
