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

/// What the simulator answers to a request, as it goes over the wire.
fn answer_of(simulator: &str, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(simulator.trim_start_matches("http://")).unwrap();
    let head = String::from_utf8_lossy(request).replacen("\r\n", "\r\nconnection: close\r\n", 1);
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let head = String::from_utf8_lossy(&answer).replacen("connection: close\r\n", "", 1);
    head.into_bytes()
}

#[test]
fn fault_02_an_end_that_never_comes() {
    // The whole answer arrives, and then neither another byte nor the end of the connection.
    let sandbox = Sandbox::new(1, &months_ago(0), settled());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let simulator = sandbox.base_url.clone();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for mut stream in listener.incoming().filter_map(Result::ok) {
            let mut request = vec![0; 4096];
            let count = stream.read(&mut request).unwrap();
            stream.write_all(&answer_of(&simulator, &request[..count])).unwrap();
            open.push(stream);
        }
    });
    sandbox.run(&["run", "--base-url", &base_url]).expect(0);
    assert_eq!(sandbox.data_files().len(), 3);
}

#[test]
fn fault_02_a_reset_is_tried_again_and_counted() {
    // The first connections are closed with the request unread, which resets them.
    let sandbox = Sandbox::new(1, &months_ago(0), settled());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let simulator = sandbox.base_url.clone();
    std::thread::spawn(move || {
        for (number, mut stream) in listener.incoming().filter_map(Result::ok).enumerate() {
            let mut request = vec![0; if number < 3 { 1 } else { 4096 }];
            let count = stream.read(&mut request).unwrap();
            if number >= 3 {
                stream.write_all(&answer_of(&simulator, &request[..count])).unwrap();
            }
        }
    });
    let report = sandbox.run(&["run", "--base-url", &base_url, "--output", "json"]).expect(0).json();
    assert_eq!(
        (report["totals"]["requests"].as_u64(), report["totals"]["retries"].as_u64()),
        (Some(5), Some(3))
    );
    assert_eq!(sandbox.data_files().len(), 3);
}

#[test]
fn fault_03_a_server_that_dribbles() {
    // No pause is long; it is the whole that takes too long.
    let (base_url, count) = hostile(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n");
        let (_never, pause) = std::sync::mpsc::channel::<()>();
        while stream.write_all(b" ").is_ok() {
            let _ = pause.recv_timeout(std::time::Duration::from_millis(10));
        }
    });
    fails(&base_url, "[http]\ntimeout = \"200ms\"\n", 75, "timeout");
    assert!(count.load(Ordering::Relaxed) >= 5, "it was not tried again");
}

#[test]
fn fault_04_chunks_without_a_last_one() {
    for tail in ["5\r\n{\"sum\r\n", "ffff\r\n{\"sum", "5\r\n{\"sumXX", "zz\r\n", "ffffffffffffffffff\r\n{"] {
        let (base_url, _) = hostile(move |stream| {
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            let _ = stream.write_all(format!("{head}{tail}").as_bytes());
        });
        fails(&base_url, "", 75, "truncated");
    }
}

#[test]
fn fault_16_bodies_that_are_no_json() {
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(129), "]".repeat(129));
    let bodies: [(&[u8], &str); 6] = [
        (b"", "EOF while parsing"),
        (b"\xef\xbb\xbf{}", "line 1 column 1"),
        (b"{\"summary\":{\0}}", "line 1 column 13"),
        (b"{\"\xff\":1}", "no JSON: invalid utf-8 sequence of 1 bytes from index 2"),
        (b"{} {}", "trailing characters at line 1 column 4"),
        (deep.as_bytes(), "recursion limit exceeded at line 1 column"),
    ];
    for (body, words) in bodies {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        let answer = [head.as_bytes(), body].concat();
        let (base_url, _) = hostile(move |stream| _ = stream.write_all(&answer));
        let (_sandbox, ran, files) = ask(&base_url, "");
        assert_eq!((ran.code, files), (65, 0), "{ran:?}");
        assert!(ran.stderr.contains("contract: ") && ran.stderr.contains(words), "{words}: {}", ran.stderr);
    }
}

#[test]
fn fault_05_a_body_without_end() {
    let (base_url, _) = hostile(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
        // Far more than is read. Without an end, it would take all memory of the machine if it were read.
        let _ = (0..1024).try_for_each(|_| stream.write_all(chunk.as_bytes()));
    });
    fails(&base_url, "", 65, "too_large");
    // 8 MiB are allowed; more is refused before a byte of it is read.
    let (base_url, _) = hostile(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9000000\r\n\r\n");
    });
    fails(&base_url, "", 65, "too_large");
}

/// What a gzip stream of so many bytes begins with and goes on with: all zeros. A pair of a length of
/// 258 and a distance of 1 takes 13 bits in the fixed code, so that eight pairs are 13 whole bytes.
fn bomb(inflated: usize) -> Vec<u8> {
    let mut bits: Vec<bool> = Vec::new();
    // The last block, in the fixed code; then a zero, to be repeated. Codes go from their highest bit.
    let code = |bits: &mut Vec<bool>, code: u16, length: u16| {
        bits.extend((0..length).rev().map(|bit| code >> bit & 1 == 1));
    };
    bits.extend([true, true, false]);
    code(&mut bits, 0b0011_0000, 8);
    while bits.len() < 11 + 8 * 13 {
        code(&mut bits, 0b1100_0101, 8);
        code(&mut bits, 0, 5);
    }
    let byte = |bits: &[bool]| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
    let bytes: Vec<u8> = bits.chunks_exact(8).map(byte).collect();
    let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let pairs = bytes[1..].iter().copied().cycle().take(inflated / 258 * 13 / 8);
    head.into_iter().chain([bytes[0]]).chain(pairs).collect()
}

#[test]
fn fault_05_a_gzip_bomb_is_not_inflated() {
    let bomb = bomb(128 << 20);
    // It comes within the limit of 8 MiB, which counts what it would become.
    assert!(bomb.len() < 1 << 20);
    let (base_url, count) = hostile(move |stream| {
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", bomb.len());
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&bomb));
    });
    let sandbox = Sandbox::new(2, &months_ago(5), settled());
    // Only a process that waits for another one is told its peak.
    let watch = "import resource, subprocess, sys\n\
                 code = subprocess.call(sys.argv[1:])\n\
                 print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)\n\
                 sys.exit(code)";
    let program = sandbox.command(&["run", "--base-url", &base_url]);
    let mut watched = std::process::Command::new(super::moto::python("python"));
    watched.args(["-c", watch]).arg(program.get_program()).args(program.get_args());
    let output = watched.current_dir(sandbox.dir.path()).env_clear().output().unwrap();
    let ran = Ran::from(output).expect(65);
    assert!(ran.stderr.contains("too_large: the answer is larger than 8388608 bytes"), "{}", ran.stderr);
    assert!(count.load(Ordering::Relaxed) >= 8, "few were tried at once");
    let peak_kib: u64 = ran.stderr.lines().last().unwrap().parse().unwrap();
    // An unoptimized program has some 30 MiB more of its own code and tables in memory.
    let most_kib = if cfg!(debug_assertions) { 96 << 10 } else { 64 << 10 };
    assert!((8 << 10..most_kib).contains(&peak_kib), "{peak_kib} KiB");
    assert!(sandbox.data_files().is_empty());
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
