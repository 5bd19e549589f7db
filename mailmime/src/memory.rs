//! Estimates how much memory envelopes and parts take, for callers that limit it.

use crate::structure::{Address, Envelope, Part, Structure};

/// The least memory that a text takes, in bytes.
const TEXT_OVERHEAD: usize = 40;

fn text_memory_size(text: &Option<String>) -> usize {
    text.as_ref().map_or(0, |text| text.len() + TEXT_OVERHEAD)
}

impl Envelope {
    /// Returns about how many bytes the envelope takes in memory.
    pub fn memory_size(&self) -> usize {
        let texts = [&self.date, &self.subject, &self.in_reply_to, &self.message_id];
        let lists = [&self.from, &self.sender, &self.reply_to, &self.to, &self.cc, &self.bcc];
        let address = |one: &Address| {
            size_of::<Address>()
                + text_memory_size(&one.name)
                + text_memory_size(&one.adl)
                + text_memory_size(&one.mailbox)
                + text_memory_size(&one.host)
        };
        size_of::<Self>()
            + texts.into_iter().map(text_memory_size).sum::<usize>()
            + lists.into_iter().flatten().map(address).sum::<usize>()
    }
}

impl Part {
    /// Returns about how many bytes the part and everything inside it take in memory.
    pub fn memory_size(&self) -> usize {
        let parameters = |list: &[(String, String)]| {
            list.iter().map(|(name, value)| name.len() + value.len() + 2 * TEXT_OVERHEAD).sum::<usize>()
        };
        let texts = [&self.id, &self.description, &self.md5, &self.location];
        size_of::<Self>()
            + texts.into_iter().map(text_memory_size).sum::<usize>()
            + parameters(&self.parameters)
            + self
                .disposition
                .as_ref()
                .map_or(0, |disposition| parameters(&disposition.parameters) + TEXT_OVERHEAD)
            + self.languages.iter().map(|tag| tag.len() + TEXT_OVERHEAD).sum::<usize>()
            + self.children.iter().map(Self::memory_size).sum::<usize>()
            + self.message.as_ref().map_or(0, |message| message.memory_size())
    }
}

impl Structure {
    /// Returns about how many bytes the structure takes in memory.
    pub fn memory_size(&self) -> usize {
        self.envelope.memory_size() + self.root.memory_size()
    }
}
