//! A server that follows a script for each connection.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// The server's next action: for the greeting, then for each command and the end of the message.
#[derive(Debug, Clone, Copy)]
pub enum Act {
    Say(&'static str),
    /// Closes the connection without a reply.
    Close,
    /// Replies, then closes the connection at once, unread input or not.
    SayAndClose(&'static str),
    /// Sends nothing until the client disconnects.
    Silence,
}

/// A running server.
pub struct Scripted {
    pub address: SocketAddr,
    messages: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Scripted {
    /// Starts a server with a script for each connection. It closes any further connection at once.
    pub fn start(scripts: Vec<Vec<Act>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let [messages, connections] = [0; 2].map(|_| Arc::new(AtomicUsize::new(0)));
        let is_over = Arc::new(AtomicBool::new(false));
        let (received, accepted, over) = (messages.clone(), connections.clone(), is_over.clone());
        let thread = std::thread::spawn(move || {
            let mut scripts = scripts.into_iter();
            for socket in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                accepted.fetch_add(1, Ordering::SeqCst);
                play(socket.unwrap(), &scripts.next().unwrap_or_default(), &received);
            }
        });
        Self { address, messages, connections, is_over, thread: Some(thread) }
    }

    /// Returns how many connections were accepted, and how many complete messages were received.
    pub fn counts(&self) -> (usize, usize) {
        (self.connections.load(Ordering::SeqCst), self.messages.load(Ordering::SeqCst))
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Follows a script until it ends, and then ignores the client until it disconnects.
fn play(mut socket: TcpStream, script: &[Act], messages: &AtomicUsize) {
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut lines = BufReader::new(socket.try_clone().unwrap()).lines().map_while(Result::ok);
    let mut in_message = false;
    for (number, act) in script.iter().enumerate() {
        // The first action is the greeting, and a message follows 354.
        if in_message {
            let is_complete = lines.any(|line| line == ".");
            messages.fetch_add(usize::from(is_complete), Ordering::SeqCst);
            if !is_complete {
                return;
            }
        } else if number > 0 && lines.next().is_none() {
            return;
        }
        match act {
            Act::Say(text) => {
                socket.write_all(format!("{text}\r\n").as_bytes()).unwrap();
                in_message = text.starts_with("354") && !in_message;
            }
            Act::SayAndClose(text) => return socket.write_all(format!("{text}\r\n").as_bytes()).unwrap(),
            Act::Close => return,
            Act::Silence => break,
        }
    }
    if !script.is_empty() {
        lines.for_each(drop);
    }
}
