//! The codes of IMAP responses as JSON.

use proto_imap::types::{AnnotationAccess, ResponseCode};
use serde_json::{Value, json};

use super::imap_values::{optional, ranges, string, strings};

/// Returns a response code.
pub(super) fn code(code: &ResponseCode<'_>) -> Value {
    match code {
        ResponseCode::Plain(plain) => json!({ "name": plain.as_str() }),
        ResponseCode::AppendUid { uid_validity, uids } => {
            json!({ "name": "APPENDUID", "uidvalidity": uid_validity, "uids": ranges(uids) })
        }
        ResponseCode::BadCharset(charsets) => {
            json!({ "name": "BADCHARSET", "charsets": charsets.iter().map(|one| string(&one)).collect::<Vec<_>>() })
        }
        ResponseCode::Capability(list) => {
            json!({ "name": "CAPABILITY", "capabilities": strings(list.iter()) })
        }
        ResponseCode::CopyUid { uid_validity, source, target } => json!({
            "name": "COPYUID", "uidvalidity": uid_validity, "source": ranges(source), "target": ranges(target),
        }),
        ResponseCode::HighestModSeq(value) => json!({ "name": "HIGHESTMODSEQ", "value": value }),
        ResponseCode::MailboxId(id) => json!({ "name": "MAILBOXID", "value": string(id) }),
        ResponseCode::AnnotateTooBig => json!({ "name": "ANNOTATE TOOBIG" }),
        ResponseCode::AnnotateTooMany => json!({ "name": "ANNOTATE TOOMANY" }),
        ResponseCode::Annotations(support) => {
            json!({ "name": "ANNOTATIONS", "no_private": support.no_private, "value": annotation_access(support.access) })
        }
        ResponseCode::MetadataLongEntries(value) => json!({ "name": "METADATA LONGENTRIES", "value": value }),
        ResponseCode::MetadataMaxSize(value) => json!({ "name": "METADATA MAXSIZE", "value": value }),
        ResponseCode::Modified(set) => json!({ "name": "MODIFIED", "set": ranges(set) }),
        ResponseCode::PermanentFlags(flags) => {
            json!({ "name": "PERMANENTFLAGS", "flags": strings(flags.iter()) })
        }
        ResponseCode::Referral(url) => json!({ "name": "REFERRAL", "value": string(url) }),
        ResponseCode::UidNext(value) => {
            json!({ "name": "UIDNEXT", "value": value.map_or(0, std::num::NonZero::get) })
        }
        ResponseCode::UidValidity(value) => json!({ "name": "UIDVALIDITY", "value": value }),
        ResponseCode::Unseen(value) => {
            json!({ "name": "UNSEEN", "value": value.map_or(0, std::num::NonZero::get) })
        }
        ResponseCode::BadUrl(url) => json!({ "name": "BADURL", "value": string(url) }),
        ResponseCode::NoUpdate(tag) => json!({ "name": "NOUPDATE", "value": string(tag) }),
        ResponseCode::UndefinedFilter(filter) => {
            json!({ "name": "UNDEFINED-FILTER", "value": string(filter) })
        }
        ResponseCode::Other { name, argument } => {
            json!({ "name": string(name), "value": optional(argument.as_ref()) })
        }
        ResponseCode::BadEvent(events) => {
            json!({ "name": "BADEVENT", "value": events.iter().map(|event| string(&event)).collect::<Vec<_>>() })
        }
        ResponseCode::InProgress(progress) => json!({
            "name": "INPROGRESS", "tag": optional(progress.tag.as_ref()), "done": progress.done, "goal": progress.goal,
        }),
        ResponseCode::MessageLimit { limit, lowest_uid } => {
            json!({ "name": "MESSAGELIMIT", "value": limit, "lowest_uid": lowest_uid })
        }
        code => json!({ "name": code.name() }),
    }
}

fn annotation_access(access: AnnotationAccess) -> Value {
    match access {
        AnnotationAccess::None => json!("NONE"),
        AnnotationAccess::ReadOnly => json!("READ-ONLY"),
        AnnotationAccess::MaxSize(size) => json!(size),
    }
}
