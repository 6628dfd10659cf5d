//! A TCP proxy between clients and one broker: the network that a test can cut or slow down.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::ports::free_port;

/// Bytes passed on at once: small, so that a slow network is slow in both directions at once and not in bursts.
const CHUNK: usize = 16 << 10;

/// Listens on a port of this machine and passes on what it hears to a broker and back. Ends with the process; nothing is accepted
/// once it is dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    network: Arc<Network>,
}

#[derive(Debug)]
struct Network {
    broker_port: u16,
    is_cut: AtomicBool,
    delay_ms: AtomicU64,
    is_over: AtomicBool,
    /// Both ends of every connection.
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// A proxy in front of the broker at `broker_port`, which need not run yet; on a port that is none of `taken`.
    ///
    /// # Errors
    /// If there is no free port.
    pub(super) fn start(broker_port: u16, taken: &[u16]) -> Result<Self> {
        let port = free_port(taken)?;
        let listener = TcpListener::bind(("127.0.0.1", port)).context("the proxy's port was taken")?;
        let network = Arc::new(Network {
            broker_port,
            is_cut: AtomicBool::new(false),
            delay_ms: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let accepting = Arc::clone(&network);
        thread::spawn(move || {
            let mut connections = listener.incoming().take_while(|_| !accepting.is_over());
            // A client whose connection fails connects again; a proxy has nobody to tell.
            connections.by_ref().flatten().for_each(|client| drop(Network::connect(&accepting, client)));
        });
        Ok(Self { port, network })
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends every connection, and every new one at once, until [`Proxy::restore`].
    pub fn cut(&self) {
        self.network.is_cut.store(true, Ordering::Relaxed);
        self.network.close_all();
    }

    /// Holds back what is sent, in each direction, until [`Proxy::restore`].
    pub fn delay(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.network.delay_ms.store(millis, Ordering::Relaxed);
    }

    /// A network without faults again. Connections that were cut stay so.
    pub fn restore(&self) {
        self.network.is_cut.store(false, Ordering::Relaxed);
        self.network.delay_ms.store(0, Ordering::Relaxed);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.network.is_over.store(true, Ordering::Relaxed);
        self.network.close_all();
        // Wakes the thread that accepts, so that the port is free.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

impl Network {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    fn connect(network: &Arc<Self>, client: TcpStream) -> std::io::Result<()> {
        if network.is_cut.load(Ordering::Relaxed) {
            return client.shutdown(Shutdown::Both);
        }
        let broker = TcpStream::connect(("127.0.0.1", network.broker_port))?;
        for end in [&client, &broker] {
            end.set_nodelay(true)?;
        }
        network.lock().extend([client.try_clone()?, broker.try_clone()?]);
        for (from, to) in [(client.try_clone()?, broker.try_clone()?), (broker, client)] {
            let network = Arc::clone(network);
            thread::spawn(move || {
                // Whatever ended it, the other side must see the connection end too.
                drop(network.pass_on(&from, &to));
                for end in [&from, &to] {
                    drop(end.shutdown(Shutdown::Both));
                }
                network.lock().retain(|open| !is_same(open, &from) && !is_same(open, &to));
            });
        }
        Ok(())
    }

    fn pass_on(&self, mut from: &TcpStream, mut to: &TcpStream) -> std::io::Result<()> {
        let mut chunk = vec![0; CHUNK];
        loop {
            let length = from.read(&mut chunk)?;
            if length == 0 {
                return Ok(());
            }
            let delay = self.delay_ms.load(Ordering::Relaxed);
            if delay > 0 {
                thread::sleep(Duration::from_millis(delay));
            }
            to.write_all(&chunk[..length])?;
        }
    }

    fn close_all(&self) {
        for end in self.lock().drain(..) {
            // One that has ended already is closed as well.
            drop(end.shutdown(Shutdown::Both));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_same(one: &TcpStream, other: &TcpStream) -> bool {
    let addresses = |stream: &TcpStream| Some((stream.local_addr().ok()?, stream.peer_addr().ok()?));
    // The addresses of a connection that has ended are not known any more.
    addresses(one).is_none() || addresses(one) == addresses(other)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// A server that sends back what it hears.
    fn echo() -> Result<u16> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
            }
        });
        Ok(port)
    }

    fn ask(connection: &mut TcpStream) -> std::io::Result<[u8; 4]> {
        connection.write_all(b"ping")?;
        let mut answer = [0; 4];
        connection.read_exact(&mut answer)?;
        Ok(answer)
    }

    #[test]
    fn it_passes_on_delays_and_cuts() -> Result<()> {
        let proxy = Proxy::start(echo()?, &[])?;
        let connect = || TcpStream::connect(("127.0.0.1", proxy.port()));
        let mut connection = connect()?;
        assert_eq!(ask(&mut connection)?, *b"ping");

        proxy.delay(Duration::from_millis(60));
        let asked = Instant::now();
        assert_eq!(ask(&mut connection)?, *b"ping");
        assert!(asked.elapsed() >= Duration::from_millis(120), "both ways are slow: {:?}", asked.elapsed());

        proxy.cut();
        assert!(ask(&mut connection).is_err(), "an open connection survived");
        assert!(ask(&mut connect()?).is_err(), "a new connection got through");

        proxy.restore();
        assert_eq!(ask(&mut connect()?)?, *b"ping");
        assert!(ask(&mut connection).is_err(), "a cut connection came back");
        Ok(())
    }
}
