//! Faults below HTTP: a server on a raw socket that does what no HTTP library would.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::spine::months_ago;
use super::support::{Ran, Sandbox, settled, walk};

/// Serves connections with `answer` until the test's process ends, and counts them.
fn hostile(answer: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let (count, answer) = (Arc::new(AtomicUsize::new(0)), Arc::new(answer));
    let counted = count.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(mut stream), answer) = (stream, answer.clone()) else { continue };
            counted.fetch_add(1, Ordering::Relaxed);
            std::thread::spawn(move || {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request);
                answer(&mut stream);
            });
        }
    });
    (base_url, count)
}

/// Asks a server for one month over an empty lake; the files that came of it.
fn ask(base_url: &str, more: &str) -> (Sandbox, Ran, usize) {
    let sandbox = Sandbox::new(1, &months_ago(1), settled());
    sandbox.configure(1, &months_ago(1), more);
    let month = &months_ago(1)[..7];
    let ran = sandbox.run(&["backfill", "--from", month, "--to", month, "--base-url", base_url]);
    let files =
        walk(&sandbox.path("lake")).iter().filter(|f| f.extension().is_some_and(|e| e == "parquet")).count();
    (sandbox, ran, files)
}

#[track_caller]
fn fails(base_url: &str, more: &str, code: i32, class: &str) {
    let (_sandbox, ran, files) = ask(base_url, more);
    assert_eq!((ran.code, files), (code, 0), "{ran:?}");
    assert!(ran.stderr.contains(&format!("{class}: ")), "no class `{class}` in {}", ran.stderr);
}

#[test]
fn fault_01_nobody_there() {
    // A port that was free a moment ago, and a name that cannot exist.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    fails(&format!("http://127.0.0.1:{port}"), "", 75, "network");
    fails("https://name.invalid", "", 75, "network");
}

#[test]
fn fault_02_a_connection_that_is_reset() {
    let (base_url, count) = hostile(|_| {});
    fails(&base_url, "", 75, "network");
    assert!(count.load(Ordering::Relaxed) >= 5, "it was not tried again");
    let (base_url, _) = hostile(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"summary\":");
    });
    fails(&base_url, "", 75, "truncated");
}

#[test]
fn fault_03_a_server_that_never_answers() {
    let hang = |stream: &mut TcpStream| {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    };
    let (base_url, _) = hostile(hang);
    fails(&base_url, "[http]\ntimeout = \"100ms\"\n", 75, "timeout");
    let (base_url, _) = hostile(move |stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{");
        hang(stream);
    });
    fails(&base_url, "[http]\ntimeout = \"100ms\"\n", 75, "timeout");
}

#[test]
fn fault_05_a_body_without_end() {
    let (base_url, _) = hostile(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
        while stream.write_all(chunk.as_bytes()).is_ok() {}
    });
    fails(&base_url, "", 65, "too_large");
    // 8 MiB are allowed; more is refused before a byte of it is read.
    let (base_url, _) = hostile(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9000000\r\n\r\n");
    });
    fails(&base_url, "", 65, "too_large");
}

#[test]
fn fault_10_no_request_reaches_the_other_host() {
    let (other, count) = hostile(|_| {});
    for status in [301, 302, 303, 307, 308] {
        let location = other.clone();
        let (base_url, _) = hostile(move |stream| {
            let head =
                format!("HTTP/1.1 {status} Moved\r\nlocation: {location}/\r\ncontent-length: 0\r\n\r\n");
            let _ = stream.write_all(head.as_bytes());
        });
        fails(&base_url, "", 65, "redirect");
    }
    assert_eq!(count.load(Ordering::Relaxed), 0);
}
