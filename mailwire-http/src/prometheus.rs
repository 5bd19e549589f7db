//! The figures of a server in the text format of Prometheus, version 0.0.4.

use std::fmt::Write;

use io_common::workers::WorkerStatistics;
use mailserver::Metrics;

/// The content type of the format.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Returns the figures. `certificate_expiry` is in seconds since 1970.
pub(crate) fn page(metrics: &Metrics, certificate_days_left: Option<i64>) -> String {
    let mut page = Page::default();
    page.family("mailwire_build_info", "gauge", "The version of the server.");
    page.sample("mailwire_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    services(&mut page, metrics);
    page.family("mailwire_logins_total", "counter", "Logins by their outcome.");
    let logins = metrics.logins;
    for (outcome, count) in
        [("accepted", logins.accepted), ("rejected", logins.rejected), ("unavailable", logins.unavailable)]
    {
        page.sample("mailwire_logins_total", &[("outcome", outcome)], count);
    }
    page.family("mailwire_messages_total", "counter", "Stored messages by the way they came.");
    for messages in metrics.messages {
        page.sample("mailwire_messages_total", &[("origin", messages.origin.name())], messages.messages);
    }
    page.family("mailwire_message_bytes_total", "counter", "Bytes of stored messages.");
    for messages in metrics.messages {
        page.sample("mailwire_message_bytes_total", &[("origin", messages.origin.name())], messages.bytes);
    }
    jobs(&mut page, &metrics.jobs);
    if let Some(days) = certificate_days_left {
        page.family("mailwire_certificate_days_left", "gauge", "Days until the certificate expires.");
        page.sample("mailwire_certificate_days_left", &[], days);
    }
    page.0
}

/// The figures of each service.
fn services(page: &mut Page, metrics: &Metrics) {
    type Read = fn(&mailserver::metrics::ServiceMetrics) -> u64;
    let families: [(&str, &str, &str, Read); 5] = [
        ("mailwire_sessions_open", "gauge", "Open sessions.", |service| service.open_sessions),
        ("mailwire_sessions_total", "counter", "Sessions that were opened.", |service| service.sessions),
        ("mailwire_sessions_failed_total", "counter", "Sessions that an error ended.", |service| {
            service.failed_sessions
        }),
        ("mailwire_commands_total", "counter", "Commands.", |service| service.commands),
        ("mailwire_refusals_total", "counter", "Refused commands and recipients.", |service| {
            service.refusals
        }),
    ];
    for (name, kind, help, read) in families {
        page.family(name, kind, help);
        for service in &metrics.services {
            page.sample(name, &[("service", service.service.name())], read(service));
        }
    }
    page.family("mailwire_tls_handshakes_total", "counter", "Finished TLS handshakes by version.");
    for service in &metrics.services {
        for (version, count) in [("1.2", service.tls12), ("1.3", service.tls13)] {
            let labels = [("service", service.service.name()), ("version", version)];
            page.sample("mailwire_tls_handshakes_total", &labels, count);
        }
    }
}

/// The work on the store.
fn jobs(page: &mut Page, jobs: &WorkerStatistics) {
    page.family("mailwire_jobs_waiting", "gauge", "Jobs that wait for a thread.");
    page.sample("mailwire_jobs_waiting", &[], jobs.waiting);
    let name = "mailwire_job_slice_seconds";
    page.family(name, "histogram", "How long a job occupied a thread before the next one's turn.");
    for (bound, count) in WorkerStatistics::BOUNDS.iter().zip(jobs.slices_within) {
        let bound = bound.as_secs_f64().to_string();
        page.sample("mailwire_job_slice_seconds_bucket", &[("le", &bound)], count);
    }
    page.sample("mailwire_job_slice_seconds_bucket", &[("le", "+Inf")], jobs.slices);
    page.sample("mailwire_job_slice_seconds_sum", &[], jobs.time.as_secs_f64());
    page.sample("mailwire_job_slice_seconds_count", &[], jobs.slices);
}

/// The text so far.
#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Adds a sample. The values of labels are names of this program, which need no escape.
    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.0.push_str(name);
        for (number, (label, text)) in labels.iter().enumerate() {
            let before = if number == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{before}{label}=\"{text}\"");
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{end} {value}");
    }
}
