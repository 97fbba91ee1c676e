//! What goes with a request from its first layer to its response: an id, and warnings.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use rand::random;

use crate::ServerError;

/// The header that carries the id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is taken over from a client.
const MAX_ID: usize = 128;

/// One request, as it goes through the layers. Clones share the warnings.
#[derive(Debug, Clone)]
pub struct Context {
    /// The client's, or a new one.
    pub id: String,
    /// When it came.
    pub begin: Instant,
    warnings: Arc<Mutex<Vec<String>>>,
}

impl Context {
    fn new(id: Option<&HeaderValue>) -> Self {
        let plain = |id: &&str| {
            !id.is_empty() && id.len() <= MAX_ID && id.bytes().all(|byte| byte.is_ascii_graphic())
        };
        let given = id.and_then(|id| id.to_str().ok()).filter(plain);
        Self {
            id: given.map_or_else(|| format!("{:032x}", random::<u128>()), str::to_owned),
            begin: Instant::now(),
            warnings: Arc::default(),
        }
    }

    /// Says in a header of the response that these fields of the request do nothing here.
    pub fn warn_of(&self, fields: Vec<String>) {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        warnings.extend(fields);
    }

    fn warning(&self) -> Option<HeaderValue> {
        let warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        let fields = (!warnings.is_empty()).then(|| warnings.join(", "))?;
        HeaderValue::from_str(&format!("299 - \"fields without effect: {fields}\"")).ok()
    }
}

impl<S: Sync> FromRequestParts<S> for Context {
    type Rejection = ServerError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ServerError> {
        let context = parts.extensions.get::<Self>().cloned();
        context.ok_or_else(|| ServerError::internal("a route has no context"))
    }
}

/// Gives a request its context, and the response what is in it.
pub async fn layer(mut request: Request, next: Next) -> Response {
    let context = Context::new(request.headers().get(REQUEST_ID));
    request.extensions_mut().insert(context.clone());
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&context.id) {
        headers.insert(REQUEST_ID, id);
    }
    if let Some(warning) = context.warning() {
        headers.insert(header::WARNING, warning);
    }
    response
}
