//! The configuration of the state machine: which capabilities the server offers after the login.

use std::sync::Arc;

use proto_imap::Config;

use crate::login;
use crate::server_context::ServerContext;
use crate::settings::Settings;

/// Returns the configuration of the state machine.
pub(crate) fn config(context: &ServerContext, settings: &Settings) -> Arc<Config> {
    let limits = &settings.limits;
    let extensions = [
        "ACL",
        "BINARY",
        "CATENATE",
        "CHILDREN",
        "CONDSTORE",
        "CONTEXT=SEARCH",
        "CONTEXT=SORT",
        "CREATE-SPECIAL-USE",
        "ESEARCH",
        "ESORT",
        "FILTERS",
        "I18NLEVEL=2",
        "ID",
        "LANGUAGE",
        "LIST-EXTENDED",
        "LIST-METADATA",
        "LIST-MYRIGHTS",
        "LIST-STATUS",
        "METADATA",
        "METADATA-SERVER",
        "MOVE",
        "MULTIAPPEND",
        "MULTISEARCH",
        "NAMESPACE",
        "NOTIFY",
        "OBJECTID",
        "PARTIAL",
        "PREVIEW",
        "QRESYNC",
        "QUOTA",
        "QUOTA=RES-MAILBOX",
        "QUOTA=RES-MESSAGE",
        "QUOTA=RES-STORAGE",
        "REPLACE",
        "RIGHTS=kxte",
        "SAVEDATE",
        "SEARCH=FUZZY",
        "SEARCHRES",
        "SORT",
        "SORT=DISPLAY",
        "SPECIAL-USE",
        "STATUS=SIZE",
        "THREAD=ORDEREDSUBJECT",
        "THREAD=REFERENCES",
        "THREAD=REFS",
        "UIDBATCHES",
        "UIDONLY",
        "UIDPLUS",
        "UNAUTHENTICATE",
        "UNSELECT",
        "URLAUTH",
        "URLAUTH=BINARY",
        "UTF8=ACCEPT",
        "WITHIN",
    ];
    // RFC 7889 §4: a number of 32 bits.
    let append_limit = format!("APPENDLIMIT={}", limits.message.min(u32::MAX.into()));
    let compress = (settings.compressed_sessions > 0).then_some("COMPRESS=DEFLATE");
    let extensions = extensions.into_iter().chain(compress).map(str::to_owned).chain([append_limit]);
    // An imitated server offers what both have.
    let has = |name: &str| context.dialect.is_none_or(|dialect| dialect.has_capability(name));
    let enableable =
        ["IMAP4rev2", "CONDSTORE", "METADATA", "METADATA-SERVER", "QRESYNC", "UIDONLY", "UTF8=ACCEPT"];
    Arc::new(
        Config::default()
            .limits(limits.clone())
            .offered_mechanisms(login::mechanisms(context))
            .server_name(format!("{} Mailwire", context.name))
            .extensions(extensions.filter(|name| has(name)))
            .enableable(enableable.into_iter().filter(|name| has(name))),
    )
}
