//! What is wrong with the fields of an account.

use std::fmt;

use serde::Serialize;

/// A field and what is wrong with it. Displays as `imap.host: is missing`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The field, as in JSON: `imap.host`, `identities[0].address`.
    pub field: String,
    /// What is wrong. Does not quote the value.
    pub problem: String,
}

/// The errors of all invalid fields. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct InvalidFields(pub Vec<FieldError>);

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.problem)
    }
}

impl fmt::Display for InvalidFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if index == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl std::error::Error for InvalidFields {}
