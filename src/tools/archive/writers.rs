//! Content of files in, blobs in the store out, hashed and written by a small pool of threads.
//!
//! One thread decompresses, so on a machine of several processors hashing and writing run beside it.
//! Invariant: at most `QUEUE` small files wait in memory; large ones are streamed.

use super::ArchiveError;
use crate::io::store::{Store, StoreError};
use crate::model::Digest;
use std::cell::Cell;
use std::io::Read;
use std::sync::mpsc::{sync_channel, Receiver, SyncSender};
use std::sync::{Mutex, PoisonError};

const SMALL_BYTES: u64 = 1 << 20;
const QUEUE: usize = 64;
const LIMIT_THREADS: usize = 4;

/// The number of a file among those stored.
#[derive(Clone, Copy, Debug)]
pub struct Slot(pub usize);

/// Accepts content while the archive is read.
pub struct Writers<'a> {
    store: &'a Store,
    queue: SyncSender<(usize, Vec<u8>)>,
    results: &'a Results,
    count: Cell<usize>,
}

#[derive(Default)]
struct Results {
    digests: Mutex<Vec<(usize, Digest)>>,
    failure: Mutex<Option<StoreError>>,
}

impl Writers<'_> {
    /// Stores exactly `size_bytes` from `content`.
    pub fn store(&self, path: &str, size_bytes: u64, content: &mut impl Read) -> Result<Slot, ArchiveError> {
        let slot = self.count.get();
        self.count.set(slot + 1);
        if size_bytes > SMALL_BYTES {
            let digest = self.store.put_reader(content, size_bytes)?;
            if digest.size_bytes != size_bytes {
                return Err(ArchiveError::Truncated(path.to_owned()));
            }
            self.results.add(slot, digest);
            return Ok(Slot(slot));
        }
        let mut bytes = Vec::with_capacity(size_bytes as usize);
        content.take(size_bytes).read_to_end(&mut bytes).map_err(ArchiveError::Read)?;
        if bytes.len() as u64 != size_bytes {
            return Err(ArchiveError::Truncated(path.to_owned()));
        }
        if self.queue.send((slot, bytes)).is_err() {
            // Every thread has stopped, which they do only after a failure.
            return Err(self.results.take_failure().map_or(ArchiveError::Truncated(path.to_owned()), Into::into));
        }
        Ok(Slot(slot))
    }
}

impl Results {
    fn add(&self, slot: usize, digest: Digest) {
        self.digests.lock().unwrap_or_else(PoisonError::into_inner).push((slot, digest));
    }

    fn take_failure(&self) -> Option<StoreError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Stores what the queue yields until it ends or something fails.
    fn work(&self, store: &Store, queue: &Mutex<Receiver<(usize, Vec<u8>)>>) {
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok((slot, bytes)) = next else { return };
            match store.put_bytes(&bytes) {
                Ok(digest) => self.add(slot, digest),
                Err(e) => {
                    *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(e);
                    return;
                }
            }
        }
    }
}

/// Runs `read` with writers; returns its result and the digests by slot once all content is stored.
pub fn with_writers<T>(
    store: &Store,
    read: impl FnOnce(&Writers) -> Result<T, ArchiveError>,
) -> Result<(T, Vec<Digest>), ArchiveError> {
    let results = Results::default();
    let (sender, receiver) = sync_channel(QUEUE);
    let receiver = Mutex::new(receiver);
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get()).min(LIMIT_THREADS);
    let value = std::thread::scope(|scope| {
        // The threads own the receiving end: when the last one stops, sending fails instead of waiting.
        let shared = std::sync::Arc::new(receiver);
        for _ in 0..threads {
            let (shared, results) = (shared.clone(), &results);
            scope.spawn(move || results.work(store, &shared));
        }
        drop(shared);
        let writers = Writers { store, queue: sender, results: &results, count: Cell::new(0) };
        read(&writers)
    });
    if let Some(failure) = results.take_failure() {
        return Err(failure.into());
    }
    let value = value?;
    let mut digests = results.digests.into_inner().unwrap_or_else(PoisonError::into_inner);
    digests.sort_by_key(|(slot, _)| *slot);
    Ok((value, digests.into_iter().map(|(_, digest)| digest).collect()))
}
