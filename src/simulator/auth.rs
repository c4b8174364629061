//! The check of a call's token, as the vendor's documentation describes it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};

use chrono::{DateTime, Utc};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;

use super::noise::of_text;
use super::reply::Reply;
use crate::secret::Secret;

/// How far ahead a token may expire when it works once only.
const LONGEST_LIFE_SECS: u64 = 3600;

/// How many used tokens are remembered per stream; beyond, the one to expire first is forgotten.
const MOST_USED: usize = 1 << 18;

/// What the tokens of a stream are checked with.
#[derive(Clone, Debug)]
pub enum VerifyingKey {
    /// HS256 or HS512 with the client secret.
    Secret(Secret),
    /// RS256 or RS512 with a public key, see [`VerifyingKey::from_rsa_pem`].
    Rsa(DecodingKey),
    /// Every well-formed token with the right `appId`, its signature unread: for a rehearsal with
    /// credentials that only the vendor could check.
    Any,
}

/// A text that is no RSA public key.
#[derive(Debug, thiserror::Error)]
#[error("expected an RSA public key in PEM form")]
pub struct InvalidKey(#[source] jsonwebtoken::errors::Error);

impl VerifyingKey {
    /// Reads an RSA public key in PEM form.
    ///
    /// # Errors
    /// When the text is no such key.
    pub fn from_rsa_pem(pem: &str) -> Result<Self, InvalidKey> {
        DecodingKey::from_rsa_pem(pem.as_bytes()).map(Self::Rsa).map_err(InvalidKey)
    }
}

/// Why a token is refused. Every one is a 401 with the code 4002.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Bad signature, or a client that is not the stream's.
    Credentials,
    /// Missing, malformed or expired.
    Token,
    /// The scope is missing, or the app is not published. Only a fault brings it up.
    Scope,
    /// Without an end, or with one too far away for a token that works once.
    Lifetime,
    /// Seen before.
    Replay,
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        let msg = match refusal {
            Refusal::Credentials => "Invalid SDK credentials",
            Refusal::Token => "Invalid JWT token",
            Refusal::Scope => "Permission denied. Scope is incorrect!",
            Refusal::Lifetime => "Invalid JWT token. if \"jti\" claim \"exp\" must be <= 1 hour(s)",
            Refusal::Replay => "Invalid JWT token. jti has been used before, possibly a replay",
        };
        Self::error(401, msg, "4002")
    }
}

/// The check of one stream's tokens.
#[derive(Debug)]
pub(super) struct Gate {
    client_id: String,
    signature: Option<(DecodingKey, Validation)>,
    enforce_jti: bool,
}

/// A `jti`, to be used up by [`UsedTokens::use_up`], and when it expires.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    jti: String,
    expires: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Claims {
    #[serde(rename = "sub")]
    _sub: String,
    app_id: String,
    exp: Option<u64>,
    nbf: Option<u64>,
    jti: Option<String>,
}

impl Gate {
    pub(super) fn new(client_id: &str, key: &VerifyingKey, enforce_jti: bool) -> Self {
        let checked = |key: DecodingKey, algorithms: [Algorithm; 2]| {
            let mut validation = Validation::new(algorithms[0]);
            validation.algorithms = algorithms.to_vec();
            // Times are checked against our clock, not against the library's.
            validation.validate_exp = false;
            validation.validate_aud = false;
            validation.required_spec_claims.clear();
            (key, validation)
        };
        let signature = match key {
            VerifyingKey::Secret(secret) => {
                let key = DecodingKey::from_secret(secret.expose().as_bytes());
                Some(checked(key, [Algorithm::HS256, Algorithm::HS512]))
            }
            VerifyingKey::Rsa(key) => Some(checked(key.clone(), [Algorithm::RS256, Algorithm::RS512])),
            VerifyingKey::Any => None,
        };
        Self { client_id: client_id.to_owned(), signature, enforce_jti }
    }

    /// Checks everything about a token but whether it was used before. That is left to the ticket,
    /// which comes only where tokens work once.
    pub(super) fn check(&self, token: Option<&[u8]>, now: DateTime<Utc>) -> Result<Option<Ticket>, Refusal> {
        let token = token.ok_or(Refusal::Token)?;
        let claims = self.claims(token)?;
        let now = u64::try_from(now.timestamp()).unwrap_or(0);
        if claims.app_id != self.client_id {
            return Err(Refusal::Credentials);
        }
        if claims.exp.is_some_and(|exp| exp <= now) || claims.nbf.is_some_and(|nbf| nbf > now) {
            return Err(Refusal::Token);
        }
        if !self.enforce_jti {
            return Ok(None);
        }
        let jti = claims.jti.filter(|jti| !jti.is_empty()).ok_or(Refusal::Token)?;
        let expires = claims.exp.filter(|&exp| exp <= now + LONGEST_LIFE_SECS).ok_or(Refusal::Lifetime)?;
        Ok(Some(Ticket { jti, expires }))
    }

    fn claims(&self, token: &[u8]) -> Result<Claims, Refusal> {
        let decoded = match &self.signature {
            Some((key, validation)) => jsonwebtoken::decode::<Claims>(token, key, validation),
            None => jsonwebtoken::dangerous::insecure_decode::<Claims>(token),
        };
        decoded.map(|token| token.claims).map_err(|error| match error.kind() {
            ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm => Refusal::Credentials,
            _ => Refusal::Token,
        })
    }
}

/// The tokens that were used and have not expired.
#[derive(Debug, Default)]
pub(super) struct UsedTokens {
    /// By 64 bits of their hash: two of 2^18 collide once in some hundred million runs.
    known: HashSet<u64>,
    by_expiry: BinaryHeap<Reverse<(u64, u64)>>,
}

impl UsedTokens {
    /// Uses a ticket up.
    pub(super) fn use_up(&mut self, ticket: &Ticket, now: DateTime<Utc>) -> Result<(), Refusal> {
        let now = u64::try_from(now.timestamp()).unwrap_or(0);
        while let Some(&Reverse((expires, id))) = self.by_expiry.peek() {
            if expires > now && self.by_expiry.len() < MOST_USED {
                break;
            }
            self.by_expiry.pop();
            self.known.remove(&id);
        }
        let id = of_text(&ticket.jti);
        if !self.known.insert(id) {
            return Err(Refusal::Replay);
        }
        self.by_expiry.push(Reverse((ticket.expires, id)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{EncodingKey, Header};
    use serde_json::{Value, json};

    const NOW: i64 = 1_770_000_000;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(NOW, 0).unwrap()
    }

    fn gate(enforce_jti: bool) -> Gate {
        Gate::new("cs-1", &VerifyingKey::Secret(Secret::from("s3cr3t".to_owned())), enforce_jti)
    }

    fn sign(algorithm: Algorithm, secret: &str, change: &[(&str, Value)]) -> Vec<u8> {
        let mut claims =
            json!({"sub": "x", "appId": "cs-1", "iat": NOW - 30, "exp": NOW + 270, "jti": "one"});
        for (name, value) in change {
            claims[*name] = value.clone();
        }
        let key = EncodingKey::from_secret(secret.as_bytes());
        jsonwebtoken::encode(&Header::new(algorithm), &claims, &key).unwrap().into_bytes()
    }

    fn verdict(token: &[u8]) -> Result<Option<Ticket>, Refusal> {
        gate(true).check(Some(token), now())
    }

    #[test]
    fn good_tokens_pass() {
        for algorithm in [Algorithm::HS256, Algorithm::HS512] {
            let ticket = verdict(&sign(algorithm, "s3cr3t", &[])).unwrap().unwrap();
            assert_eq!((ticket.jti.as_str(), ticket.expires), ("one", NOW.cast_unsigned() + 270));
        }
        let lasting = [("exp", Value::Null), ("jti", Value::Null)];
        assert_eq!(gate(false).check(Some(&sign(Algorithm::HS256, "s3cr3t", &lasting)), now()), Ok(None));
    }

    #[test]
    fn bad_tokens_are_refused_with_the_documented_reason() {
        let hs256 = |change: &[(&str, Value)]| sign(Algorithm::HS256, "s3cr3t", change);
        let cases = [
            (sign(Algorithm::HS256, "other", &[]), Refusal::Credentials),
            (sign(Algorithm::HS384, "s3cr3t", &[]), Refusal::Credentials),
            (hs256(&[("appId", json!("cs-2"))]), Refusal::Credentials),
            (hs256(&[("appId", Value::Null)]), Refusal::Token),
            (hs256(&[("sub", Value::Null)]), Refusal::Token),
            (hs256(&[("exp", json!(NOW))]), Refusal::Token),
            (hs256(&[("nbf", json!(NOW + 1))]), Refusal::Token),
            (hs256(&[("jti", Value::Null)]), Refusal::Token),
            (hs256(&[("exp", Value::Null)]), Refusal::Lifetime),
            (hs256(&[("exp", json!(NOW + 3601))]), Refusal::Lifetime),
            (b"Bearer a.b.c".to_vec(), Refusal::Token),
            (b"".to_vec(), Refusal::Token),
        ];
        for (token, refusal) in cases {
            assert_eq!(verdict(&token), Err(refusal), "{}", String::from_utf8_lossy(&token));
        }
        assert_eq!(gate(true).check(None, now()), Err(Refusal::Token));
    }

    #[test]
    fn any_signature_will_do_when_told_so() {
        let gate = Gate::new("cs-1", &VerifyingKey::Any, true);
        assert!(gate.check(Some(&sign(Algorithm::HS256, "whatever", &[])), now()).is_ok());
        let foreign = sign(Algorithm::HS256, "whatever", &[("appId", json!("cs-2"))]);
        assert_eq!(gate.check(Some(&foreign), now()), Err(Refusal::Credentials));
        assert_eq!(gate.check(Some(b"no.token"), now()), Err(Refusal::Token));
    }

    #[test]
    fn a_ticket_works_once_and_is_forgotten_when_expired() {
        let mut used = UsedTokens::default();
        let ticket = |jti: &str, expires: i64| Ticket { jti: jti.into(), expires: expires.cast_unsigned() };
        assert_eq!(used.use_up(&ticket("a", NOW + 10), now()), Ok(()));
        assert_eq!(used.use_up(&ticket("a", NOW + 10), now()), Err(Refusal::Replay));
        assert_eq!(used.use_up(&ticket("b", NOW + 99), now()), Ok(()));
        let later = now() + chrono::TimeDelta::seconds(10);
        assert_eq!(used.use_up(&ticket("b", NOW + 99), later), Err(Refusal::Replay));
        assert_eq!((used.known.len(), used.by_expiry.len()), (1, 1));
    }

    #[test]
    fn only_keys_are_keys() {
        let error = VerifyingKey::from_rsa_pem("-----BEGIN NOTHING-----").unwrap_err();
        assert_eq!(error.to_string(), "expected an RSA public key in PEM form");
    }
}
