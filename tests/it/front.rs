//! A front before an HTTP server: it passes requests on, or does on the wire what a test says.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// What came in.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub method: String,
    /// Path and query.
    pub target: String,
}

/// What is done with it.
pub(crate) enum Act {
    /// The server answers.
    Pass,
    /// The server never hears of it. No bytes: the connection just ends.
    Instead(Vec<u8>),
    /// The server answers, and this makes of its answer what is sent. It may take its time.
    After(Box<dyn FnOnce(Vec<u8>) -> Vec<u8> + Send>),
}

impl Act {
    /// The server does it, and nobody hears so.
    pub(crate) fn cut_after() -> Self {
        Self::After(Box::new(|_| Vec::new()))
    }

    /// The server does it, and something else is said.
    pub(crate) fn say_after(reply: Vec<u8>) -> Self {
        Self::After(Box::new(|_| reply))
    }
}

/// A place where requests wait until the test lets them go on.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<Passage>, Condvar)>);

#[derive(Default)]
struct Passage {
    arrived: usize,
    is_open: bool,
}

impl Gate {
    /// Waits for the gate to open.
    pub(crate) fn pass(&self) {
        let (passage, changed) = &*self.0;
        let mut passage = passage.lock().unwrap();
        passage.arrived += 1;
        changed.notify_all();
        drop(changed.wait_while(passage, |p| !p.is_open).unwrap());
    }

    /// Waits until so many have come to the gate.
    pub(crate) fn await_arrival(&self, count: usize) {
        let (passage, changed) = &*self.0;
        let patience = Duration::from_mins(1);
        let waited = changed.wait_timeout_while(passage.lock().unwrap(), patience, |p| p.arrived < count);
        assert!(!waited.unwrap().1.timed_out(), "nobody came to the gate");
    }

    pub(crate) fn open(&self) {
        self.0.0.lock().unwrap().is_open = true;
        self.0.1.notify_all();
    }
}

/// A front on a free port. It serves until the test's process ends.
pub(crate) struct Front {
    pub endpoint: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Front {
    /// A front before the server at `endpoint`. The script may block: each connection has its thread.
    pub(crate) fn before(endpoint: &str, script: impl Fn(&Asked) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let front =
            Self { endpoint: format!("http://{}", listener.local_addr().unwrap()), asked: Arc::default() };
        let server = endpoint.strip_prefix("http://").unwrap().to_owned();
        let (asked, script) = (front.asked.clone(), Arc::new(script));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (server, asked, script) = (server.clone(), asked.clone(), script.clone());
                std::thread::spawn(move || serve(client, &server, &asked, &*script));
            }
        });
        front
    }

    /// Everything asked since the last call.
    pub(crate) fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

/// A whole answer.
pub(crate) fn reply(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} -\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}").into_bytes()
}

/// An answer of S3 that says no.
pub(crate) fn refusal(status: u16, code: &str) -> Vec<u8> {
    reply(status, &format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>no</Message></Error>"))
}

/// One request of one connection; the client makes a new one for the next.
fn serve(
    mut client: TcpStream,
    server: &str,
    asked: &Mutex<Vec<Asked>>,
    script: &(dyn Fn(&Asked) -> Act + Send + Sync),
) {
    let Some((head, body)) = request(&mut client) else { return };
    let mut words = head.split(' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    let request = Asked { method: word(), target: word() };
    asked.lock().unwrap().push(request.clone());
    let reply = match script(&request) {
        Act::Pass => pass_on(server, &head, &body),
        Act::Instead(reply) => reply,
        Act::After(make) => make(pass_on(server, &head, &body)),
    };
    let _ = client.write_all(&reply);
}

/// A request's head without its empty line, and its body.
fn request(client: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break end;
        }
        match client.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
        }
    };
    let mut body = bytes.split_off(end + 4);
    bytes.truncate(end);
    let head = String::from_utf8(bytes).ok()?;
    let header = |line: &str| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok();
    let length: usize = head.lines().find_map(header).unwrap_or(0);
    let read = body.len();
    body.resize(length.max(read), 0);
    client.read_exact(&mut body[read..]).ok()?;
    Some((head, body))
}

fn pass_on(server: &str, head: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = Vec::new();
    let Ok(mut connection) = TcpStream::connect(server) else { return answer };
    let head = format!("{head}\r\nconnection: close\r\n\r\n");
    let sent = connection.write_all(head.as_bytes()).and_then(|()| connection.write_all(body));
    if sent.is_ok() {
        let _ = connection.read_to_end(&mut answer);
    }
    answer
}
