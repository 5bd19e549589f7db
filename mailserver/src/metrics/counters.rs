//! The counters of a server, which its sessions share.

use std::sync::atomic::{AtomicU64, Ordering};

use io_common::WorkerStatistics;
use proto_mail::AuthVerdict;

use super::figures::{LoginMetrics, MessageMetrics, MessageOrigin, Metrics, ServiceMetrics};
use crate::service::Service;

/// A number that only counts up, or that is set back where something ends.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn subtract(&self, less: u64) {
        self.0.fetch_sub(less, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of one service.
#[derive(Debug, Default)]
pub(crate) struct ServiceCounters {
    pub(crate) open_sessions: Counter,
    pub(crate) sessions: Counter,
    pub(crate) failed_sessions: Counter,
    pub(crate) commands: Counter,
    pub(crate) refusals: Counter,
    pub(crate) tls12: Counter,
    pub(crate) tls13: Counter,
}

/// The counters of a server.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    services: [ServiceCounters; Service::ALL.len()],
    accepted: Counter,
    rejected: Counter,
    unavailable: Counter,
    messages: [(Counter, Counter); MessageOrigin::ALL.len()],
}

impl Counters {
    pub(crate) const fn service(&self, service: Service) -> &ServiceCounters {
        let [smtp, smtps, lmtp, imap, imaps] = &self.services;
        match service {
            Service::Smtp => smtp,
            Service::Smtps => smtps,
            Service::Lmtp => lmtp,
            Service::Imap => imap,
            Service::Imaps => imaps,
        }
    }

    /// Counts a login.
    pub(crate) fn login(&self, verdict: &AuthVerdict) {
        match verdict {
            AuthVerdict::Accept => self.accepted.add(1),
            AuthVerdict::Reject => self.rejected.add(1),
            // The exchange goes on.
            AuthVerdict::Keys(_) => {}
            _ => self.unavailable.add(1),
        }
    }

    /// Counts stored messages and their bytes.
    pub(crate) fn messages(&self, origin: MessageOrigin, messages: u64, bytes: u64) {
        let (all_messages, all_bytes) = self.messages_of(origin);
        all_messages.add(messages);
        all_bytes.add(bytes);
    }

    const fn messages_of(&self, origin: MessageOrigin) -> &(Counter, Counter) {
        let [submission, lmtp, append] = &self.messages;
        match origin {
            MessageOrigin::Submission => submission,
            MessageOrigin::Lmtp => lmtp,
            MessageOrigin::Append => append,
        }
    }

    /// Returns the figures of now.
    pub(crate) fn read(&self, jobs: WorkerStatistics) -> Metrics {
        Metrics {
            services: Service::ALL.map(|service| self.read_service(service)).to_vec(),
            logins: LoginMetrics {
                accepted: self.accepted.get(),
                rejected: self.rejected.get(),
                unavailable: self.unavailable.get(),
            },
            messages: MessageOrigin::ALL.map(|origin| {
                let (messages, bytes) = self.messages_of(origin);
                MessageMetrics { origin, messages: messages.get(), bytes: bytes.get() }
            }),
            jobs,
        }
    }

    fn read_service(&self, service: Service) -> ServiceMetrics {
        let counters = self.service(service);
        ServiceMetrics {
            service,
            open_sessions: counters.open_sessions.get(),
            sessions: counters.sessions.get(),
            failed_sessions: counters.failed_sessions.get(),
            commands: counters.commands.get(),
            refusals: counters.refusals.get(),
            tls12: counters.tls12.get(),
            tls13: counters.tls13.get(),
        }
    }
}
