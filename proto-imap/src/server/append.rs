//! The server's side of APPEND and REPLACE: messages arrive as slices of the receive buffer (RFC 9051 §6.3.12, RFC
//! 7888, 3502, 4469, 8508).
//!
//! The application accepts each message, part and URL. The server counts the bytes of a message. It discards an
//! announced message that was rejected, and never parses it as commands.

use proto_mail::{Error, Misuse, RecvBuffer, SendBuffer};

use super::append_progress::{AppendLine, AppendProgress, LineFound, OfferedElement};
use super::event::{CoreEvent, LiteralOffer, Reply};
use super::expunges::Expunges;
use super::refusal::Refusal;
use super::reply::outcome;
use super::session::{Remainder, Session, Turn};
use super::unfinished::Unfinished;
use crate::append::MAX_APPEND_PARTS;
use crate::append::elements::{self, AppendElement, AppendHead, Place};
use crate::command_name::CommandName;
use crate::frame::{FrameStep, LiteralHeader, Sync};
use crate::parse::{self, UnparsedCommand};
use crate::state::{Effect, Outcome};
use crate::types::{AppendForm, CatenatePart, StatusResponse};

impl Session {
    /// Handles the first line of APPEND or REPLACE, which may announce a literal that is not the mailbox's name.
    pub(super) fn append<'i>(
        &mut self,
        bytes: &'i [u8],
        announced: Option<LiteralHeader>,
        tx: &mut SendBuffer,
    ) -> Result<CoreEvent<'i>, Error> {
        let command = parse::command_name(bytes).map_or(CommandName::Other, |(_, name, _)| name);
        let (head, at) = match elements::append_head(bytes, &self.context) {
            Ok(found) => found,
            Err(unparsed) => return self.refuse_unparsed(bytes.len(), announced, unparsed, tx),
        };
        let line = Some(AppendLine { end: bytes.len(), announced });
        let place = Place::FirstMessage;
        let append = AppendProgress { command, place, at, line, parts: 0, size: 0 };
        self.command_ended();
        self.append_element(append, Some(head), bytes, tx)
    }

    /// Rejects an APPEND that does not follow the grammar, before its message arrives.
    fn refuse_unparsed<'i>(
        &mut self,
        len: usize,
        announced: Option<LiteralHeader>,
        unparsed: UnparsedCommand<'i>,
        tx: &mut SendBuffer,
    ) -> Result<CoreEvent<'i>, Error> {
        self.reader.borrowed = len;
        self.command_ended();
        self.turn = Turn::Command;
        match announced {
            Some(LiteralHeader { size, sync: Sync::NonSynchronising, .. }) => {
                self.count_error(&Refusal::bad(""), tx)?;
                let refusal = self.line("BAD", &alloc::format!("{unparsed}"));
                self.turn = Turn::Discarding { left: size, refusal };
            }
            _ => self.put_bad(&unparsed, tx)?,
        }
        Ok(CoreEvent::Unparsed(unparsed))
    }

    /// Reads the next element of a complete line, and offers it to the application.
    fn append_element<'i>(
        &mut self,
        mut append: AppendProgress,
        head: Option<AppendHead<'i>>,
        bytes: &'i [u8],
        tx: &mut SendBuffer,
    ) -> Result<CoreEvent<'i>, Error> {
        let rest = bytes.get(append.at..).unwrap_or_default();
        let announced = append.line.and_then(|line| line.announced);
        let (rest, (element, literal, next)) = match elements::element(rest, append.place, &self.context) {
            Ok(found) => found,
            Err(error) if head.is_some() => {
                let tag = parse::command_name(bytes).ok().map(|(tag, _, _)| tag);
                let unparsed = UnparsedCommand::new(bytes, tag, error);
                return self.refuse_unparsed(bytes.len(), announced, unparsed, tx);
            }
            Err(_) => return self.abort_append(bytes.len(), announced, self.misplaced(), tx),
        };
        if let Some(refusal) = self.append_refusal(&append, &element, literal) {
            return self.abort_append(bytes.len(), announced, refusal, tx);
        }
        append.place = next;
        append.at = bytes.len() - rest.len();
        append.parts += 1;
        if rest.is_empty() {
            self.reader.borrowed = bytes.len();
            (append.at, append.line) = (0, None);
        }
        let size = literal.map_or(0, |header| header.size);
        append.size = match element {
            AppendElement::Message { .. } => size,
            _ => append.size.saturating_add(size),
        };
        if element == AppendElement::End {
            let expunges = match append.command {
                CommandName::Append => Expunges::HeldBack,
                command => Expunges::during(command),
            };
            self.turn = Turn::Reply { effect: Effect::None, expunges };
            return Ok(CoreEvent::AppendEnd(Reply { token: self.tokens.issue() }));
        }
        self.turn = Turn::Offer(OfferedElement { append, literal, announced });
        let offer = LiteralOffer { token: self.tokens.issue() };
        Ok(match (element, head) {
            (AppendElement::Message { flags, date, form }, Some(AppendHead { replaced, mailbox })) => {
                CoreEvent::Append { mailbox, replaced, flags, date, form, size, offer }
            }
            (AppendElement::Message { flags, date, form }, None) => {
                CoreEvent::AppendNext { flags, date, form, size, offer }
            }
            (AppendElement::Part(part), _) => CoreEvent::AppendPart { part, offer },
            (AppendElement::End, _) => CoreEvent::AppendAborted,
        })
    }

    /// Returns the refusal of bytes behind a message that cannot be there.
    fn misplaced(&self) -> Refusal {
        if self.config.offers("MULTIAPPEND") || self.config.offers("CATENATE") {
            Refusal::bad("the bytes behind the message are not valid")
        } else {
            Refusal::bad("only a line end may follow the message")
        }
    }

    /// Returns why the server rejects an element itself: a form that it does not offer, or a limit.
    fn append_refusal(
        &self,
        append: &AppendProgress,
        element: &AppendElement<'_>,
        literal: Option<LiteralHeader>,
    ) -> Option<Refusal> {
        let size = literal.map_or(0, |header| header.size);
        let multiple = self.config.offers("MULTIAPPEND");
        let utf8 = match element {
            AppendElement::End => return None,
            AppendElement::Message { form: AppendForm::Literal8, .. } if !self.config.offers("BINARY") => {
                return Some(Refusal::bad("a literal8 requires the BINARY extension, which is not offered"));
            }
            AppendElement::Message { form: AppendForm::Catenate, .. } if !self.config.offers("CATENATE") => {
                return Some(Refusal::bad("CATENATE is not offered"));
            }
            AppendElement::Message { form, .. } => {
                let may_follow = multiple && append.command == CommandName::Append;
                if append.place != Place::FirstMessage && !may_follow {
                    return Some(Refusal::bad("only a line end may follow the message"));
                }
                if size == 0 && multiple && *form != AppendForm::Catenate {
                    // RFC 3502 §6.3.11: the client cancels the command in this way.
                    return Some(Refusal::no("NO", "the append was cancelled by an empty message"));
                }
                *form == AppendForm::Utf8
            }
            AppendElement::Part(part) => matches!(part, CatenatePart::Utf8(_)),
        };
        if utf8 && !self.is_enabled("UTF8=ACCEPT") {
            return Some(Refusal::no("NO [CANNOT]", "enable UTF8=ACCEPT first"));
        }
        let before = if matches!(element, AppendElement::Part(_)) { append.size } else { 0 };
        if before.saturating_add(size) > self.config.append_limit() {
            return Some(Refusal::no("NO [TOOBIG]", "the message is too large"));
        }
        (append.parts >= MAX_APPEND_PARTS).then(|| Refusal::no("NO [LIMIT]", "too many messages and parts"))
    }

    /// Rejects the rest of the command. The application discards what it has received of it.
    fn abort_append<'i>(
        &mut self,
        len: usize,
        announced: Option<LiteralHeader>,
        refusal: Refusal,
        tx: &mut SendBuffer,
    ) -> Result<CoreEvent<'i>, Error> {
        self.turn = Turn::Command;
        match announced {
            Some(announced) => self.refuse_at_literal(len, announced, refusal, tx)?,
            None => self.refuse_command(len, refusal, tx)?,
        };
        Ok(CoreEvent::AppendAborted)
    }

    fn offered(&mut self, offer: &LiteralOffer) -> Result<OfferedElement, Error> {
        self.check_token(&offer.token)?;
        match self.turn {
            Turn::Offer(offered) => Ok(offered),
            _ => Err(Misuse::StaleToken.into()),
        }
    }

    /// Accepts a message, a part or a URL on behalf of the application.
    pub(super) fn accept_literal(&mut self, offer: &LiteralOffer, tx: &mut SendBuffer) -> Result<(), Error> {
        let OfferedElement { append, literal, .. } = self.offered(offer)?;
        if self.unfinished != Unfinished::Nothing {
            return Err(Misuse::WrongLength.into());
        }
        self.turn = match literal {
            None => Turn::AppendRest(append),
            Some(LiteralHeader { size, sync, .. }) => {
                if sync == Sync::Synchronising {
                    tx.put(b"+ go on\r\n");
                }
                Turn::Message(size, append)
            }
        };
        self.command_ended();
        Ok(())
    }

    /// Rejects a message, a part or a URL on behalf of the application, and with it the whole command.
    pub(super) fn reject_literal(
        &mut self,
        offer: &LiteralOffer,
        status: &StatusResponse<'_>,
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        let offered = self.offered(offer)?;
        if outcome(status)? == Outcome::Success {
            return Err(Misuse::WrongState.into());
        }
        match offered.unasked() {
            None => {
                self.put_status(status, tx)?;
                self.turn = Turn::Command;
            }
            Some(left) => {
                let mut later = SendBuffer::new();
                self.put_status(status, &mut later)?;
                self.turn = Turn::Discarding { left, refusal: later.take() };
            }
        }
        self.leave_line(&offered);
        self.command_ended();
        Ok(())
    }

    /// Consumes the rest of the line of a rejected element.
    fn leave_line(&mut self, offered: &OfferedElement) {
        if let Some(line) = offered.append.line {
            self.reader.borrowed = line.end;
        }
    }

    /// Answers for an application that has dropped its offer.
    pub(super) fn offer_dropped(&mut self, offered: &OfferedElement, refusal: &Refusal, tx: &mut SendBuffer) {
        match offered.unasked() {
            None => self.put_tagged(refusal.condition, refusal.text, tx),
            Some(left) => {
                let refusal = self.line(refusal.condition, refusal.text);
                self.turn = Turn::Discarding { left, refusal };
            }
        }
        self.leave_line(offered);
    }

    /// Returns the next bytes of the message.
    pub(super) fn message_chunk<'i>(
        &mut self,
        left: u64,
        append: AppendProgress,
        rx: &'i RecvBuffer,
    ) -> CoreEvent<'i> {
        let len = rx.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.reader.borrowed = len;
        self.turn = Turn::Message(left.saturating_sub(len as u64), append);
        self.step_done();
        CoreEvent::AppendChunk(rx.bytes().get(..len).unwrap_or_default())
    }

    /// Finds the next line of the command, with the URLs in it that are literals, and asks for these.
    pub(super) fn append_line(
        &mut self,
        mut append: AppendProgress,
        rx: &mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<LineFound, Error> {
        loop {
            let line = match append.line.take() {
                Some(line) => line,
                None => match self.find_line(rx, tx)? {
                    FrameStep::More => {
                        self.turn = Turn::AppendRest(append);
                        return Ok(LineFound::More);
                    }
                    FrameStep::Complete(end) => AppendLine { end, announced: None },
                    FrameStep::Literal(end, header) => AppendLine { end, announced: Some(header) },
                    FrameStep::Endless(..) => return Err(self.endless_literal(tx)),
                },
            };
            let bytes = rx.bytes().get(..line.end).unwrap_or_default();
            let url = line.announced.filter(|_| append.place.allows_url() && elements::announces_url(bytes));
            let Some(header) = url else {
                append.line = Some(line);
                self.step_done();
                self.reader.remainder = Remainder::None;
                return Ok(LineFound::Line(line.end, append));
            };
            let kept = match self.literal_refusal(header) {
                Some(refusal) => Err(refusal),
                None => self
                    .reader
                    .framer
                    .keep(line.end, header, &self.config.limits)
                    .map_err(|_| Refusal::no("NO [LIMIT]", "the command is larger than the limit")),
            };
            if let Err(refusal) = kept {
                self.abort_append(line.end, line.announced, refusal, tx)?;
                return Ok(LineFound::Rejected);
            }
            if header.sync == Sync::Synchronising {
                tx.put(b"+ go on\r\n");
            }
        }
    }

    /// Reads the next element of this line, which is behind the first line of the command.
    pub(super) fn append_rest<'i>(
        &mut self,
        append: AppendProgress,
        bytes: &'i [u8],
        tx: &mut SendBuffer,
    ) -> Result<CoreEvent<'i>, Error> {
        self.append_element(append, None, bytes, tx)
    }
}
