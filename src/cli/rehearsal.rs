//! Streams to try things with: a configuration of made-up ones, and a simulator that serves the
//! streams of a configuration.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use chrono::NaiveDate;

use super::failure::Failure;
use crate::chance::Chance;
use crate::config::{Settings, Stream};
use crate::simulator::{self, FaultRule, SimulatedStream, VerifyingKey};

/// How a configuration begins that may be replaced.
const MARK: &str = "# Made-up streams";
/// The zones of made-up streams, in turn.
const ZONES: [&str; 3] = ["Europe/Berlin", "America/New_York", "Asia/Kolkata"];

/// Writes a configuration of made-up streams with fresh secrets into a folder.
pub(super) fn write(
    folder: &Path,
    names: &[String],
    base_url: &str,
    first_date: NaiveDate,
    chance: &Chance,
) -> Result<std::path::PathBuf, Failure> {
    let path = folder.join("trendlake.toml");
    if fs::read_to_string(&path).is_ok_and(|text| !text.starts_with(MARK)) {
        return Err(Failure::usage(
            format!("`{}` is a configuration of your own, which this would replace", path.display()),
            "name another folder",
        ));
    }
    let secrets = folder.join("secrets");
    fs::create_dir_all(&secrets).map_err(|e| Failure::io("create", &secrets, &e))?;
    let mut text = format!(
        "{MARK}, served by `trendlake simulate`.\n\n\
         [lake]\nurl = \"lake\"\n\n\
         [defaults]\nbase_url = \"{base_url}\"\nfirst_date = \"{first_date}\"\n"
    );
    for (index, name) in names.iter().enumerate() {
        let number = index + 1;
        let zone = ZONES[index % ZONES.len()];
        let _ = write!(
            text,
            "\n[streams.{name}]\nid = \"st-00000000-0000-5000-8000-{number:012}\"\n\
             client_id = \"cs-00000000-0000-5000-8000-{number:012}\"\n\
             client_secret_file = \"secrets/{name}\"\nzone = \"{zone}\"\n"
        );
        write_secret(&secrets.join(name), &format!("{}{}", chance.id().simple(), chance.id().simple()))?;
    }
    fs::write(&path, text).map_err(|e| Failure::io("write", &path, &e))?;
    Ok(path)
}

/// Writes a file that only its owner can read.
fn write_secret(path: &Path, secret: &str) -> Result<(), Failure> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt;
    fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| writeln!(file, "{secret}"))
        .map_err(|e| Failure::io("write", path, &e))
}

/// Simulator settings that serve the streams of a configuration. Where a stream signs with an RSA
/// key, its signatures are not checked: only the private half is at hand.
pub(super) fn serving(settings: &Settings, faults: Vec<FaultRule>) -> Result<simulator::Settings, Failure> {
    let streams: Result<Vec<_>, Failure> = settings.streams.iter().map(simulated).collect();
    Ok(simulator::Settings { streams: streams?, faults, ..simulator::Settings::default() })
}

fn simulated(stream: &Stream) -> Result<SimulatedStream, Failure> {
    let credentials = &stream.credentials;
    let key = if credentials.algorithm.is_rsa() {
        VerifyingKey::Any
    } else {
        VerifyingKey::Secret(credentials.key.read().map_err(|e| Failure::setting(e.to_string()))?)
    };
    Ok(SimulatedStream { id: stream.id.clone(), client_id: credentials.client_id.clone(), key })
}
