//! A session that is counted.

use std::sync::Arc;

use io_common::{CloseReason, Context, Handler, ImapServer, MachineMut, Next, Protocol, SmtpServer};
use proto_mail::{Machine, SendBuffer};

use crate::metrics::ServiceCounters;
use crate::server_context::ServerContext;
use crate::service::Service;
use crate::{imap, smtp};

/// A handler whose session, commands and refusals are counted. It passes each call on.
pub(crate) struct Measured<H> {
    handler: H,
    context: Arc<ServerContext>,
    service: Service,
    /// The refusals that were counted, as [`MeasuredHandler::refusals`] returns them.
    refusals: u32,
}

impl<H> Measured<H> {
    /// Counts a session as open until this is dropped.
    pub(crate) fn new(handler: H, context: Arc<ServerContext>, service: Service) -> Self {
        context.counters.service(service).open_sessions.add(1);
        Self { handler, context, service, refusals: 0 }
    }

    fn counters(&self) -> &ServiceCounters {
        self.context.counters.service(self.service)
    }

    /// Counts the refusals since the last call.
    fn count_refusals<P: Protocol>(&mut self, machine: &P::Secure)
    where
        H: MeasuredHandler<P>,
    {
        let now = self.handler.refusals(machine);
        let more = now.saturating_sub(self.refusals);
        if more > 0 {
            self.counters().refusals.add(u64::from(more));
        }
        self.refusals = now;
    }
}

impl<H> Drop for Measured<H> {
    fn drop(&mut self) {
        self.counters().open_sessions.subtract(1);
    }
}

/// What is counted of a session.
pub(crate) trait MeasuredHandler<P: Protocol>: Handler<P> {
    /// Returns whether an event is a command of the client.
    fn is_command(event: &<P::Secure as Machine>::Event<'_>) -> bool;

    /// Returns the number of refused commands of the session.
    fn refusals(&self, machine: &P::Secure) -> u32;
}

impl MeasuredHandler<ImapServer> for imap::Session {
    fn is_command(event: &<<ImapServer as Protocol>::Secure as Machine>::Event<'_>) -> bool {
        use proto_imap::server::Event;
        matches!(
            event,
            Event::Command(..)
                | Event::Auth(_)
                | Event::Append { .. }
                | Event::Idle(_)
                | Event::Compress(_)
                | Event::Unparsed(_)
        )
    }

    fn refusals(&self, machine: &<ImapServer as Protocol>::Secure) -> u32 {
        machine.refusals().total
    }
}

impl MeasuredHandler<SmtpServer> for smtp::Session {
    fn is_command(event: &<<SmtpServer as Protocol>::Secure as Machine>::Event<'_>) -> bool {
        use proto_smtp::server::Event;
        !matches!(event, Event::DataChunk(_) | Event::DataEnd(_) | Event::Reset | Event::Closed)
    }

    fn refusals(&self, _: &<SmtpServer as Protocol>::Secure) -> u32 {
        self.refusals()
    }
}

impl<P: Protocol, H: MeasuredHandler<P>> Handler<P> for Measured<H> {
    fn cleartext(
        &mut self,
        event: <P::Cleartext as Machine>::Event<'_>,
        machine: &mut P::Cleartext,
        tx: &mut SendBuffer,
        cx: &mut Context<'_>,
    ) -> Next {
        self.handler.cleartext(event, machine, tx, cx)
    }

    fn secure(
        &mut self,
        event: <P::Secure as Machine>::Event<'_>,
        machine: &mut P::Secure,
        tx: &mut SendBuffer,
        cx: &mut Context<'_>,
    ) -> Next {
        if H::is_command(&event) {
            self.counters().commands.add(1);
        }
        let next = self.handler.secure(event, machine, tx, cx);
        self.count_refusals::<P>(machine);
        next
    }

    fn opened(&mut self, machine: MachineMut<'_, P>, tx: &mut SendBuffer, cx: &mut Context<'_>) -> Next {
        self.counters().sessions.add(1);
        self.handler.opened(machine, tx, cx)
    }

    fn secured(&mut self, machine: &mut P::Secure, tx: &mut SendBuffer, cx: &mut Context<'_>) -> Next {
        match cx.peer().tls.as_ref().map(|tls| tls.version) {
            Some("TLSv1.3") => self.counters().tls13.add(1),
            Some(_) => self.counters().tls12.add(1),
            None => {}
        }
        self.handler.secured(machine, tx, cx)
    }

    fn woken(&mut self, machine: MachineMut<'_, P>, tx: &mut SendBuffer, cx: &mut Context<'_>) -> Next {
        match machine {
            MachineMut::Secure(machine) => {
                let next = self.handler.woken(MachineMut::Secure(machine), tx, cx);
                self.count_refusals::<P>(machine);
                next
            }
            cleartext @ MachineMut::Cleartext(_) => self.handler.woken(cleartext, tx, cx),
        }
    }

    fn drained(&mut self, machine: MachineMut<'_, P>, tx: &mut SendBuffer, cx: &mut Context<'_>) -> Next {
        match machine {
            MachineMut::Secure(machine) => {
                let next = self.handler.drained(MachineMut::Secure(machine), tx, cx);
                self.count_refusals::<P>(machine);
                next
            }
            cleartext @ MachineMut::Cleartext(_) => self.handler.drained(cleartext, tx, cx),
        }
    }

    fn closed(&mut self, reason: &CloseReason) {
        if matches!(reason, CloseReason::Failed(_)) {
            self.counters().failed_sessions.add(1);
        }
        self.handler.closed(reason);
    }
}
