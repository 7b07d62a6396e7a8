//! What waits for a broker, bounded: when it is full, the oldest goes.
//!
//! Invariant: never more than its limit; what was taken and not confirmed is at the front again.

use crate::mqtt::Message;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

pub struct Queue {
    messages: Mutex<VecDeque<Message>>,
    filled: Condvar,
    limit: usize,
}

impl Queue {
    pub fn new(limit: usize) -> Queue {
        Queue { messages: Mutex::default(), filled: Condvar::new(), limit }
    }

    /// Puts it last. The message that had to go for it, if the queue was full.
    pub fn push(&self, message: Message) -> Option<Message> {
        let mut messages = self.lock();
        let lost = if messages.len() >= self.limit { messages.pop_front() } else { None };
        messages.push_back(message);
        self.filled.notify_one();
        lost
    }

    /// The oldest message; waits at most `patience` for one.
    pub fn take(&self, patience: Duration) -> Option<Message> {
        let waited = self.filled.wait_timeout_while(self.lock(), patience, |messages| messages.is_empty());
        waited.unwrap_or_else(|e| e.into_inner()).0.pop_front()
    }

    /// Puts back what the broker has not confirmed; in a queue that filled up meanwhile it would be the oldest.
    pub fn put_back(&self, message: Message) {
        let mut messages = self.lock();
        if messages.len() < self.limit {
            messages.push_front(message);
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Message>> {
        // Nothing panics while it holds the lock; if it did, the messages would still be whole.
        self.messages.lock().unwrap_or_else(|e| e.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(payload: &str) -> Message {
        Message { topic: "t".into(), payload: payload.into() }
    }

    #[test]
    fn a_full_queue_loses_the_oldest_and_keeps_the_order() {
        let queue = Queue::new(2);
        assert_eq!(queue.push(message("1")), None);
        assert_eq!(queue.push(message("2")), None);
        assert_eq!(queue.push(message("3")), Some(message("1")));
        let taken = queue.take(Duration::ZERO).expect("two are left");
        assert_eq!(taken, message("2"));
        queue.put_back(taken);
        assert_eq!(queue.take(Duration::ZERO), Some(message("2")));
        queue.push(message("4"));
        queue.put_back(message("2"));
        assert_eq!(queue.take(Duration::ZERO), Some(message("3")));
        assert_eq!(queue.take(Duration::ZERO), Some(message("4")));
        assert_eq!(queue.take(Duration::ZERO), None);
    }
}
