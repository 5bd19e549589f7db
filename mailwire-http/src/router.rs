//! The routes, and what every request and answer must satisfy.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use mailserver::Metrics;

use crate::health::{Checker, Readiness};
use crate::prometheus;

/// Where the answers come from.
pub struct Sources {
    metrics: Box<dyn Fn() -> Metrics + Send + Sync>,
    checker: Checker,
    hosts: Vec<String>,
}

impl Sources {
    /// Answers with the figures of `metrics`, and with the state of `readiness`, which may block.
    pub fn new(
        metrics: impl Fn() -> Metrics + Send + Sync + 'static,
        readiness: impl Fn() -> Readiness + Send + Sync + 'static,
    ) -> Self {
        let checker = Checker::new(Arc::new(readiness));
        Self { metrics: Box::new(metrics), checker, hosts: Vec::new() }
    }

    /// Adds a name of this server, for requests that use it in `Host`.
    #[must_use]
    pub fn host(mut self, name: impl Into<String>) -> Self {
        self.hosts.push(name.into());
        self
    }

    /// Returns whether a request may name this host.
    fn is_own_host(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => host.split(':').next().unwrap_or_default(),
        };
        let is = |own: &str| own.eq_ignore_ascii_case(name);
        name.parse::<IpAddr>().is_ok() || is("localhost") || self.hosts.iter().any(|own| is(own))
    }
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

type Shared = Arc<Sources>;

/// Returns the routes.
pub(crate) fn router(sources: Sources) -> Router {
    let sources = Arc::new(sources);
    Router::new()
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/metrics", get(metrics))
        .fallback(async || (StatusCode::NOT_FOUND, "not found\n"))
        .layer(middleware::from_fn_with_state(Arc::clone(&sources), guard))
        .with_state(sources)
}

/// Refuses requests for other hosts, and adds the headers of every answer.
async fn guard(State(sources): State<Shared>, request: Request, next: Next) -> Response {
    let host = host(request.headers(), request.uri().host());
    let mut response = match host.is_some_and(|host| sources.is_own_host(&host)) {
        true => next.run(request).await,
        false => (StatusCode::MISDIRECTED_REQUEST, "this server has no such name\n").into_response(),
    };
    let fixed: [(HeaderName, &str); 3] = [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ];
    for (name, value) in fixed {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Returns the host that a request names: that of an absolute URI, otherwise the only `Host`.
fn host(headers: &HeaderMap, uri: Option<&str>) -> Option<String> {
    if let Some(host) = uri {
        return Some(host.to_owned());
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next()?.to_str().ok()?;
    hosts.next().is_none().then(|| host.to_owned())
}

async fn live() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], r#"{"status":"live"}"#)
}

async fn ready(State(sources): State<Shared>) -> impl IntoResponse {
    let readiness = sources.checker.readiness().await;
    let status = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CONTENT_TYPE, "application/json")], readiness.json())
}

async fn metrics(State(sources): State<Shared>) -> impl IntoResponse {
    let readiness = sources.checker.readiness().await;
    let page = prometheus::page(&(sources.metrics)(), readiness.certificate_days_left);
    ([(header::CONTENT_TYPE, prometheus::CONTENT_TYPE)], page)
}
