//! What went wrong between here and a server.
//!
//! Invariant: an error names the URL, without a password, and tells what the server does from what the network does.

use std::error::Error;
use std::io;
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("the server answered `{url}` with status: {status}")]
    Status { url: String, status: u16 },
    #[error("`{url}` is no URL of a kind that can be fetched: http or https")]
    Url { url: String },
    #[error("`{url}` redirects to `{to}`, which is refused: {reason}")]
    Redirect { url: String, to: String, reason: &'static str },
    #[error("`{url}` is longer than the limit of {limit_bytes} bytes")]
    TooLong { url: String, limit_bytes: u64 },
    #[error("the body of `{url}` ended after {found} bytes of: {wanted}")]
    Truncated { url: String, wanted: u64, found: u64 },
    #[error("the server cannot send parts of `{url}`, and the part that is wanted is not its start: the files need a server that answers range requests")]
    NoRanges { url: String },
    #[error("the server sent another part of `{url}` than was asked for: {found}")]
    WrongRange { url: String, found: String },
    #[error("the server let `{url}` wait for too long")]
    Timeout { url: String },
    #[error("the server is too slow: of `{url}` it sent {found} bytes in {} seconds", .after.as_secs())]
    TooSlow { url: String, found: u64, after: Duration },
    #[error("the server closed or reset the connection for `{url}`")]
    Reset {
        url: String,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    #[error("the certificate of the server of `{url}` is not trusted, which may also be due to a wrong clock here")]
    Certificate {
        url: String,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    #[error("cannot get `{url}`")]
    Transport {
        url: String,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    #[error("cannot pass on what came of `{url}`")]
    Sink {
        url: String,
        #[source]
        source: io::Error,
    },
    #[error("the certificates that servers have to be signed by cannot be used: {0}")]
    Authorities(&'static str),
}

impl HttpError {
    /// Whether the server says that there is no such file. Stores of files say 403 where no listing is allowed.
    pub fn is_missing(&self) -> bool {
        matches!(self, HttpError::Status { status: 403 | 404 | 410, .. })
    }

    /// Whether another try may end differently.
    pub fn is_transient(&self) -> bool {
        match self {
            HttpError::Status { status, .. } => *status >= 500 || matches!(status, 408 | 429),
            HttpError::Truncated { .. }
            | HttpError::Timeout { .. }
            | HttpError::TooSlow { .. }
            | HttpError::Reset { .. }
            | HttpError::Certificate { .. }
            | HttpError::Transport { .. } => true,
            _ => false,
        }
    }

    pub(crate) fn of_ureq(url: &str, error: ureq::Error) -> HttpError {
        let url = without_password(url);
        match error {
            ureq::Error::Timeout(_) => HttpError::Timeout { url },
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => HttpError::Url { url },
            ureq::Error::Io(error) => HttpError::of_io(url, error),
            error => HttpError::by_text(url, error.into()),
        }
    }

    /// Of reading a body.
    pub(crate) fn of_body(url: &str, error: io::Error) -> HttpError {
        match error.downcast::<ureq::Error>() {
            Ok(error) => HttpError::of_ureq(url, error),
            Err(error) => HttpError::of_io(without_password(url), error),
        }
    }

    fn of_io(url: String, error: io::Error) -> HttpError {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof, WouldBlock};
        match error.kind() {
            TimedOut | WouldBlock => HttpError::Timeout { url },
            BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => {
                HttpError::Reset { url, source: error.into() }
            }
            _ => HttpError::by_text(url, error.into()),
        }
    }

    /// The type of a TLS error is no part of what the library promises; the word is.
    fn by_text(url: String, source: Box<dyn Error + Send + Sync>) -> HttpError {
        match source.to_string().contains("certificate") {
            true => HttpError::Certificate { url, source },
            false => HttpError::Transport { url, source },
        }
    }
}

/// `https://user:secret@host/x` as `https://host/x`.
pub fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_do_not_reach_messages() {
        assert_eq!(without_password("https://me:pw@h/a@b"), "https://h/a@b");
        assert_eq!(without_password("http://h:80/x"), "http://h:80/x");
        assert_eq!(without_password("nonsense"), "nonsense");
    }
}
