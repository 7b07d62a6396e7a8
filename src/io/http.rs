//! HTTP GET: a URL and an offset in, a body to read out.
//!
//! TLS trusts the certificates in `SSL_CERT_FILE`, or else the host's usual bundles, or, on a host without
//! any, the public roots that are built in. Proxies come from `http_proxy`, `https_proxy`, `all_proxy`
//! and `no_proxy`. Invariant: no wait is without a time limit, no body takes for ever, and an error shows no password of a URL.

use super::file;
use super::pace::{Pace, Paced};
pub use osbuild_http::without_password;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use ureq::tls::{parse_pem, PemItem, RootCerts, TlsConfig};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest silence in the middle of a body.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);
const LIMIT_CERTIFICATES_BYTES: u64 = 16 << 20;
/// Names a file of certificates in place of the host's.
const CERTIFICATES_VARIABLE: &str = "SSL_CERT_FILE";
const BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// A client; keeps connections open between requests. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Http {
    agent: ureq::Agent,
    /// What is wrong with the certificates that the user chose; no other ones stand in for them.
    wrong_certificates: Option<String>,
    pace: Pace,
}

/// What a server answered.
pub struct Response {
    /// Offset in the file at which `body` starts: what was asked for, or 0 when the server cannot resume.
    pub offset: u64,
    /// Bytes in the body, when the server says so.
    pub length: Option<u64>,
    pub body: Box<dyn Read + Send>,
}

#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("`{url}` does not exist on the server: status {status}")]
    NotFound { url: String, status: u16 },
    #[error("the server refused `{url}`: status {status}")]
    Status { url: String, status: u16 },
    #[error("cannot get `{url}`")]
    Transport {
        url: String,
        #[source]
        source: Box<ureq::Error>,
    },
    #[error("cannot read the body of `{url}`")]
    Body {
        url: String,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot get `{url}`: {reason}")]
    Certificates { url: String, reason: String },
    #[error("`{url}` is larger than the limit for its kind: {limit_bytes} bytes")]
    TooLarge { url: String, limit_bytes: u64 },
}

impl HttpError {
    /// Whether another try may end differently.
    pub fn is_transient(&self) -> bool {
        match self {
            HttpError::Status { status, .. } => *status >= 500 || matches!(status, 408 | 429),
            HttpError::Transport { source, .. } => {
                use ureq::Error::{BadUri, Http, LargeResponseHeader, Tls};
                !matches!(**source, BadUri(_) | Http(_) | Tls(_) | LargeResponseHeader(..))
            }
            HttpError::Body { .. } => true,
            HttpError::NotFound { .. } | HttpError::TooLarge { .. } | HttpError::Certificates { .. } => false,
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Http::new()
    }
}

impl Http {
    pub fn new() -> Http {
        let chosen = std::env::var_os(CERTIFICATES_VARIABLE).filter(|value| !value.is_empty());
        Http::trusting(chosen.map(PathBuf::from).as_deref())
    }

    /// Trusts the certificates in `chosen`, or else the host's.
    fn trusting(chosen: Option<&Path>) -> Http {
        let (roots, wrong_certificates) = match chosen.map(chosen_roots) {
            Some(Ok(roots)) => (Some(roots), None),
            // None at all, for a server reached by a redirect.
            Some(Err(reason)) => (Some(RootCerts::Specific(Arc::default())), Some(reason)),
            None => (system_roots(), None),
        };
        let tls = TlsConfig::builder().root_certs(roots.unwrap_or(RootCerts::WebPki)).build();
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .user_agent(concat!("osbuild/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(ANSWER_TIMEOUT))
            .timeout_per_read(Some(SILENCE_TIMEOUT))
            .tls_config(tls)
            .build();
        Http { agent: config.new_agent(), wrong_certificates, pace: Pace::default() }
    }

    /// Expects bodies at another pace.
    pub fn at(self, pace: Pace) -> Http {
        Http { pace, ..self }
    }

    /// Asks for `url` from byte `offset` on.
    pub fn get(&self, url: &str, offset: u64) -> Result<Response, HttpError> {
        let shown = without_password(url);
        if let Some(reason) = self.wrong_certificates.clone().filter(|_| is_https(url)) {
            return Err(HttpError::Certificates { url: shown, reason });
        }
        let mut request = self.agent.get(url);
        if offset > 0 {
            request = request.header("Range", format!("bytes={offset}-"));
        }
        let failed = |source| HttpError::Transport { url: shown.clone(), source: Box::new(source) };
        let response = request.call().map_err(failed)?;
        let status = response.status().as_u16();
        let offset = match status {
            200 => 0,
            206 if content_range_start(&response) == Some(offset) => offset,
            404 | 410 => return Err(HttpError::NotFound { url: shown, status }),
            _ => return Err(HttpError::Status { url: shown, status }),
        };
        let body = response.into_body();
        let length = body.content_length();
        let body = Paced::new(body.into_with_config().limit(u64::MAX).reader(), self.pace);
        Ok(Response { offset, length, body: Box::new(body) })
    }

    /// The whole of a small file.
    pub fn get_bytes(&self, url: &str, limit_bytes: u64) -> Result<Vec<u8>, HttpError> {
        let response = self.get(url, 0)?;
        let mut bytes = Vec::new();
        let failed = |source| HttpError::Body { url: without_password(url), source };
        response.body.take(limit_bytes + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > limit_bytes {
            return Err(HttpError::TooLarge { url: without_password(url), limit_bytes });
        }
        Ok(bytes)
    }
}

/// The first byte position of `Content-Range: bytes 100-199/200`. RFC 9110, section 14.4.
fn content_range_start(response: &ureq::http::Response<ureq::Body>) -> Option<u64> {
    let value = response.headers().get("content-range")?.to_str().ok()?;
    value.strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}

fn system_roots() -> Option<RootCerts> {
    let path = BUNDLES.into_iter().map(Path::new).find(|path| path.is_file())?;
    roots_in(&file::read(path, LIMIT_CERTIFICATES_BYTES).ok()?)
}

fn chosen_roots(path: &Path) -> Result<RootCerts, String> {
    let place = format!("`{}`, which {CERTIFICATES_VARIABLE} names,", path.display());
    let bytes = file::read(path, LIMIT_CERTIFICATES_BYTES)
        .map_err(|error| format!("{place} cannot be read: {}", error.source))?;
    roots_in(&bytes).ok_or_else(|| format!("{place} holds no certificate"))
}

/// A bundle may hold items of other kinds, or one damaged certificate among good ones.
fn roots_in(bytes: &[u8]) -> Option<RootCerts> {
    let certificates = parse_pem(bytes).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    let certificates: Vec<_> = certificates.collect();
    (!certificates.is_empty()).then(|| RootCerts::Specific(Arc::new(certificates)))
}

fn is_https(url: &str) -> bool {
    url.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_that_were_chosen_are_never_replaced_by_others() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty.pem");
        file::write_atomic(&empty, b"none here", 0o644).unwrap();
        for (path, part) in [(folder.path().join("missing.pem"), "cannot be read"), (empty, "holds no certificate")] {
            let error = Http::trusting(Some(&path)).get("HTTPS://127.0.0.1:1/x", 0).err().expect("refused");
            let text = error.to_string();
            assert!(text.contains(part) && text.contains(CERTIFICATES_VARIABLE), "{text}");
            assert!(!error.is_transient());
        }
    }
}
