//! Bodies of requests: read within limits, strictly parsed, and every field accounted for.

use axum::body::Bytes;
use axum::extract::{FromRef, FromRequest, Request};
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::app::App;
use crate::context::Context;
use crate::{ServerError, strict_json};

/// The body of a route.
pub trait Body: DeserializeOwned {
    /// Fields of the published schema that change nothing here; `*` stands for an index.
    const WITHOUT_EFFECT: &'static [&'static str];
}

/// A JSON body.
pub struct Json<T>(pub T);

impl<S, T: Body> FromRequest<S> for Json<T>
where
    S: Send + Sync,
    std::sync::Arc<App>: FromRef<S>,
{
    type Rejection = ServerError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ServerError> {
        let app = std::sync::Arc::<App>::from_ref(state);
        check_content_type(request.headers())?;
        let context = request.extensions().get::<Context>().cloned();
        let timeout = app.options.io_timeout;
        let limit = app.options.max_body;
        let said = request.headers().get(header::CONTENT_LENGTH);
        let said = said.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if said.is_some_and(|length| length > limit as u64) {
            return Err(ServerError::TooLarge { limit });
        }
        let read = tokio::time::timeout(timeout, Bytes::from_request(request, &()));
        let bytes = read.await.map_err(|_| ServerError::SlowBody(timeout))?;
        let bytes = bytes.map_err(|rejection| match rejection.status().as_u16() {
            413 => ServerError::TooLarge { limit },
            _ => ServerError::BadRequest(rejection.body_text()),
        })?;
        let (body, without_effect) = parse(&bytes, app.options.lenient)?;
        if let Some(context) = context.filter(|_| !without_effect.is_empty()) {
            context.warn_of(without_effect);
        }
        Ok(Self(body))
    }
}

fn check_content_type(headers: &HeaderMap) -> Result<(), ServerError> {
    let value = headers.get(header::CONTENT_TYPE);
    let value = value.map_or("missing", |value| value.to_str().unwrap_or("not a text"));
    let essence = value.split(';').next().unwrap_or_default().trim();
    match essence.eq_ignore_ascii_case("application/json") {
        true => Ok(()),
        false => Err(ServerError::ContentType {
            found: value.chars().take(80).collect(),
        }),
    }
}

/// The body, and which of its fields change nothing.
///
/// # Errors
/// What is no JSON, does not fit the type, or, unless `lenient`, has unknown fields.
pub fn parse<T: Body>(bytes: &[u8], lenient: bool) -> Result<(T, Vec<String>), ServerError> {
    let value = strict_json::parse(bytes).map_err(ServerError::BadRequest)?;
    if !value.is_object() {
        // A list would be taken for the fields in their order.
        return Err(ServerError::Invalid {
            param: None,
            message: "the body is JSON, and not a JSON object".to_owned(),
        });
    }
    let (body, ignored) = typed(value)?;
    let is_known = |path: &String| T::WITHOUT_EFFECT.contains(&pattern(path).as_str());
    let (without_effect, unknown): (Vec<_>, Vec<_>) = ignored.into_iter().partition(is_known);
    match unknown.is_empty() || lenient {
        true => Ok((body, [without_effect, unknown].concat())),
        false => Err(ServerError::UnknownFields(unknown)),
    }
}

fn typed<T: DeserializeOwned>(value: Value) -> Result<(T, Vec<String>), ServerError> {
    let mut ignored = Vec::new();
    let mut track = serde_path_to_error::Track::new();
    let reader = serde_path_to_error::Deserializer::new(value, &mut track);
    let body = serde_ignored::deserialize(reader, |path| {
        if ignored.len() < 32 {
            // A key may be anything; what goes into a header and a message is short.
            let path = path.to_string().replace(".?", "");
            ignored.push(path.chars().take(80).collect());
        }
    });
    match body {
        Ok(body) => Ok((body, ignored)),
        Err(error) => {
            let path = track.path().to_string();
            let message = match path.as_str() {
                "." => error.to_string(),
                path => format!("`{path}`: {error}"),
            };
            let param = Some(path).filter(|path| path != ".");
            Err(ServerError::Invalid { param, message })
        }
    }
}

/// A path with `*` for every index.
fn pattern(path: &str) -> String {
    let parts = path.split('.').map(
        |part| match part.bytes().all(|byte| byte.is_ascii_digit()) {
            true => "*",
            false => part,
        },
    );
    parts.collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Inner {
        #[serde(rename = "x")]
        _x: Option<u8>,
    }

    #[derive(Debug, Deserialize)]
    struct Test {
        #[serde(rename = "n")]
        n: u32,
        #[serde(default)]
        list: Option<Vec<Inner>>,
    }

    impl Body for Test {
        const WITHOUT_EFFECT: &'static [&'static str] = &["user", "list.*.note"];
    }

    #[test]
    fn every_field_is_accounted_for() {
        let (body, ignored) =
            parse::<Test>(br#"{"n":1,"user":"me","list":[{"note":1}]}"#, false).unwrap();
        assert_eq!((body.n, body.list.map(|list| list.len())), (1, Some(1)));
        assert_eq!(ignored.len(), 2, "{ignored:?}");
        let typo = br#"{"n":1,"lists":[],"list":[{"y":1}]}"#;
        let error = parse::<Test>(typo, false).unwrap_err();
        let ServerError::UnknownFields(fields) = &error else {
            panic!("{error}");
        };
        assert_eq!(fields.len(), 2, "{fields:?}");
        assert!(error.to_string().contains("lists"), "{error}");
        assert!(parse::<Test>(typo, true).is_ok());
    }

    #[test]
    fn an_error_names_its_place() {
        let error = parse::<Test>(br#"{"n":1,"list":[{"x":300}]}"#, false).unwrap_err();
        assert!(error.to_string().contains("list[0].x"), "{error}");
        let error = parse::<Test>(br#"{"n":-1}"#, false).unwrap_err();
        assert!(
            error.to_string().starts_with("`n`: invalid value"),
            "{error}"
        );
    }
}
