//! The search for secrets in whatever the program leaves: in every form in which one could slip through.

use super::support::SECRET;

/// Fails if the text holds the secret in any form, or anything that looks like a JWT.
#[track_caller]
pub(crate) fn clean(what: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for canary in [SECRET.to_owned(), base64(SECRET.as_bytes()), url_escaped(SECRET), json_escaped(SECRET)] {
        assert!(!text.contains(&canary), "{what} holds the secret as {canary}");
    }
    // Every token begins with the same header, base64 of `{"`.
    assert!(!text.contains("eyJ"), "{what} holds a token: {}", &text[text.find("eyJ").unwrap()..][..40]);
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |chunk: &[u8]| {
        let n = chunk.iter().fold(0u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        (0..=chunk.len()).map(|i| ALPHABET[(n >> (18 - 6 * i) & 63) as usize] as char).collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}

pub(crate) fn url_escaped(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

pub(crate) fn json_escaped(text: &str) -> String {
    serde_json::to_string(text).unwrap().trim_matches('"').to_owned()
}
