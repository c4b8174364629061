//! Tokens: one JWT per HTTP attempt, as the vendor's "Enforce JTI" demands.

use std::sync::{PoisonError, RwLock};

use chrono::{DateTime, Utc};
use jsonwebtoken::{EncodingKey, Header};
use reqwest::header::HeaderValue;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::config::{Algorithm, Credentials};
use crate::secret::{Secret, SecretError};

/// How far in the past a token says it was issued, against a server whose clock is behind ours.
const ISSUED_AGO_SECS: i64 = 30;
/// How long a token is good for, counted from its time of issue. The vendor allows an hour.
const LIFETIME_SECS: i64 = 300;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Any text.
    pub sub: String,
    /// The client id. The vendor wants the claim spelled exactly so.
    #[serde(rename = "appId")]
    pub app_id: String,
    /// When the token was issued, in seconds since 1970.
    pub iat: i64,
    /// When it ends, in seconds since 1970.
    pub exp: i64,
    /// Unique to the token: it works once.
    pub jti: String,
}

/// A token cannot be made. The text never holds the key.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// The secret or the key cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The private key is no RSA key in PEM form.
    #[error("{origin} holds no RSA private key in PEM form")]
    Key {
        /// Where it was read from.
        origin: crate::secret::SecretRef,
    },
    /// The cryptographic library refused.
    #[error("the token could not be signed with {origin}")]
    Sign {
        /// Where the key was read from.
        origin: crate::secret::SecretRef,
    },
}

/// Mints the tokens of one stream.
pub struct Signer {
    credentials: Credentials,
    key: RwLock<EncodingKey>,
}

impl Signer {
    /// Reads the secret or the key.
    ///
    /// # Errors
    /// When it is missing, empty, or no key.
    pub fn new(credentials: &Credentials) -> Result<Self, SignerError> {
        let key = RwLock::new(read_key(credentials)?);
        Ok(Self { credentials: credentials.clone(), key })
    }

    /// Reads the secret or the key anew: it may have been rotated since.
    ///
    /// # Errors
    /// As [`Signer::new`]; the old key then stays in use.
    pub fn reload(&self) -> Result<(), SignerError> {
        let key = read_key(&self.credentials)?;
        *self.key.write().unwrap_or_else(PoisonError::into_inner) = key;
        Ok(())
    }

    /// What a token minted at `now` says.
    #[must_use]
    pub fn claims(&self, now: DateTime<Utc>, id: Uuid) -> Claims {
        let iat = now.timestamp() - ISSUED_AGO_SECS;
        Claims {
            sub: self.credentials.subject.clone(),
            app_id: self.credentials.client_id.clone(),
            iat,
            exp: iat + LIFETIME_SECS,
            jti: id.to_string(),
        }
    }

    /// Signs the claims.
    ///
    /// # Errors
    /// When the cryptographic library refuses the key.
    pub fn sign(&self, claims: &Claims) -> Result<Secret, SignerError> {
        let algorithm = match self.credentials.algorithm {
            Algorithm::Hs256 => jsonwebtoken::Algorithm::HS256,
            Algorithm::Hs512 => jsonwebtoken::Algorithm::HS512,
            Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
            Algorithm::Rs512 => jsonwebtoken::Algorithm::RS512,
        };
        let key = self.key.read().unwrap_or_else(PoisonError::into_inner);
        jsonwebtoken::encode(&Header::new(algorithm), claims, &key)
            .map(Secret::from)
            .map_err(|_| SignerError::Sign { origin: self.credentials.key.clone() })
    }
}

/// What a token says, read back from the token itself: the algorithm and the claims. Nothing is
/// verified; it is for showing one's own token to a person.
pub fn read_back(token: &Secret) -> Option<(String, Claims)> {
    let token = jsonwebtoken::dangerous::insecure_decode::<Claims>(token.expose()).ok()?;
    Some((format!("{:?}", token.header.alg), token.claims))
}

/// The token as the value of the `auth` header, marked so that no log prints it.
pub(super) fn header(token: &Secret) -> HeaderValue {
    let mut value = HeaderValue::from_str(token.expose()).expect("a JWT is base64url and dots");
    value.set_sensitive(true);
    value
}

fn read_key(credentials: &Credentials) -> Result<EncodingKey, SignerError> {
    let secret = credentials.key.read()?;
    if credentials.algorithm.is_rsa() {
        EncodingKey::from_rsa_pem(secret.expose().as_bytes())
            .map_err(|_| SignerError::Key { origin: credentials.key.clone() })
    } else {
        Ok(EncodingKey::from_secret(secret.expose().as_bytes()))
    }
}
