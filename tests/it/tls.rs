//! Certificates that do not hold: fault 11.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::spine::{months_ago, requests};
use super::support::{Ran, Sandbox, settled};

type Ca = CertifiedIssuer<'static, KeyPair>;

fn ca() -> Ca {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// What a certificate says: for which host, and in which years it is good.
struct Says(&'static str, [i32; 2]);

const GOOD: Says = Says("localhost", [2020, 2200]);

/// A server behind TLS, in front of a simulator.
struct TlsServer {
    base_url: String,
    connections: Arc<AtomicUsize>,
    /// Every byte that came through the encryption.
    heard: Arc<Mutex<Vec<u8>>>,
}

impl TlsServer {
    /// Serves until the test's process ends, with a certificate signed by this CA, or by itself.
    fn start(sandbox: &Sandbox, ca: Option<&Ca>, Says(host, [from, to]): Says) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        let certificate = match ca {
            Some(ca) => params.signed_by(&key, ca).unwrap(),
            None => params.self_signed(&key).unwrap(),
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .unwrap();

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base_url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let (connections, heard) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<u8>>>::default());
        let (config, counted, hears) = (Arc::new(config), connections.clone(), heard.clone());
        let behind = sandbox.base_url.trim_start_matches("http://").to_owned();
        std::thread::spawn(move || {
            for stream in listener.incoming().filter_map(Result::ok) {
                counted.fetch_add(1, Ordering::Relaxed);
                let session = ServerConnection::new(config.clone()).unwrap();
                let (hears, behind) = (hears.clone(), behind.clone());
                std::thread::spawn(move || forward(&mut StreamOwned::new(session, stream), &hears, &behind));
            }
        });
        Self { base_url, connections, heard }
    }
}

/// Takes one request to the simulator and its answer back.
fn forward(
    stream: &mut StreamOwned<ServerConnection, TcpStream>,
    heard: &Mutex<Vec<u8>>,
    behind: &str,
) -> Option<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut bytes = [0; 1024];
        let count = stream.read(&mut bytes).ok().filter(|count| *count > 0)?;
        request.extend_from_slice(&bytes[..count]);
        heard.lock().unwrap().extend_from_slice(&bytes[..count]);
    }
    let head = String::from_utf8(request).unwrap();
    let mut simulator = TcpStream::connect(behind).ok()?;
    simulator.write_all(head.replacen("\r\n", "\r\nconnection: close\r\n", 1).as_bytes()).ok()?;
    let mut answer = Vec::new();
    simulator.read_to_end(&mut answer).ok()?;
    stream.write_all(&answer).ok()?;
    stream.conn.send_close_notify();
    stream.flush().ok()
}

/// A run against this server with these settings.
fn run(sandbox: &Sandbox, server: &TlsServer, more: &str) -> Ran {
    sandbox.configure(1, &months_ago(1), more);
    sandbox.run(&["run", "--base-url", &server.base_url])
}

#[test]
fn fault_11_certificates_that_do_not_hold() {
    let sandbox = Sandbox::new(1, &months_ago(1), settled());
    let (ours, theirs) = (ca(), ca());
    std::fs::write(sandbox.path("ca.pem"), ours.pem()).unwrap();
    let trusting = "[http]\nca_file = \"ca.pem\"\n";
    let cases = [
        ("expired", Some(&ours), Says("localhost", [2019, 2020]), trusting),
        ("not good yet", Some(&ours), Says("localhost", [2190, 2200]), trusting),
        ("another host's", Some(&ours), Says("platform.kore.example", [2020, 2200]), trusting),
        ("another CA's", Some(&theirs), GOOD, trusting),
        ("a CA that nobody named", Some(&ours), GOOD, ""),
        ("its own", None, GOOD, trusting),
    ];
    for (what, ca, says, more) in cases {
        let server = TlsServer::start(&sandbox, ca, says);
        let ran = run(&sandbox, &server, more).expect(75);
        assert!(ran.stderr.contains("tls: TLS could not be agreed on"), "{what}: {}", ran.stderr);
        assert!(ran.stderr.contains("hint: for a private CA set `http.ca_file`"), "{what}: {}", ran.stderr);
        assert!(server.connections.load(Ordering::Relaxed) > 0, "{what}: nobody came");
        assert!(server.heard.lock().unwrap().is_empty(), "{what}: something was said");
    }
    assert_eq!((requests(&sandbox), sandbox.data_files().len()), (0, 0));
}

#[test]
fn fault_11_a_private_ca_is_trusted_once_named() {
    let sandbox = Sandbox::new(1, &months_ago(1), settled());
    let ca = ca();
    // A bundle, as companies have them.
    std::fs::write(sandbox.path("ca.pem"), [self::ca().pem(), ca.pem()].concat()).unwrap();
    let server = TlsServer::start(&sandbox, Some(&ca), GOOD);
    run(&sandbox, &server, "[http]\nca_file = \"ca.pem\"\n").expect(0);
    assert!(server.heard.lock().unwrap().starts_with(b"POST /api/public/bot/st-1/v2/userEngagementTrend?"));
    assert_eq!(sandbox.data_files().len(), 6);

    for junk in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        std::fs::write(sandbox.path("ca.pem"), junk).unwrap();
        let ran = sandbox.run(&["run", "--base-url", &server.base_url]);
        assert!([75, 78].contains(&ran.code), "{junk:?}: {ran:?}");
    }
}

#[test]
fn fault_11_without_tls_only_this_machine_or_a_host_by_name() {
    let sandbox = Sandbox::new(1, &months_ago(0), settled());
    for url in ["http://platform.kore.example", "http://10.0.0.1", "http://127.0.0.1.example"] {
        let ran = sandbox.run(&["run", "--base-url", url]).expect(78);
        assert!(ran.stderr.contains("without TLS the tokens travel in the open"), "{url}: {}", ran.stderr);
    }
    sandbox.configure(1, &months_ago(0), "[http]\nallow_plain_http = [\"platform.kore.example\"]\n");
    sandbox.run(&["validate", "--base-url", "http://platform.kore.example"]).expect(0);
    sandbox.run(&["validate", "--base-url", "http://another.example"]).expect(78);
    for url in ["http://localhost:1", "http://127.0.0.2:1", "http://[::1]:1"] {
        sandbox.run(&["validate", "--base-url", url]).expect(0);
    }
}
