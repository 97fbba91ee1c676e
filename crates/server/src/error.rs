//! What can go wrong, as callers see it.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use transformers_generation::GenerateError;
use transformers_pipelines::PipelineError;
use transformers_tokenization::TokenizationError;

use crate::engine::{Busy, Failure};

/// The result of a handler.
pub type Result<T, E = ServerError> = std::result::Result<T, E>;

/// Why a request is not answered, or the server does not start.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum ServerError {
    #[error("the body is not what this route reads: {0}")]
    BadRequest(String),
    #[error("{message}")]
    Invalid {
        /// Where in the body, as `messages.0.content`.
        param: Option<String>,
        message: String,
    },
    #[error(
        "unknown fields: {}; check their spelling, leave them out, or start the server with --lenient", .0.join(", ")
    )]
    UnknownFields(Vec<String>),
    #[error(
        "the body's content type is {found}; send JSON, with the header `Content-Type: application/json`"
    )]
    ContentType { found: String },
    #[error("the body has more than {limit} bytes, the most that this server reads")]
    TooLarge { limit: usize },
    #[error("the body did not arrive within {} seconds", .0.as_secs())]
    SlowBody(Duration),
    #[error("an API key is needed: send it as `Authorization: Bearer KEY` or `x-api-key: KEY`")]
    NoKey,
    #[error("this API key is not one of the server's")]
    WrongKey,
    #[error("there is nothing at this address; GET /openapi.json lists what there is")]
    NoRoute,
    #[error("this address takes another method; GET /openapi.json lists them")]
    Method,
    #[error("{0}")]
    UnknownModel(String),
    #[error("this server serves `{served}` alone, and the request is for `{asked}`")]
    OtherModel { served: String, asked: String },
    #[error("the model `{model}` cannot be loaded: {reason}")]
    Load { model: String, reason: String },
    #[error("the model `{model}` does not fit: {reason}")]
    NoMemory { model: String, reason: String },
    #[error("as many requests are waiting as this server takes; try again in a moment")]
    Busy,
    #[error("the request took longer than {} seconds, the most that this server gives it", .0.as_secs())]
    Deadline(Duration),
    #[error("the server is shutting down")]
    ShuttingDown,
    #[error("an engine has stopped; the server's log says why, and POST /reset drops it")]
    Dead,
    #[error("something went wrong in the server; its log says what")]
    Internal,
    #[error("the server cannot listen at {address}: {reason}")]
    Listen { address: String, reason: String },
}

impl ServerError {
    /// A value that is not allowed.
    pub fn invalid(param: &str, message: impl Into<String>) -> Self {
        Self::Invalid {
            param: Some(param.to_owned()),
            message: format!("`{param}`: {}", message.into()),
        }
    }

    /// A defect of ours: the log gets the reason, and callers do not.
    pub fn internal(reason: impl std::fmt::Display) -> Self {
        log::error!("{reason}");
        Self::Internal
    }

    /// The status of the response.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) | Self::OtherModel { .. } => StatusCode::BAD_REQUEST,
            Self::Invalid { .. } | Self::UnknownFields(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::ContentType { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::SlowBody(_) => StatusCode::REQUEST_TIMEOUT,
            Self::NoKey | Self::WrongKey => StatusCode::UNAUTHORIZED,
            Self::NoRoute | Self::UnknownModel(_) => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Busy => StatusCode::TOO_MANY_REQUESTS,
            Self::Deadline(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::ShuttingDown | Self::Dead | Self::NoMemory { .. } => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Load { .. } | Self::Internal | Self::Listen { .. } => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }

    /// OpenAI's name for this kind of error.
    fn kind(&self) -> &'static str {
        match self {
            Self::NoKey | Self::WrongKey => "authentication_error",
            Self::NoRoute | Self::UnknownModel(_) => "not_found_error",
            Self::Busy => "rate_limit_error",
            error if error.status().is_client_error() => "invalid_request_error",
            Self::ShuttingDown | Self::NoMemory { .. } => "overloaded_error",
            Self::Deadline(_) => "timeout_error",
            _ => "api_error",
        }
    }

    fn code(&self) -> Option<&'static str> {
        Some(match self {
            Self::UnknownFields(_) => "unknown_parameter",
            Self::NoKey | Self::WrongKey => "invalid_api_key",
            Self::UnknownModel(_) | Self::OtherModel { .. } => "model_not_found",
            Self::Busy => "rate_limit_exceeded",
            _ => return None,
        })
    }

    fn param(&self) -> Option<&str> {
        match self {
            Self::Invalid { param, .. } => param.as_deref(),
            Self::UnknownFields(fields) => fields.first().map(String::as_str),
            Self::UnknownModel(_) | Self::OtherModel { .. } => Some("model"),
            _ => None,
        }
    }

    /// The body in OpenAI's form.
    pub fn openai(&self) -> Value {
        json!({"error": {
            "message": self.to_string(),
            "type": self.kind(),
            "param": self.param(),
            "code": self.code(),
        }})
    }

    /// The body in Anthropic's form.
    pub fn anthropic(&self, request_id: &str) -> Value {
        let kind = match self.kind() {
            "timeout_error" => "api_error",
            kind => kind,
        };
        json!({
            "type": "error",
            "error": {"type": kind, "message": self.to_string()},
            "request_id": request_id,
        })
    }
}

impl IntoResponse for ServerError {
    fn into_response(self) -> Response {
        let mut response = (self.status(), axum::Json(self.openai())).into_response();
        let headers = response.headers_mut();
        if matches!(
            self,
            Self::Busy | Self::ShuttingDown | Self::NoMemory { .. }
        ) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if matches!(self, Self::NoKey | Self::WrongKey) {
            // A browser asks for the key then, as the password.
            let basic = HeaderValue::from_static("Basic realm=\"API key as the password\"");
            headers.insert(header::WWW_AUTHENTICATE, basic);
        }
        // The layer of Anthropic's routes words it anew.
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Busy> for ServerError {
    fn from(_: Busy) -> Self {
        Self::Busy
    }
}

impl From<Failure> for ServerError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Busy => Self::Busy,
            Failure::Generate(error) => error.into(),
            Failure::Panic(message) => Self::internal(format!("the engine panicked: {message}")),
        }
    }
}

impl From<GenerateError> for ServerError {
    fn from(error: GenerateError) -> Self {
        match error {
            GenerateError::Config(_)
            | GenerateError::EmptyPrompt
            | GenerateError::PromptTooLong { .. }
            | GenerateError::NoRoom { .. }
            | GenerateError::Unsupported { .. }
            | GenerateError::NotInBatches { .. }
            | GenerateError::CacheTooSmall { .. }
            | GenerateError::NothingAllowed { .. }
            | GenerateError::Grammar(_) => Self::Invalid {
                param: None,
                message: error.to_string(),
            },
            other => Self::internal(other),
        }
    }
}

impl From<TokenizationError> for ServerError {
    fn from(error: TokenizationError) -> Self {
        Self::Invalid {
            param: None,
            message: error.to_string(),
        }
    }
}

impl From<PipelineError> for ServerError {
    fn from(error: PipelineError) -> Self {
        match error {
            PipelineError::NoTokens { .. } | PipelineError::UnknownPrompt { .. } => Self::Invalid {
                param: Some("input".to_owned()),
                message: error.to_string(),
            },
            other => Self::internal(other),
        }
    }
}
