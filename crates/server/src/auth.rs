//! API keys.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use crate::ServerError;

/// The server's keys, as digests: comparing those takes the same time whatever is sent.
#[derive(Debug, Clone)]
pub struct Keys(Vec<[u8; 32]>);

impl Keys {
    pub fn new(keys: &[String]) -> Self {
        Self(keys.iter().map(|key| Sha256::digest(key).into()).collect())
    }

    fn check(&self, headers: &HeaderMap) -> Result<(), ServerError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let digest: [u8; 32] = Sha256::digest(sent(headers).ok_or(ServerError::NoKey)?).into();
        let matches = |found: Choice, key: &[u8; 32]| found | key.ct_eq(&digest);
        match self.0.iter().fold(Choice::from(0), matches).into() {
            true => Ok(()),
            false => Err(ServerError::WrongKey),
        }
    }
}

/// The key in a request: a bearer token, `x-api-key`, or the password that a browser asked its user for.
fn sent(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name)?.to_str().ok();
    if let Some(key) = text(header::HeaderName::from_static("x-api-key")) {
        return Some(key.to_owned());
    }
    let (scheme, rest) = text(header::AUTHORIZATION)?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    let decoded = BASE64_STANDARD.decode(rest.trim()).ok()?;
    let (_, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    scheme
        .eq_ignore_ascii_case("basic")
        .then(|| password.to_owned())
}

/// Lets in who has a key. Browsers ask without one before they call from another page (CORS), and get no data for it.
pub async fn layer(
    State(keys): State<Keys>,
    request: Request,
    next: Next,
) -> Result<Response, ServerError> {
    keys.check(request.headers())?;
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[track_caller]
    fn check(name: &'static str, value: &str, expected: bool) {
        let keys = Keys::new(&["first".to_owned(), "second".to_owned()]);
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        assert_eq!(keys.check(&headers).is_ok(), expected, "{name}: {value}");
    }

    #[test]
    fn keys_are_found_wherever_clients_put_them() {
        check("authorization", "Bearer first", true);
        check("authorization", "bearer second", true);
        check("x-api-key", "second", true);
        // me:first
        check("authorization", "Basic bWU6Zmlyc3Q=", true);
        check("authorization", "Bearer firs", false);
        check("authorization", "Bearer ", false);
        check("authorization", "first", false);
        check("authorization", "Basic !", false);
        check("x-api-key", "", false);
    }

    #[test]
    fn no_keys_is_no_lock() {
        assert!(Keys::new(&[]).check(&HeaderMap::new()).is_ok());
        let locked = Keys::new(&["k".to_owned()]).check(&HeaderMap::new());
        assert!(matches!(locked, Err(ServerError::NoKey)));
    }
}
