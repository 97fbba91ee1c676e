//! A server for one conversation.

use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};
use tokio::time::sleep;

use super::client::Client;
use crate::failure::Result;

/// How long a model may take to load.
const PATIENCE: Duration = Duration::from_secs(600);

/// A server of our own; it ends with this.
pub struct LocalServer(#[allow(dead_code, reason = "held so that it ends with us")] Child);

impl LocalServer {
    /// Starts one at the client's address, and waits until it answers.
    pub async fn start(model: &str, adapter: Option<&str>, client: &Client) -> Result<Self> {
        if client.is_up().await {
            let message = format!("{} answers already: leave out --serve", client.root());
            return Err(message.into());
        }
        let (host, port) = client.place()?;
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", model, "--host", &host, "--port", &port.to_string()])
            .args(adapter.iter().flat_map(|adapter| ["--adapter", adapter]))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let begin = Instant::now();
        while !client.is_up().await {
            if let Some(status) = child.try_wait()? {
                return Err(format!("the server did not start ({status})").into());
            }
            if begin.elapsed() > PATIENCE {
                return Err("the server did not answer in time".into());
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(Self(child))
    }
}
