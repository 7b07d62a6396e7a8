//! The two base URLs of a repository to a fetcher over HTTP.
//!
//! Invariant: only the answers of a server that say that a file is missing count as missing.

use osbuild_http::{Client, HttpError};
use osbuild_tuf::{FetchError, Fetcher};
use std::io::Write;

pub struct HttpFetcher {
    client: Client,
    metadata: String,
    targets: String,
}

impl HttpFetcher {
    pub fn new(client: Client, metadata: String, targets: Option<String>) -> HttpFetcher {
        HttpFetcher { client, metadata, targets: targets.unwrap_or_default() }
    }
}

impl Fetcher for HttpFetcher {
    fn metadata(&mut self, name: &str, limit_bytes: u64) -> Result<Vec<u8>, FetchError> {
        self.client.get(&join(&self.metadata, name), limit_bytes).map_err(fetch_error)
    }

    fn target(&mut self, path: &str, length_bytes: u64, sink: &mut dyn Write) -> Result<(), FetchError> {
        self.client.get_to(&join(&self.targets, path), length_bytes, sink).map_err(fetch_error)?;
        Ok(())
    }
}

fn join(base: &str, name: &str) -> String {
    format!("{}/{name}", base.trim_end_matches('/'))
}

fn fetch_error(error: HttpError) -> FetchError {
    match error {
        error if error.is_missing() => FetchError::Missing,
        HttpError::TooLong { limit_bytes, .. } => FetchError::TooLong(limit_bytes),
        error => FetchError::failed(error),
    }
}
