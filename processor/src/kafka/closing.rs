//! Clients that are closed without being waited for without end.

use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long a client may take to end its requests and leave its group.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// A client that a thread of its own closes when it is dropped. With brokers away librdkafka may not come back from closing; the
/// application goes on, or ends, all the same.
pub(super) struct Closing<T: Send + 'static>(ManuallyDrop<T>);

impl<T: Send + 'static> Closing<T> {
    pub(super) fn new(client: T) -> Self {
        Closing(ManuallyDrop::new(client))
    }
}

impl<T: Send + 'static> Deref for Closing<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Send + 'static> Drop for Closing<T> {
    fn drop(&mut self) {
        // SAFETY: taken once, and not used afterwards.
        let client = unsafe { ManuallyDrop::take(&mut self.0) };
        let (closing, is_closed) = mpsc::channel::<()>();
        let spawned = thread::Builder::new().name("millstream-close".to_owned()).spawn(move || {
            drop(client);
            drop(closing);
        });
        // Without a thread, the client was closed together with what it should have run.
        if spawned.is_ok() && is_closed.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            tracing::warn!("a Kafka client did not close within {PATIENCE:?}, and is left to itself");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_closed_by_the_time_it_is_gone() {
        struct Client(mpsc::Sender<&'static str>);
        impl Drop for Client {
            fn drop(&mut self) {
                self.0.send("closed").unwrap();
            }
        }
        let (sender, receiver) = mpsc::channel();
        let client = Closing::new(Client(sender));
        client.0.0.send("used").unwrap();
        drop(client);
        assert_eq!(receiver.try_iter().collect::<Vec<_>>(), ["used", "closed"]);
    }
}
