//! A schema registry that answers as a test says, over HTTP or TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::serve::Listener;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::server::TlsStream;

/// A registry that answers as a test says.
pub(super) struct Stub {
    pub(super) url: String,
    /// Method and path of each request.
    pub(super) asked: Arc<Mutex<Vec<String>>>,
    _runtime: tokio::runtime::Runtime,
}

type Answers = Arc<dyn Fn(&str) -> (u16, String) + Send + Sync>;

pub(super) fn stub(answers: impl Fn(&str) -> (u16, Value) + Send + Sync + 'static) -> Result<Stub> {
    stub_of_text(as_text(answers))
}

pub(super) fn stub_of_text(answers: impl Fn(&str) -> (u16, String) + Send + Sync + 'static) -> Result<Stub> {
    serve(answers, "http", "127.0.0.1", |listener| listener)
}

pub(super) fn stub_behind_tls(
    identity: &rcgen::CertifiedKey<rcgen::KeyPair>,
    answers: impl Fn(&str) -> (u16, Value) + Send + Sync + 'static,
) -> Result<Stub> {
    let key = PrivateKeyDer::try_from(identity.signing_key.serialize_der()).map_err(anyhow::Error::msg)?;
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![identity.cert.der().clone()], key)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    serve(as_text(answers), "https", "localhost", |tcp| TlsListener { tcp, acceptor })
}

fn as_text(
    answers: impl Fn(&str) -> (u16, Value) + Send + Sync + 'static,
) -> impl Fn(&str) -> (u16, String) + Send + Sync + 'static {
    move |asked| {
        let (status, body) = answers(asked);
        (status, body.to_string())
    }
}

fn serve<L>(
    answers: impl Fn(&str) -> (u16, String) + Send + Sync + 'static,
    scheme: &str,
    host: &str,
    listener: impl FnOnce(TcpListener) -> L,
) -> Result<Stub>
where
    L: Listener<Addr: std::fmt::Debug>,
{
    let asked = Arc::new(Mutex::new(Vec::new()));
    let answers: Answers = Arc::new(answers);
    let app = axum::Router::new().fallback(answer).with_state((answers, Arc::clone(&asked)));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let tcp = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let url = format!("{scheme}://{host}:{}", tcp.local_addr()?.port());
    let listener = listener(tcp);
    runtime.spawn(async move { axum::serve(listener, app).await });
    Ok(Stub { url, asked, _runtime: runtime })
}

/// Takes connections that begin with a handshake.
struct TlsListener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (tcp, from) = Listener::accept(&mut self.tcp).await;
            // Who does not trust the certificate goes away.
            if let Ok(tls) = self.acceptor.accept(tcp).await {
                return (tls, from);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}

async fn answer(
    State((answers, asked)): State<(Answers, Arc<Mutex<Vec<String>>>)>,
    request: Request,
) -> impl IntoResponse {
    let what = format!("{} {}", request.method(), request.uri());
    asked.lock().push(what.clone());
    let (status, body) = answers(&what);
    (StatusCode::from_u16(status).unwrap_or(StatusCode::IM_A_TEAPOT), body)
}

pub(super) fn no_subject() -> (u16, Value) {
    (404, json!({ "error_code": 40401, "message": "Subject not found." }))
}
