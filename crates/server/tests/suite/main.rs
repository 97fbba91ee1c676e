//! The server over real sockets, with a model small enough to be committed.
#![allow(clippy::unwrap_used, missing_docs)]

mod auth;
mod chat;
mod client;
mod completions;
mod corpus;
mod embeddings;
mod hostile;
mod lifecycle;
mod messages;
mod models;
mod responses;
mod server;
mod structured;
mod tools;
