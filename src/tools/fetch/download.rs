//! A URL in, its bytes out as one stream, over as many connections as it takes.
//!
//! When a connection breaks, the next asks for the rest only; a server that cannot do that sends the whole
//! file again, and what has been read already is passed over. Should the file have changed in between, its
//! digest tells. Invariant: the number of connections is bounded.

use super::Reason;
use crate::io::http::{Http, Response};
use crate::io::pace::is_too_slow;
use std::io::{self, Read};
use std::time::Duration;

/// Even a server that hangs up again and again is given up at last; one that sends too slowly, at once.
const LIMIT_CONNECTIONS: usize = 64;

pub struct Download<'a> {
    http: &'a Http,
    url: &'a str,
    wanted_bytes: Option<u64>,
    pauses: &'a [Duration],
    /// Retries even when nothing has arrived yet.
    patient: bool,
    /// Bytes handed out.
    offset: u64,
    response: Option<Response>,
    connections: usize,
    /// Failures since the last byte arrived.
    failures: usize,
}

impl<'a> Download<'a> {
    pub fn new(http: &'a Http, url: &'a str, wanted_bytes: Option<u64>, pauses: &'a [Duration], patient: bool) -> Self {
        Download { http, url, wanted_bytes, pauses, patient, offset: 0, response: None, connections: 0, failures: 0 }
    }

    fn connect(&mut self) -> Result<&mut Response, Reason> {
        if self.response.is_none() {
            self.connections += 1;
            let mut response = self.http.get(self.url, self.offset).map_err(Reason::Http)?;
            let whole_bytes = response.length.map(|length| response.offset + length);
            match (whole_bytes, self.wanted_bytes) {
                (Some(found_bytes), Some(wanted_bytes)) if found_bytes != wanted_bytes => {
                    return Err(Reason::WrongSize { found_bytes, wanted_bytes });
                }
                (found_bytes, None) => self.wanted_bytes = found_bytes,
                _ => {}
            }
            let behind = self.offset - response.offset;
            let skipped = io::copy(&mut response.body.by_ref().take(behind), &mut io::sink()).map_err(Reason::Read)?;
            if skipped < behind {
                return Err(self.truncated());
            }
            self.response = Some(response);
        }
        Ok(self.response.as_mut().expect("it has just been set"))
    }

    fn attempt(&mut self, buffer: &mut [u8]) -> Result<usize, Reason> {
        let response = self.connect()?;
        let count = response.body.read(buffer).map_err(Reason::Read)?;
        if count == 0 && self.wanted_bytes.is_some_and(|wanted| self.offset < wanted) {
            return Err(self.truncated());
        }
        Ok(count)
    }

    fn truncated(&self) -> Reason {
        Reason::Truncated { got_bytes: self.offset, wanted_bytes: self.wanted_bytes.unwrap_or(self.offset) }
    }

    /// Waits, or gives up with `reason`.
    fn retry_after(&mut self, reason: Reason) -> io::Result<()> {
        self.response = None;
        let worthwhile = reason.is_transient() && self.connections < LIMIT_CONNECTIONS;
        let pause = self.pauses.get(self.failures).filter(|_| worthwhile && (self.patient || self.offset > 0));
        let Some(pause) = pause else {
            // How much arrived says more than how the last connection ended.
            let reason = match reason {
                Reason::Read(error) if self.wanted_bytes.is_some() && !is_too_slow(&error) => self.truncated(),
                reason => reason,
            };
            return Err(io::Error::other(reason));
        };
        self.failures += 1;
        std::thread::sleep(*pause);
        Ok(())
    }
}

impl Read for Download<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.wanted_bytes.is_some_and(|wanted| self.offset == wanted && self.response.is_none()) && self.offset > 0 {
            return Ok(0);
        }
        loop {
            match self.attempt(buffer) {
                Ok(count) => {
                    self.offset += count as u64;
                    if count > 0 {
                        self.failures = 0;
                    }
                    return Ok(count);
                }
                Err(reason) => self.retry_after(reason)?,
            }
        }
    }
}
