//! Writes the arguments of FETCH.

use crate::fetch_command::{FetchAttribute, FetchCommand, FetchModifier, Partial, Peek};
use crate::grammar::command_writer::{ArgumentFault, CommandSink, Writer, Written, fault};
use crate::section::{Section, SectionItem};

impl<S: CommandSink> Writer<'_, S> {
    pub(crate) fn fetch(&mut self, fetch: &FetchCommand<'_>) -> Written {
        self.set(fetch.messages)?;
        self.put(b" ");
        self.one_or_more("list of FETCH attributes", fetch.attributes, Self::fetch_attribute)?;
        if fetch.modifiers.is_empty() {
            return Ok(());
        }
        let has = |what: fn(FetchModifier) -> bool| fetch.modifiers.iter().any(what);
        if has(|one| one == FetchModifier::Vanished)
            && !has(|one| matches!(one, FetchModifier::ChangedSince(_)))
        {
            return fault("VANISHED modifier", ArgumentFault::Contradiction);
        }
        self.put(b" ");
        self.parenthesised(fetch.modifiers, |writer, modifier| match modifier {
            FetchModifier::ChangedSince(mod_sequence) => {
                writer.put(b"CHANGEDSINCE ");
                writer.nz_number64("mod-sequence", mod_sequence)
            }
            FetchModifier::Vanished => {
                writer.put(b"VANISHED");
                Ok(())
            }
            FetchModifier::Partial(page) => {
                writer.put(b"PARTIAL ");
                writer.page(page)
            }
        })
    }

    /// `fetch-att`
    pub(crate) fn fetch_attribute(&mut self, attribute: FetchAttribute<'_>) -> Written {
        let word: &[u8] = match attribute {
            FetchAttribute::Flags => b"FLAGS",
            FetchAttribute::Uid => b"UID",
            FetchAttribute::Size => b"RFC822.SIZE",
            FetchAttribute::InternalDate => b"INTERNALDATE",
            FetchAttribute::Envelope => b"ENVELOPE",
            FetchAttribute::Body => b"BODY",
            FetchAttribute::BodyStructure => b"BODYSTRUCTURE",
            FetchAttribute::ModSeq => b"MODSEQ",
            FetchAttribute::EmailId => b"EMAILID",
            FetchAttribute::ThreadId => b"THREADID",
            FetchAttribute::Preview => b"PREVIEW",
            FetchAttribute::PreviewLazy => b"PREVIEW (LAZY)",
            FetchAttribute::SaveDate => b"SAVEDATE",
            FetchAttribute::GmailMessageId => b"X-GM-MSGID",
            FetchAttribute::GmailThreadId => b"X-GM-THRID",
            FetchAttribute::GmailLabels => b"X-GM-LABELS",
            FetchAttribute::Annotation { entries, attributes } => {
                return self.annotation(entries, attributes);
            }
            FetchAttribute::BinarySize(section) => {
                self.put(b"BINARY.SIZE");
                return self.section(section);
            }
            FetchAttribute::Section { section, partial, peek } => {
                return self.contents(section, partial, peek);
            }
        };
        self.put(word);
        Ok(())
    }

    /// Writes the attribute for the contents of a section.
    pub(crate) fn contents(&mut self, section: Section<'_>, partial: Option<Partial>, peek: Peek) -> Written {
        let old: &[u8] = match section.item() {
            SectionItem::Rfc822 => b"RFC822",
            SectionItem::Rfc822Header => b"RFC822.HEADER",
            SectionItem::Rfc822Text => b"RFC822.TEXT",
            item => {
                self.put(match (item, peek) {
                    (SectionItem::Binary, Peek::Yes) => b"BINARY.PEEK",
                    (SectionItem::Binary, Peek::No) => b"BINARY",
                    (_, Peek::Yes) => b"BODY.PEEK",
                    (_, Peek::No) => b"BODY",
                });
                self.section(section)?;
                return self.partial(partial);
            }
        };
        // These items have neither `PEEK` nor partial contents, so the server would fetch something else than
        // requested.
        if peek == Peek::Yes || partial.is_some() {
            return fault("section", ArgumentFault::Contradiction);
        }
        self.put(old);
        Ok(())
    }

    pub(crate) fn partial(&mut self, partial: Option<Partial>) -> Written {
        let Some(Partial { offset, length }) = partial else { return Ok(()) };
        self.put(b"<");
        self.number64("offset of the piece", offset)?;
        self.put(b".");
        self.nz_number64("length of the piece", length)?;
        self.put(b">");
        Ok(())
    }
}
