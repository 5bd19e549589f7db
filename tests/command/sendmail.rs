//! `mailwire sendmail`, and the program called by the name `sendmail`, as other programs use it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::harness::{RunningServer, files, folder};

/// A server, and a home directory whose configuration names it.
struct Home {
    served: RunningServer,
    folder: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        let (served, folder) = (RunningServer::start(&[]), folder());
        let config = folder.path().join(".config/mailwire");
        std::fs::create_dir_all(&config).unwrap();
        let text = format!(
            "[send]\nurl = \"{}\"\nfrom = \"{}\"\nretries = 0\n[server.localhost]\nca = \"{}\"\npassword-command = \"echo {}\"\n",
            served.url("smtps"),
            served.mailbox(),
            served.ca,
            served.password,
        );
        std::fs::write(config.join("config.toml"), text).unwrap();
        Self { served, folder }
    }

    fn call(&self, program: &Path, arguments: &[&str], input: &[u8]) -> Output {
        let mut child = Command::new(program)
            .args(arguments)
            .env("HOME", self.folder.path())
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_DATA_HOME")
            .env_remove("MAILWIRE_PASSWORD")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // The command may have ended without reading.
        let _ = std::io::Write::write_all(&mut stdin, input);
        drop(stdin);
        child.wait_with_output().unwrap()
    }

    /// Runs `mailwire sendmail` with these arguments and asserts success without output.
    fn sends(&self, arguments: &[&str], input: &[u8]) {
        let arguments = [&["sendmail"], arguments].concat();
        quiet(&self.call(mailwire(), &arguments, input));
    }

    /// Everything that the server has received.
    fn arrived(&self) -> String {
        let into = self.folder.path().join("store");
        let url = self.served.url("imaps");
        self.served.run(&["sync", &url, "--into", into.to_str().unwrap()], b"").expect(0);
        let contents = files(&into).into_iter().map(|path| std::fs::read(path).unwrap());
        contents.map(|text| String::from_utf8_lossy(&text).into_owned()).collect()
    }
}

fn mailwire() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_mailwire"))
}

fn quiet(output: &Output) {
    let shown = String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned();
    assert_eq!((output.status.code(), shown.as_str()), (Some(0), ""));
}

#[test]
fn sendmail_delivers_to_the_configured_server() {
    let home = Home::new();
    let to = home.served.mailbox();
    // As cron calls it: a local name, and a header without a sender's address, a date or a message ID.
    let cron = format!("From: root (Cron Daemon)\nTo: {}\nSubject: cron\n\noutput\n", home.served.user);
    home.sends(&["-FCronDaemon", "-i", "-B8BITMIME", "-oem", home.served.user], cron.as_bytes());
    // As mutt and git call it.
    home.sends(&["-oem", "-oi", "-f", &to, "--", &to], b"Subject: mutt\n\n.\nbehind\n");
    let patch = format!(
        "From 0123456789 Mon Sep 17 00:00:00 2001\nTo: x <{to}>\nBcc: {to}\nSubject: patch\n\ndiff\n"
    );
    home.sends(&["-i", "-t"], patch.as_bytes());
    // Without -i a line with a single dot ends the message.
    home.sends(&[&to], b"Subject: dot\n\nbefore-the-dot\n.\nbehind-the-dot\n");
    let link: PathBuf = home.folder.path().join("sendmail");
    std::os::unix::fs::symlink(mailwire(), &link).unwrap();
    quiet(&home.call(&link, &["-t"], format!("To: {to}\nSubject: linked\n\nx\n").as_bytes()));
    let arrived = home.arrived();
    for text in [
        "Subject: cron\r\n",
        "Subject: mutt\r\n",
        "\r\n\r\n.\r\nbehind\r\n",
        "Subject: patch\r\n",
        "before-the-dot\r\n",
        "Subject: linked",
    ] {
        assert!(arrived.contains(text), "{text:?}: {arrived}");
    }
    for text in ["behind-the-dot", "Bcc: ", "From 0123"] {
        assert!(!arrived.contains(text), "{text:?}: {arrived}");
    }
    // Each message has every mandatory field.
    for field in ["Message-ID: <", "Date: "] {
        assert!(arrived.matches(field).count() >= 5, "{field}: {arrived}");
    }
    assert!(arrived.contains(&format!("From: <{to}>\r\n")), "{arrived}");
}

#[test]
fn sendmail_reports_errors_with_its_exit_codes() {
    let home = Home::new();
    let to = home.served.mailbox();
    let refused = |arguments: &[&str], input: &[u8], code: i32, text: &str| {
        let arguments = [&["sendmail"], arguments].concat();
        let output = home.call(mailwire(), &arguments, input);
        let shown = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {shown}");
        assert!(shown.contains(text) && output.stdout.is_empty(), "{arguments:?}: {shown}");
    };
    let message = b"Subject: s\n\nx\n";
    refused(&["-bs"], message, 64, "-bs");
    refused(&["-bp"], message, 64, "-bp");
    refused(&["-q"], message, 64, "-q");
    refused(&["-i"], message, 64, "recipient");
    refused(&["-t"], message, 65, "recipient");
    refused(&["-i", "missing@localhost"], message, 69, "550");
    refused(&["-i", &to], b"", 65, "empty");
    std::fs::remove_file(home.folder.path().join(".config/mailwire/config.toml")).unwrap();
    refused(&["-i", "-f", &to, &to], message, 78, "url =");
}
