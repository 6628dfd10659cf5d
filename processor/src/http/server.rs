//! The server's life: bound before anything else starts, on threads of its own, ended with the application.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tracing::{error, info};

use super::routes::{App, router};
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::runtime::Shared;

/// How long requests that are being answered may take after the server was told to end.
const GRACE: Duration = Duration::from_secs(2);

/// The threads that answer requests at once; each is free again while a store is read on another one.
const WORKERS: usize = 2;

/// The threads that read stores at once. Further reads wait for their turn.
const STORE_READERS: usize = 4;

/// A running HTTP server. Dropping it answers the requests in progress, then closes the address.
pub(crate) struct HttpServer {
    address: SocketAddr,
    /// Dropped to tell the server to end.
    stop: Option<watch::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl HttpServer {
    /// Listens on `address`, `host:port`; with port 0 on a free one, which [`HttpServer::address`] tells.
    ///
    /// # Errors
    /// `Invalid` if the address is malformed, taken, or not this machine's; `Fatal` if threads cannot be started.
    pub(crate) fn start(address: &str, shared: Arc<Shared>, metrics: Arc<Metrics>) -> Result<Self> {
        let (listener, bound) = bind(address).map_err(|error| {
            Error::invalid(format!(
                "the HTTP server cannot listen on {address:?}: set http_address (MILLSTREAM_HTTP_ADDRESS) to a free \
                 host:port of this machine such as 127.0.0.1:8080, to port 0 for any free one, or leave it out"
            ))
            .with_source(error)
        })?;
        let name = format!("{}-http", shared.application_id);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .max_blocking_threads(STORE_READERS)
            .thread_name(&name)
            .enable_io()
            .enable_time()
            .build()
            .map_err(|error| {
                Error::fatal("cannot start the threads of the HTTP server").with_source(error)
            })?;
        let (stop, stopped) = watch::channel(());
        let router = router(App { shared, metrics });
        // The runtime lives on a thread of its own, because it may not be dropped on one of a user's async runtime.
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(move || run(runtime, listener, router, stopped))
            .map_err(|error| Error::fatal("cannot start the thread of the HTTP server").with_source(error))?;
        info!(address = %bound, "the HTTP server listens");
        Ok(HttpServer { address: bound, stop: Some(stop), thread: Some(thread) })
    }

    /// Where the server listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!(address = %self.address, "the HTTP server panicked");
        }
    }
}

fn bind(address: &str) -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

fn run(runtime: Runtime, listener: TcpListener, router: Router, stopped: watch::Receiver<()>) {
    if let Err(error) = runtime.block_on(serve(listener, router, stopped)) {
        error!(%error, "the HTTP server ended: restart the application to query it again");
    }
    runtime.shutdown_timeout(GRACE);
}

/// Answers requests until the sender of `stopped` is dropped. A client that holds its connection open gets [`GRACE`].
async fn serve(listener: TcpListener, router: Router, stopped: watch::Receiver<()>) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let server = axum::serve(listener, router).with_graceful_shutdown(until_dropped(stopped.clone()));
    let deadline = async {
        until_dropped(stopped).await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        served = server => served,
        () = deadline => Ok(()),
    }
}

async fn until_dropped(mut stopped: watch::Receiver<()>) {
    while stopped.changed().await.is_ok() {}
}
