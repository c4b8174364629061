//! The table of those who are told of runs.

use url::Url;

use super::{Checker, raw};
use crate::config::NotifySettings;
use crate::config::raw::Field;
use crate::secret::SecretRef;

impl Checker<'_> {
    pub(super) fn notify(&mut self, raw: &raw::Notify) -> NotifySettings {
        NotifySettings {
            webhook: self.address("notify.webhook_url", &raw.webhook_url_file, &raw.webhook_url_env),
            ping: self.address("notify.ping_url", &raw.ping_url_file, &raw.ping_url_env),
        }
    }

    /// The reference to an address that is a secret, by a file or a variable.
    fn address(&mut self, key: &str, file: &Field<String>, variable: &Field<String>) -> Option<SecretRef> {
        let (key, reference) = self.reference(key, file, variable)?;
        match reference.read().map(|secret| Url::parse(secret.expose())) {
            Ok(Ok(url)) if matches!(url.scheme(), "http" | "https") => {}
            Ok(_) => self.report(&key, format_args!("{reference} holds no URL"), Some("an `https://` URL")),
            Err(error) => self.report(&key, error, None),
        }
        Some(reference)
    }

    /// The reference to a secret, by `<key>_file` or `<key>_env`, with the key that was given.
    pub(super) fn reference(
        &mut self,
        key: &str,
        file: &Field<String>,
        variable: &Field<String>,
    ) -> Option<(String, SecretRef)> {
        let (file_key, variable_key) = (format!("{key}_file"), format!("{key}_env"));
        let file = self.path(&file_key, file).map(SecretRef::File);
        let variable = self.value(&variable_key, variable).map(SecretRef::Env);
        if file.is_some() && variable.is_some() {
            self.report(&variable_key, format_args!("`{file_key}` is given too"), Some("give one of them"));
        }
        let key = if file.is_some() { file_key } else { variable_key };
        Some((key, file.or(variable)?))
    }
}
