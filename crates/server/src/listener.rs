//! Connections: how many there may be, how slow they may be, and how they end.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;

use crate::app::{App, Phase, router};

/// The longest head of a request, in bytes.
const MAX_HEAD: usize = 64 << 10;
/// How often idle models are looked for.
const SWEEP: Duration = Duration::from_secs(5);

/// Serves until `shutdown` completes; then finishes or fails what runs.
pub async fn serve(app: Arc<App>, listener: TcpListener, shutdown: impl Future<Output = ()>) {
    let service = router(app.clone());
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(app.options.max_connections));
    let mut shutdown = pin!(shutdown);
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        let accept = async {
            let place = places.clone().acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            accepted = accept => accepted,
            _ = sweep.tick() => {
                app.store.sweep();
                continue;
            }
            () = &mut shutdown => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // No file descriptor is left, perhaps: others are closed in a moment.
                log::warn!("a connection could not be accepted: {error}");
                sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(app.options.io_timeout)
            .max_buf_size(MAX_HEAD)
            .serve_connection(
                TokioIo::new(Box::pin(with_timeout(stream, app.options.io_timeout))),
                TowerToHyperService::new(service.clone()),
            );
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                log::debug!("a connection ended: {error}");
            }
            drop(place);
        });
    }
    drop(listener);
    drain(&app, graceful).await;
}

/// A client that takes nothing for so long is gone.
fn with_timeout(stream: TcpStream, time: Duration) -> TimeoutStream<TcpStream> {
    // Tokens are small and should not wait for one another.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(time));
    stream
}

async fn drain(app: &App, graceful: GracefulShutdown) {
    /// What is left to say when the grace is over takes no longer.
    const LAST_WORDS: Duration = Duration::from_secs(2);
    app.set_phase(Phase::Draining);
    let mut finished = pin!(graceful.shutdown());
    if timeout(app.options.grace, &mut finished).await.is_err() {
        app.set_phase(Phase::Stopped);
        let _ = timeout(LAST_WORDS, finished).await;
    }
}

/// Listens at `address`, `HOST:PORT`.
///
/// # Errors
/// The address is taken, or none of this machine's.
pub async fn bind(address: &str) -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}
