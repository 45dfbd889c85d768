//! What waits to be sent to one connection. It is bounded: who reads too slowly is dropped, not buffered without end.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Messages for one connection.
#[derive(Debug)]
pub struct Outbox {
    queue: Mutex<Queue>,
    limit: usize,
    filled: Notify,
    drained: Notify,
    broken: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<Utf8Bytes>,
    bytes: usize,
    closed: bool,
}

impl Outbox {
    /// Holds at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            queue: Mutex::default(),
            limit,
            filled: Notify::new(),
            drained: Notify::new(),
            broken: Notify::new(),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a message. A reader with too much waiting is given up; messages to it go nowhere.
    pub fn push(&self, message: impl Into<Utf8Bytes>) {
        let message = message.into();
        let mut queue = self.queue();
        if queue.closed {
            return;
        }
        if queue.bytes + message.len() > self.limit && !queue.messages.is_empty() {
            drop(queue);
            self.close();
            return;
        }
        queue.bytes += message.len();
        queue.messages.push_back(message);
        drop(queue);
        self.filled.notify_one();
    }

    /// Ends the connection; what waits is forgotten.
    pub fn close(&self) {
        let mut queue = self.queue();
        queue.closed = true;
        queue.messages = VecDeque::new();
        queue.bytes = 0;
        drop(queue);
        self.filled.notify_one();
        self.broken.notify_one();
        self.drained.notify_waiters();
    }

    /// Waits until the reader was given up or the space closes.
    pub async fn broken(&self) {
        while !self.queue().closed {
            self.broken.notified().await;
        }
    }

    /// Waits for messages and takes all of them; `None` when the connection is to end.
    pub async fn take(&self) -> Option<VecDeque<Utf8Bytes>> {
        loop {
            {
                let mut queue = self.queue();
                if queue.closed {
                    return None;
                }
                if !queue.messages.is_empty() {
                    queue.bytes = 0;
                    let messages = std::mem::take(&mut queue.messages);
                    drop(queue);
                    self.drained.notify_waiters();
                    return Some(messages);
                }
            }
            self.filled.notified().await;
        }
    }

    /// Waits until the reader has caught up far enough for a long answer to go on.
    pub async fn room(&self) {
        loop {
            let drained = self.drained.notified();
            tokio::pin!(drained);
            drained.as_mut().enable(); // before looking, so that no notice is missed
            {
                let queue = self.queue();
                if queue.closed || queue.bytes <= self.limit / 8 {
                    return;
                }
            }
            drained.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_reader_is_given_up() {
        let outbox = Outbox::new(10);
        outbox.push("12345");
        outbox.push("12345");
        outbox.push("6");
        outbox.broken().await;
        assert_eq!(outbox.take().await, None);
    }

    #[tokio::test]
    async fn a_single_long_message_goes_through() {
        let outbox = Outbox::new(10);
        outbox.push("123456789012");
        assert_eq!(outbox.take().await.map(|messages| messages.len()), Some(1));
        outbox.room().await;
    }
}
