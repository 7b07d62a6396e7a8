//! GET requests and their answers.
//!
//! Invariant: a body is passed on part by part and cut at its limit; a range is passed on only when the server says that it is
//! the very one; nothing of the environment, such as a proxy, takes part.

use crate::error::without_password;
use crate::location::follow;
use crate::pace::{Paced, TooSlow};
use crate::range::content_range;
use crate::{HttpError, Pace};
use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::Duration;
use ureq::http::Response;
use ureq::tls::{parse_pem, PemItem, RootCerts, TlsConfig};
use ureq::Body;

const LIMIT_HEADERS_BYTES: usize = 32 << 10;
const LIMIT_CERTIFICATES: usize = 1024;
/// What is taken from the network at once.
const PART_BYTES: usize = 16 << 10;

#[derive(Clone, Debug)]
pub struct Settings {
    /// Name, address, TCP and TLS together.
    pub connect_timeout: Duration,
    /// From the request to the end of the answer's headers.
    pub answer_timeout: Duration,
    /// Longest silence in the middle of a body.
    pub silence_timeout: Duration,
    pub pace: Pace,
    /// How often one request may be sent elsewhere.
    pub redirects: u32,
    /// PEM of the authorities whose servers are trusted; none: the public ones that are built in.
    pub authorities: Option<Vec<u8>>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            connect_timeout: Duration::from_secs(15),
            answer_timeout: Duration::from_secs(30),
            silence_timeout: Duration::from_secs(30),
            pace: Pace::default(),
            redirects: 3,
            authorities: None,
        }
    }
}

/// Keeps one connection open between requests. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    agent: ureq::Agent,
    pace: Pace,
    redirects: u32,
}

impl Client {
    pub fn new(settings: &Settings) -> Result<Client, HttpError> {
        let roots = settings.authorities.as_deref().map_or(Ok(RootCerts::WebPki), authorities)?;
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .user_agent(concat!("osbuild/", env!("CARGO_PKG_VERSION")))
            .proxy(None)
            // They are followed here, where the next URL can be looked at.
            .max_redirects(0)
            .max_response_header_size(LIMIT_HEADERS_BYTES)
            .max_idle_connections(1)
            .max_idle_connections_per_host(1)
            .timeout_connect(Some(settings.connect_timeout))
            .timeout_send_request(Some(settings.answer_timeout))
            .timeout_recv_response(Some(settings.answer_timeout))
            .timeout_per_read(Some(settings.silence_timeout))
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .build();
        Ok(Client { agent: config.new_agent(), pace: settings.pace, redirects: settings.redirects })
    }

    /// The whole of a file.
    pub fn get(&self, url: &str, limit_bytes: u64) -> Result<Vec<u8>, HttpError> {
        let mut bytes = Vec::new();
        self.get_to(url, limit_bytes, &mut bytes)?;
        Ok(bytes)
    }

    /// Writes the whole of a file to `sink`, and counts its bytes. A longer file is refused, before or when it is too long.
    pub fn get_to(&self, url: &str, limit_bytes: u64, sink: &mut dyn Write) -> Result<u64, HttpError> {
        let response = self.request(url, None)?;
        match response.status().as_u16() {
            200 => {}
            status => return Err(HttpError::Status { url: without_password(url), status }),
        }
        let announced = response.body().content_length();
        if announced.is_some_and(|length| length > limit_bytes) {
            return Err(HttpError::TooLong { url: without_password(url), limit_bytes });
        }
        self.copy(url, response, Extent { most: limit_bytes.saturating_add(1), limit_bytes, wanted: announced }, sink)
    }

    /// Exactly `length` bytes of a file, from byte `offset` on.
    pub fn range(&self, url: &str, offset: u64, length: u64) -> Result<Vec<u8>, HttpError> {
        let mut bytes = Vec::new();
        self.range_to(url, offset, length, &mut bytes)?;
        Ok(bytes)
    }

    /// Writes exactly that part to `sink`.
    pub fn range_to(&self, url: &str, offset: u64, length: u64, sink: &mut dyn Write) -> Result<(), HttpError> {
        if length == 0 {
            return Ok(());
        }
        let last = offset.saturating_add(length - 1);
        let response = self.request(url, Some((offset, last)))?;
        let extent = Extent { most: length.saturating_add(1), limit_bytes: length, wanted: Some(length) };
        let extent = match response.status().as_u16() {
            206 => {
                let value = response.headers().get("content-range").and_then(|value| value.to_str().ok());
                if value.and_then(content_range) != Some((offset, last)) {
                    let found = value.unwrap_or("no Content-Range").chars().take(80).collect();
                    return Err(HttpError::WrongRange { url: without_password(url), found });
                }
                if response.body().content_length().is_some_and(|found| found != length) {
                    let found = "a body of another length than its Content-Range".to_owned();
                    return Err(HttpError::WrongRange { url: without_password(url), found });
                }
                extent
            }
            // The start of the whole file is the part that was asked for; what follows is not read.
            200 if offset == 0 => Extent { most: length, ..extent },
            200 => return Err(HttpError::NoRanges { url: without_password(url) }),
            status => return Err(HttpError::Status { url: without_password(url), status }),
        };
        self.copy(url, response, extent, sink)?;
        Ok(())
    }

    /// The answer to a GET, wherever it comes from.
    fn request(&self, url: &str, range: Option<(u64, u64)>) -> Result<Response<Body>, HttpError> {
        let is_known = |scheme: &str| scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
        if !url.split_once("://").is_some_and(|(scheme, _)| is_known(scheme)) {
            return Err(HttpError::Url { url: without_password(url) });
        }
        let mut at = url.to_owned();
        for _ in 0..=self.redirects {
            let mut request = self.agent.get(&at);
            if let Some((first, last)) = range {
                request = request.header("Range", format!("bytes={first}-{last}"));
            }
            let response = request.call().map_err(|error| HttpError::of_ureq(&at, error))?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            let location = response.headers().get("location").and_then(|value| value.to_str().ok()).unwrap_or_default();
            at = follow(&at, location).map_err(|reason| redirected(&at, location, reason))?;
        }
        Err(redirected(url, &at, "there are too many redirects"))
    }

    /// Passes on a body, and counts its bytes.
    fn copy(
        &self,
        url: &str,
        response: Response<Body>,
        extent: Extent,
        sink: &mut dyn Write,
    ) -> Result<u64, HttpError> {
        let body = response.into_body().into_with_config().limit(u64::MAX).reader();
        let mut body = Paced::new(body, self.pace).take(extent.most);
        let mut part = vec![0; PART_BYTES];
        let mut found = 0;
        loop {
            let count = match body.read(&mut part) {
                Err(error) if error.kind() == ErrorKind::UnexpectedEof && extent.wanted.is_some() => 0,
                read => read.map_err(|error| failed(url, error))?,
            };
            if count == 0 {
                break;
            }
            found += count as u64;
            if found > extent.limit_bytes {
                return Err(HttpError::TooLong { url: without_password(url), limit_bytes: extent.limit_bytes });
            }
            sink.write_all(&part[..count]).map_err(|source| HttpError::Sink { url: without_password(url), source })?;
        }
        match extent.wanted.filter(|wanted| *wanted != found) {
            Some(wanted) => Err(HttpError::Truncated { url: without_password(url), wanted, found }),
            None => Ok(found),
        }
    }
}

/// How long a body is. To read one byte more than there should be shows that there are none, and frees the connection for the
/// next request.
#[derive(Clone, Copy)]
struct Extent {
    /// What is read.
    most: u64,
    /// More is an error.
    limit_bytes: u64,
    /// Less or more is an error, where it is known.
    wanted: Option<u64>,
}

fn failed(url: &str, error: std::io::Error) -> HttpError {
    match error.downcast::<TooSlow>() {
        Ok(TooSlow { found, after }) => HttpError::TooSlow { url: without_password(url), found, after },
        Err(error) => HttpError::of_body(url, error),
    }
}

fn redirected(url: &str, to: &str, reason: &'static str) -> HttpError {
    let to = without_password(to).chars().take(200).collect::<String>().escape_debug().to_string();
    HttpError::Redirect { url: without_password(url), to, reason }
}

/// A damaged certificate among good ones is an error here: whoever built the image has to know.
fn authorities(pem: &[u8]) -> Result<RootCerts, HttpError> {
    let mut certificates = Vec::new();
    for item in parse_pem(pem) {
        match item.map_err(|_| HttpError::Authorities("the PEM is damaged"))? {
            PemItem::Certificate(certificate) => certificates.push(certificate),
            _ => return Err(HttpError::Authorities("the PEM holds something else than certificates")),
        }
    }
    match certificates.len() {
        0 => Err(HttpError::Authorities("the PEM holds no certificate")),
        1..=LIMIT_CERTIFICATES => Ok(RootCerts::Specific(Arc::new(certificates))),
        _ => Err(HttpError::Authorities("the PEM holds too many certificates")),
    }
}
