//! The listener for monitoring: metrics and two probes, for any host. No credential can be had there: it
//! knows the status and the conditions alone.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | the text of `stsctl metrics`, and the metrics of the process |
//! | `/healthz` | 200 while requests are answered |
//! | `/readyz` | 200 while a configuration is in force and all listeners are bound, else 503 |

mod process;

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use stsd_wire::{HttpListener, ListenerState};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{
    runtime::conditions::Condition,
    serve::{accept, context::ServerContext, daemon_metrics, socket},
};

/// Maximum number of connections; others are closed at once. A scrape is one connection.
const MAX_CONNECTIONS: usize = 16;

/// Timeout of a connection, from its head to the end of its response.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// Interval between attempts to bind an address that is in use.
const BIND_RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// The version of the text format. Source:
/// <https://prometheus.io/docs/instrumenting/exposition_formats/>.
const METRICS_TYPE: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4");
const TEXT_TYPE: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// The listener of one configured address.
#[derive(Default)]
pub(crate) struct MetricsListener {
    configured: Option<SocketAddr>,
    /// Ends accepting at that address.
    stop: CancellationToken,
}

impl MetricsListener {
    /// Listens at the configured address, or stops listening. An address that is in use is tried again
    /// later.
    pub(crate) fn listen(
        &mut self,
        context: &Arc<ServerContext>,
        configured: Option<SocketAddr>,
        stop: &CancellationToken,
    ) {
        if self.configured == configured {
            return;
        }
        self.stop.cancel();
        self.configured = configured;
        self.stop = stop.child_token();
        recover(context);
        if let Some(address) = configured {
            let serving = serve(Arc::clone(context), address, self.stop.clone());
            context.limiter.tasks().spawn(serving);
        }
    }
}

/// Binds the address, as often as necessary, and serves until `stop`.
async fn serve(context: Arc<ServerContext>, address: SocketAddr, stop: CancellationToken) {
    let mut is_first = true;
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(error) => fail(&context, address, &error, is_first),
        }
        is_first = false;
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(BIND_RETRY_INTERVAL) => {}
        }
    };
    recover(&context);
    let bound = listener.local_addr().unwrap_or(address);
    info!(address = %bound, "serving metrics");
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    accept::accept_loop(listener, &context.limiter, &stop, |stream| {
        // A flood takes no descriptor from the callers of the sockets.
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            return;
        };
        let (context, stop) = (Arc::clone(&context), stop.clone());
        context.limiter.tasks().clone().spawn(async move {
            let connection = serve_connection(&context, stream);
            tokio::select! {
                () = stop.cancelled() => {}
                outcome = timeout(CONNECTION_TIMEOUT, connection) => drop(outcome),
            }
            drop(slot);
        });
    })
    .await;
}

async fn serve_connection(context: &ServerContext, stream: TcpStream) {
    let respond = |request: Request<Incoming>| async move {
        Ok::<_, Infallible>(response(context, &request))
    };
    // One request for each connection: an idle one would hold its slot.
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CONNECTION_TIMEOUT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service_fn(respond));
    if let Err(error) = connection.await {
        debug!("a connection for metrics ended: {error}");
    }
}

fn response(context: &ServerContext, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, content_type, text) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => {
            (StatusCode::OK, METRICS_TYPE, metrics(context))
        }
        (&Method::GET | &Method::HEAD, "/healthz") => {
            (StatusCode::OK, TEXT_TYPE, "ok\n".to_owned())
        }
        (&Method::GET | &Method::HEAD, "/readyz") => match unready(context) {
            problems if problems.is_empty() => (StatusCode::OK, TEXT_TYPE, "ready\n".to_owned()),
            problems => (StatusCode::SERVICE_UNAVAILABLE, TEXT_TYPE, problems),
        },
        (&Method::GET | &Method::HEAD, _) => {
            let paths =
                "there are /metrics, /healthz and /readyz; no credentials are served here\n";
            (StatusCode::NOT_FOUND, TEXT_TYPE, paths.to_owned())
        }
        _ => {
            let only = "only GET and HEAD are allowed\n";
            (StatusCode::METHOD_NOT_ALLOWED, TEXT_TYPE, only.to_owned())
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        let methods = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(ALLOW, methods);
    }
    response
}

/// Returns the text for `/metrics`.
fn metrics(context: &ServerContext) -> String {
    let mut status = socket::status(context, "", |_| true);
    while let (true, Some(last)) = (status.more, status.profiles.last()) {
        let next = socket::status(context, &last.name, |_| true);
        // A reload may have removed all others since.
        status.more = next.more && !next.profiles.is_empty();
        status.profiles.extend(next.profiles);
    }
    let conditions = context.status.as_ref().map(|it| {
        let all = socket::conditions(&it.conditions, context.clock.boot());
        all.conditions
    });
    let http = socket::http_listener(&context.http);
    let mut text = stsd_metrics::text(&status, &conditions.unwrap_or_default(), Some(&http));
    daemon_metrics::add_to(&mut text, context, usize::MAX);
    process::add_to(&mut text);
    text.into_string()
}

/// Returns a line for each listener that does not serve. STS is none of them: an outage of STS must not
/// make a service manager restart the daemons of a fleet.
fn unready(context: &ServerContext) -> String {
    let HttpListener { state, .. } = socket::http_listener(&context.http);
    let is_http_bound = [ListenerState::NotConfigured, ListenerState::Listening].contains(&state);
    let conditions = context.status.as_ref().map(|it| it.conditions.all());
    let mut problems = conditions.into_iter().flatten();
    let is_socket_found =
        !problems.any(|(condition, problem)| condition == Condition::Socket && problem.is_some());
    let all = [
        (is_http_bound, "http_endpoint"),
        (is_socket_found, "socket"),
    ];
    let unready = all.iter().filter(|(is_ready, _)| !is_ready);
    unready
        .map(|(_, name)| format!("not ready: {name}\n"))
        .collect()
}

fn fail(context: &ServerContext, address: SocketAddr, error: &io::Error, is_first: bool) {
    let problem = format!("no metrics are served: {address}: {error}");
    let hint = "set listen of [metrics] to a free address of this machine, then stsctl reload; stsd tries \
                again every 5 s";
    if let Some(status) = &context.status {
        let now = context.clock.boot();
        status
            .conditions
            .fail(Condition::MetricsEndpoint, &problem, hint, now);
    }
    if is_first {
        warn!("{problem} (hint: {hint})");
    }
}

fn recover(context: &ServerContext) {
    if let Some(status) = &context.status {
        status.conditions.recover(Condition::MetricsEndpoint);
    }
}
