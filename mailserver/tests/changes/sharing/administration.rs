//! Another account manages the mailboxes that it may: CREATE, DELETE, RENAME, SETACL.

use super::{WORK, ok, refused, run, with_shared};

#[test]
fn namespace_names_the_other_users() {
    with_shared(|shared| {
        let answer = ok(&mut shared.bob, "NAMESPACE");
        assert!(answer.contains("* NAMESPACE ((\"\" \"/\")) ((\"Other Users/\" \"/\")) NIL\r\n"), "{answer}");
        for name in ["\"Other Users\"", "\"Other Users/\"", "\"Other Users/bob\"", "\"Other Users/bob/x\""] {
            let answer = run(&mut shared.bob, &format!("CREATE {name}"));
            assert!(answer.contains("x NO"), "{name}: {answer}");
        }
        refused(&mut shared.bob, "RENAME Trash \"Other Users/x\"", "NONEXISTENT");
        ok(&mut shared.bob, "CREATE \"Other Users2\"");
    });
}

#[test]
fn mailboxes_are_created_renamed_and_deleted_in_the_tree_of_their_owner() {
    with_shared(|shared| {
        shared.grant("lrkx");
        ok(&mut shared.bob, "CREATE \"Other Users/ann/Work/a/b\"");
        // The new mailboxes have the rights of their parent.
        assert!(ok(&mut shared.bob, "MYRIGHTS \"Other Users/ann/Work/a/b\"").contains("lrkxc\r\n"));
        assert!(ok(&mut shared.ann, "GETACL Work/a/b").contains(" bob lrkxc\r\n"));
        let answer = run(&mut shared.bob, "CREATE \"Other Users/ann/Work/a/b\"");
        assert!(answer.contains("x NO [ALREADYEXISTS]"), "{answer}");
        refused(&mut shared.bob, "CREATE \"Other Users/ann/Work/c\" (USE (\\Drafts))", "CANNOT");
        ok(&mut shared.bob, "RENAME \"Other Users/ann/Work/a/b\" \"Other Users/ann/Work/c\"");
        let answer = ok(&mut shared.ann, "LIST \"\" Work*");
        assert!(answer.contains(" Work/c\r\n") && !answer.contains("Work/a/b"), "{answer}");
        // A mailbox stays with its owner, and INBOX where it is.
        refused(&mut shared.bob, "RENAME \"Other Users/ann/Work/c\" mine", "CANNOT");
        refused(&mut shared.bob, "RENAME Trash \"Other Users/ann/Work/Trash\"", "CANNOT");
        refused(&mut shared.bob, "RENAME INBOX \"Other Users/ann/Work/INBOX\"", "CANNOT");
        let inbox = shared.store.mailbox(shared.owner, "INBOX").unwrap().id;
        shared.grant_to(inbox, "lrswipkxtea");
        refused(&mut shared.bob, "RENAME \"Other Users/ann/INBOX\" \"Other Users/ann/Work/d\"", "CANNOT");
        refused(&mut shared.bob, "DELETE \"Other Users/ann/INBOX\"", "CANNOT");
        ok(&mut shared.bob, "SELECT \"Other Users/ann/inbox\"");
        ok(&mut shared.bob, "DELETE \"Other Users/ann/Work/c\"");
        refused(&mut shared.ann, "SELECT Work/c", "NONEXISTENT");
        // A renamed mailbox keeps its list.
        ok(&mut shared.ann, "RENAME Work Play");
        refused(&mut shared.bob, &format!("SELECT {WORK}"), "NONEXISTENT");
        ok(&mut shared.bob, "SELECT \"Other Users/ann/Play\"");
    });
}

#[test]
fn rights_are_given_by_those_who_may() {
    with_shared(|shared| {
        ok(&mut shared.ann, "SETACL Work anyone l");
        ok(&mut shared.ann, "SETACL Work bob lra");
        let answer = ok(&mut shared.bob, &format!("GETACL {WORK}"));
        assert!(
            answer.contains("* ACL \"Other Users/ann/Work\" ann lrswipkxteacd anyone l bob lra\r\n"),
            "{answer}"
        );
        ok(&mut shared.bob, &format!("SETACL {WORK} carol lri"));
        refused(&mut shared.bob, &format!("SETACL {WORK} ann l"), "CANNOT");
        refused(&mut shared.bob, &format!("DELETEACL {WORK} ann"), "CANNOT");
        ok(&mut shared.bob, &format!("SETACL {WORK} bob +w"));
        assert!(ok(&mut shared.bob, &format!("MYRIGHTS {WORK}")).contains(" lrwa\r\n"));
        // Negative rights win over others.
        ok(&mut shared.ann, "SETACL Work -bob wa");
        assert!(ok(&mut shared.bob, &format!("MYRIGHTS {WORK}")).contains(" lr\r\n"));
        refused(&mut shared.bob, &format!("SETACL {WORK} -bob \"\""), "NOPERM");
        ok(&mut shared.ann, "DELETEACL Work bob");
        assert!(ok(&mut shared.bob, &format!("MYRIGHTS {WORK}")).contains(" l\r\n"));
        ok(&mut shared.ann, "DELETEACL Work anyone");
        refused(&mut shared.bob, &format!("MYRIGHTS {WORK}"), "NONEXISTENT");
        // Only `p` and flags do not make a mailbox known.
        ok(&mut shared.ann, "DELETEACL Work -bob");
        ok(&mut shared.ann, "SETACL Work BOB pswte");
        refused(&mut shared.bob, &format!("MYRIGHTS {WORK}"), "NONEXISTENT");
    });
}
