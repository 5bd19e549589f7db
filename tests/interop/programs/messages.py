"""The messages that the programs append: to sort, thread and search."""

MESSAGES = [
    "From: Zoe <zoe@example.org>\r\nTo: a@example.org\r\nSubject: alpha\r\nDate: Mon, 1 Mar 2021 10:00:00 +0000\r\n"
    "Message-ID: <1@programs.example>\r\n\r\nthe first text\r\n",
    "From: Yan <yan@example.org>\r\nTo: b@example.org\r\nSubject: Re: alpha\r\nDate: Tue, 2 Mar 2021 10:00:00 +0000\r\n"
    "Message-ID: <2@programs.example>\r\nReferences: <1@programs.example>\r\n\r\nan answer\r\n",
    "From: Xav <xav@example.org>\r\nTo: c@example.org\r\nSubject: zulu\r\nDate: Sun, 28 Feb 2021 10:00:00 +0000\r\n"
    "Message-ID: <3@programs.example>\r\n\r\n" + "a longer text " * 20 + "\r\n",
    "From: Will <will@example.org>\r\nTo: d@example.org\r\nSubject: =?utf-8?q?caf=C3=A9?=\r\nDate: Wed, 3 Mar 2021 10:00:00 +0000\r\n"
    "Message-ID: <4@programs.example>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
    "Content-Type: text/plain\r\n\r\npart one\r\n--b\r\nContent-Type: text/html\r\n\r\n<b>two</b>\r\n--b--\r\n",
]
