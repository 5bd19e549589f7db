//! What each imitated server sends.
//!
//! The defects are publicly known from the bug reports and test data of mail clients. Newer versions of a server may not have them.

/// What a server sends.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) name: &'static str,
    pub(super) greeting: Greeting,
    /// The fields of the answer to ID; if there are none, the answer stays as it is.
    pub(super) id: &'static [(&'static str, &'static str)],
    /// The capabilities that the server has, of those that Mailwire may have.
    pub(super) capabilities: &'static [&'static str],
    pub(super) defects: &'static [Defect],
    pub(super) behaviours: &'static [Behaviour],
}

/// The text of the greeting.
#[derive(Debug, Clone, Copy)]
pub(super) enum Greeting {
    /// Only the text.
    Text(&'static str),
    /// The capabilities, then the text.
    WithCapabilities(&'static str),
}

/// A defect of responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Defect {
    SpaceAfterStatus,
    SpaceAfterSearch,
    SpaceAfterCapabilities,
    SpaceInPermanentFlags,
    NoTextAfterCode,
    BareCopyUid,
    BareContinuation,
    TwoSpacesBeforeCount,
    CapitalizedCount,
    RepeatedSpecialUse,
    AnyFlagInFlags,
    KeywordWithBrackets,
    EmptyInboxStatus,
    TwoSpacesBetweenItems,
    SpaceAfterLastItem,
    MissingSectionValue,
    InvalidDate,
    SpaceBetweenAddresses,
    SpaceAfterHost,
    EmptyAddressList,
    NilInAddressList,
    OmittedBcc,
    UnescapedQuotesInMessageId,
    SpaceBetweenParts,
    SpaceAfterMultipart,
    EmptyParameters,
    NilBoundary,
    UnescapedQuotesInCharset,
    UpperCaseMediaTypes,
    BareDisposition,
}

/// A defect in how the server answers commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behaviour {
    RequiresId,
    RejectsDescendingSets,
}

impl Defect {
    pub(super) const fn description(self) -> &'static str {
        match self {
            Self::SpaceAfterStatus => "a space at the end of STATUS responses",
            Self::SpaceAfterSearch => "a space at the end of SEARCH responses",
            Self::SpaceAfterCapabilities => "a space at the end of CAPABILITY responses",
            Self::SpaceInPermanentFlags => "a space before the end of the list in PERMANENTFLAGS",
            Self::NoTextAfterCode => "no text after a response code",
            Self::BareCopyUid => "COPYUID of MOVE without `* OK`",
            Self::BareContinuation => "`+` without a space and text",
            Self::TwoSpacesBeforeCount => "two spaces before the number of EXISTS",
            Self::CapitalizedCount => "`Exists` and `Recent`, which are valid",
            Self::RepeatedSpecialUse => "the special use of a mailbox twice",
            Self::AnyFlagInFlags => "`\\*` in FLAGS",
            Self::KeywordWithBrackets => "a keyword with brackets in FLAGS",
            Self::EmptyInboxStatus => "no items in STATUS of INBOX",
            Self::TwoSpacesBetweenItems => "two spaces between the items of FETCH",
            Self::SpaceAfterLastItem => "a space after the last item of FETCH",
            Self::MissingSectionValue => "no value for a section that does not exist",
            Self::InvalidDate => "day 0 of month 0 as INTERNALDATE of a message of 1970",
            Self::SpaceBetweenAddresses => "a space between addresses",
            Self::SpaceAfterHost => "a space after the host of an address",
            Self::EmptyAddressList => "`()` for an empty list of addresses",
            Self::NilInAddressList => "NIL as the first element of a list of addresses",
            Self::OmittedBcc => "an envelope without the field Bcc if it is empty",
            Self::UnescapedQuotesInMessageId => "quotation marks that are not escaped in a Message-ID",
            Self::SpaceBetweenParts => "a space between body parts",
            Self::SpaceAfterMultipart => "a space before the end of a multipart",
            Self::EmptyParameters => "`()` for no parameters of a body part",
            Self::NilBoundary => "NIL as the value of a boundary",
            Self::UnescapedQuotesInCharset => "quotation marks that are not escaped in a charset",
            Self::UpperCaseMediaTypes => "media types in upper case, which are valid",
            Self::BareDisposition => "a disposition without parameters as a string",
        }
    }
}

impl Behaviour {
    pub(super) const fn description(&self) -> &'static str {
        match self {
            Self::RequiresId => "SELECT fails before the client has sent ID",
            Self::RejectsDescendingSets => "BAD for a range whose first number is the larger one",
        }
    }
}

impl Profile {
    pub(super) fn has(&self, defect: Defect) -> bool {
        self.defects.contains(&defect)
    }

    /// Returns whether the server lists this capability. `AUTH=` and what concerns TLS depends on the session only.
    pub(super) fn has_capability(&self, name: &str) -> bool {
        let always = ["IMAP4rev1", "STARTTLS", "LOGINDISABLED", "SASL-IR"];
        let is_auth = name.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("AUTH="));
        let is = |one: &&str| match one.ends_with('=') {
            true => name.get(..one.len()).is_some_and(|start| start.eq_ignore_ascii_case(one)),
            false => one.eq_ignore_ascii_case(name),
        };
        let lists = |names: &[&str]| names.iter().any(is);
        is_auth || lists(&always) || lists(self.capabilities)
    }
}

pub(super) static COREMAIL: Profile = Profile {
    name: "coremail",
    greeting: Greeting::Text("Coremail System IMap Server Ready(163com)"),
    id: &[("name", "Coremail Imap"), ("vendor", "Mailtech")],
    capabilities: &["APPENDLIMIT=", "ID", "IDLE", "LITERAL+", "SPECIAL-USE", "UIDPLUS"],
    defects: &[Defect::EmptyInboxStatus],
    behaviours: &[Behaviour::RequiresId],
};

pub(super) static COURIER: Profile = Profile {
    name: "courier",
    greeting: Greeting::WithCapabilities("Courier-IMAP ready."),
    id: &[("name", "Courier-IMAP")],
    capabilities: &[
        "ACL",
        "CHILDREN",
        "ENABLE",
        "IDLE",
        "NAMESPACE",
        "QUOTA",
        "SORT",
        "THREAD=ORDEREDSUBJECT",
        "THREAD=REFERENCES",
        "UIDPLUS",
        "UTF8=ACCEPT",
    ],
    defects: &[],
    behaviours: &[],
};

pub(super) static DAVID: Profile = Profile {
    name: "david",
    greeting: Greeting::Text("IMAP4rev1 DavidServer ready"),
    id: &[],
    capabilities: &["IDLE", "NAMESPACE"],
    defects: &[Defect::SpaceAfterSearch, Defect::CapitalizedCount],
    behaviours: &[],
};

pub(super) static DAVMAIL: Profile = Profile {
    name: "davmail",
    greeting: Greeting::WithCapabilities("IMAP4rev1 DavMail server ready"),
    id: &[],
    capabilities: &["IDLE", "MOVE", "SPECIAL-USE", "UIDPLUS"],
    defects: &[Defect::TwoSpacesBeforeCount, Defect::TwoSpacesBetweenItems],
    behaviours: &[],
};

pub(super) static DOMINO: Profile = Profile {
    name: "domino",
    greeting: Greeting::Text("Domino IMAP4 Server ready"),
    id: &[],
    capabilities: &["LITERAL+", "NAMESPACE", "QUOTA", "UIDPLUS"],
    defects: &[Defect::InvalidDate, Defect::UnescapedQuotesInCharset],
    behaviours: &[],
};

pub(super) static DOVECOT: Profile = Profile {
    name: "dovecot",
    greeting: Greeting::WithCapabilities("Dovecot ready."),
    id: &[("name", "Dovecot")],
    capabilities: &[
        "BINARY",
        "CATENATE",
        "CHILDREN",
        "CONDSTORE",
        "CONTEXT=SEARCH",
        "ENABLE",
        "ESEARCH",
        "ESORT",
        "ID",
        "IDLE",
        "LIST-EXTENDED",
        "LIST-STATUS",
        "LITERAL+",
        "LITERAL-",
        "METADATA",
        "MOVE",
        "MULTIAPPEND",
        "NAMESPACE",
        "NOTIFY",
        "PREVIEW",
        "QRESYNC",
        "QUOTA",
        "SAVEDATE",
        "SEARCHRES",
        "SORT",
        "SORT=DISPLAY",
        "SPECIAL-USE",
        "STATUS=SIZE",
        "THREAD=ORDEREDSUBJECT",
        "THREAD=REFERENCES",
        "THREAD=REFS",
        "UIDPLUS",
        "UNSELECT",
        "WITHIN",
    ],
    defects: &[],
    behaviours: &[],
};

pub(super) static EXCHANGE: Profile = Profile {
    name: "exchange",
    greeting: Greeting::Text("The Microsoft Exchange IMAP4 service is ready. [TQBhAGkAbAB3AGkAcgBlAA==]"),
    id: &[("name", "Microsoft.Exchange.Imap4.Imap4Server")],
    capabilities: &[
        "CHILDREN",
        "ID",
        "IDLE",
        "LITERAL+",
        "LITERAL-",
        "MOVE",
        "NAMESPACE",
        "UIDPLUS",
        "UNSELECT",
    ],
    defects: &[
        Defect::SpaceAfterStatus,
        Defect::BareCopyUid,
        Defect::SpaceBetweenAddresses,
        Defect::SpaceBetweenParts,
        Defect::NilBoundary,
        Defect::BareDisposition,
    ],
    behaviours: &[],
};

pub(super) static GMAIL: Profile = Profile {
    name: "gmail",
    greeting: Greeting::Text("Gimap ready for requests"),
    id: &[("name", "GImap"), ("vendor", "Google, Inc.")],
    capabilities: &[
        "APPENDLIMIT=",
        "CHILDREN",
        "CONDSTORE",
        "ENABLE",
        "ESEARCH",
        "ID",
        "IDLE",
        "LIST-EXTENDED",
        "LIST-STATUS",
        "LITERAL-",
        "MOVE",
        "NAMESPACE",
        "QUOTA",
        "SPECIAL-USE",
        "UIDPLUS",
        "UNSELECT",
        "UTF8=ACCEPT",
    ],
    defects: &[Defect::KeywordWithBrackets, Defect::UpperCaseMediaTypes],
    behaviours: &[],
};

pub(super) static ICLOUD: Profile = Profile {
    name: "icloud",
    greeting: Greeting::WithCapabilities("iSCREAM ready to rumble"),
    id: &[("name", "iCloud IMAP")],
    capabilities: &[
        "CONDSTORE",
        "ENABLE",
        "ESEARCH",
        "ID",
        "IDLE",
        "LITERAL+",
        "LITERAL-",
        "NAMESPACE",
        "QUOTA",
        "UIDPLUS",
        "UNSELECT",
    ],
    defects: &[Defect::UnescapedQuotesInMessageId],
    behaviours: &[],
};

pub(super) static MAIL_RU: Profile = Profile {
    name: "mail-ru",
    greeting: Greeting::Text("Welcome"),
    id: &[("name", "Mail.Ru")],
    capabilities: &["ID", "IDLE", "LIST-STATUS", "MOVE", "UIDPLUS", "UNSELECT"],
    defects: &[Defect::EmptyParameters, Defect::NilBoundary],
    behaviours: &[],
};

pub(super) static MIGADU: Profile = Profile {
    name: "migadu",
    greeting: Greeting::WithCapabilities("Migadu ready."),
    id: &[],
    capabilities: DOVECOT.capabilities,
    defects: &[Defect::BareContinuation],
    behaviours: &[],
};

pub(super) static PROTON_BRIDGE: Profile = Profile {
    name: "proton-bridge",
    greeting: Greeting::WithCapabilities("Proton Mail Bridge ready"),
    id: &[("name", "Gluon"), ("vendor", "Proton AG")],
    capabilities: &["ID", "IDLE", "MOVE", "UIDPLUS", "UNSELECT"],
    defects: &[Defect::EmptyAddressList],
    behaviours: &[],
};

pub(super) static QQ: Profile = Profile {
    name: "qq",
    greeting: Greeting::WithCapabilities("QQMail IMAP4Server ready"),
    id: &[("name", "QQMail")],
    capabilities: &["CHILDREN", "ID", "IDLE", "MOVE", "NAMESPACE", "UIDPLUS"],
    defects: &[Defect::SpaceAfterCapabilities, Defect::SpaceAfterLastItem, Defect::OmittedBcc],
    behaviours: &[Behaviour::RejectsDescendingSets],
};

pub(super) static SMARTERMAIL: Profile = Profile {
    name: "smartermail",
    greeting: Greeting::Text("IMAP4rev1 SmarterMail"),
    id: &[],
    capabilities: &["CHILDREN", "IDLE", "LITERAL+", "LITERAL-", "NAMESPACE", "QUOTA", "UIDPLUS"],
    defects: &[Defect::NilInAddressList],
    behaviours: &[],
};

pub(super) static SURGEMAIL: Profile = Profile {
    name: "surgemail",
    greeting: Greeting::Text("IMAP SurgeMail"),
    id: &[],
    capabilities: &["CONDSTORE", "IDLE", "MOVE", "NAMESPACE", "QUOTA", "SORT", "UIDPLUS"],
    defects: &[Defect::SpaceInPermanentFlags],
    behaviours: &[],
};

pub(super) static YAHOO: Profile = Profile {
    name: "yahoo",
    greeting: Greeting::WithCapabilities("IMAP4rev1 Hello"),
    id: &[("name", "Yahoo! IMAP")],
    capabilities: &[
        "APPENDLIMIT=",
        "CHILDREN",
        "CONDSTORE",
        "ENABLE",
        "ID",
        "IDLE",
        "LIST-EXTENDED",
        "LIST-STATUS",
        "LITERAL+",
        "LITERAL-",
        "MOVE",
        "NAMESPACE",
        "OBJECTID",
        "PARTIAL",
        "SPECIAL-USE",
        "UIDPLUS",
        "UNSELECT",
        "UTF8=ACCEPT",
    ],
    defects: &[
        Defect::SpaceAfterSearch,
        Defect::EmptyAddressList,
        Defect::SpaceAfterHost,
        Defect::SpaceAfterMultipart,
    ],
    behaviours: &[],
};

pub(super) static YANDEX: Profile = Profile {
    name: "yandex",
    greeting: Greeting::Text("Yandex IMAP4rev1 ready"),
    id: &[("name", "Yandex.Mail")],
    capabilities: &[
        "CHILDREN",
        "ENABLE",
        "ID",
        "IDLE",
        "LITERAL+",
        "MOVE",
        "NAMESPACE",
        "UIDPLUS",
        "UNSELECT",
    ],
    defects: &[Defect::NoTextAfterCode, Defect::RepeatedSpecialUse, Defect::MissingSectionValue],
    behaviours: &[],
};

pub(super) static ZOHO: Profile = Profile {
    name: "zoho",
    greeting: Greeting::Text("Zoho IMAP Server ready"),
    id: &[],
    capabilities: &[
        "CHILDREN",
        "CONDSTORE",
        "ENABLE",
        "ID",
        "IDLE",
        "MOVE",
        "NAMESPACE",
        "UIDPLUS",
        "UNSELECT",
    ],
    defects: &[Defect::AnyFlagInFlags],
    behaviours: &[],
};
