//! A host and a port to a stream of bytes, with TLS where somebody is named who may vouch for the broker.
//!
//! Invariant: with TLS, only a certificate for that very host or address, vouched for by one of our own authorities,
//! is accepted; every wait has an end.

use crate::settings::{Authorities, Broker};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);
/// Of one name; more would keep the watchdog waiting.
const LIMIT_ADDRESSES: usize = 2;

pub trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// Connects; the TLS handshake follows with the first bytes.
pub fn connect(broker: &Broker) -> Result<Box<dyn Stream>, String> {
    // Read anew each time: an authority put into the app's storage counts from the next connection on.
    let config = broker.authorities.as_ref().map(config).transpose()?;
    let stream = dial(&broker.host, broker.port)?;
    let Some(config) = config else { return Ok(Box::new(stream)) };
    let name = ServerName::try_from(broker.host.clone()).map_err(|e| e.to_string())?;
    let session = ClientConnection::new(Arc::new(config), name).map_err(|e| e.to_string())?;
    Ok(Box::new(StreamOwned::new(session, stream)))
}

fn dial(host: &str, port: u16) -> Result<TcpStream, String> {
    let addresses = (host, port).to_socket_addrs().map_err(|e| format!("no address: {e}"))?;
    let mut problem = "no address".to_owned();
    for address in addresses.filter(|address| address.is_ipv4()).take(LIMIT_ADDRESSES) {
        let dialled = TcpStream::connect_timeout(&address, PATIENCE).and_then(|stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            stream.set_nodelay(true)?;
            Ok(stream)
        });
        match dialled {
            Ok(stream) => return Ok(stream),
            Err(error) => problem = format!("{address}: {error}"),
        }
    }
    Err(problem)
}

fn config(authorities: &Authorities) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    let mut add = |certificate: Result<CertificateDer<'static>, pem::Error>| -> Result<(), String> {
        roots.add(certificate.map_err(|e| e.to_string())?).map_err(|e| e.to_string())
    };
    match authorities {
        Authorities::Text(text) => CertificateDer::pem_slice_iter(text.as_bytes()).try_for_each(&mut add),
        Authorities::Files(files) => match files.iter().find(|file| file.exists()) {
            None => Err(format!("there is none at {files:?}")),
            Some(file) => CertificateDer::pem_file_iter(file)
                .map_err(|e| e.to_string())
                .and_then(|mut certificates| certificates.try_for_each(&mut add))
                .map_err(|e| format!("`{}`: {e}", file.display())),
        },
    }
    .map_err(|e| format!("the broker's certificate authority: {e}"))?;
    if roots.is_empty() {
        return Err("the broker's certificate authority: there is no certificate in it".to_owned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(builder.map_err(|e| e.to_string())?.with_root_certificates(roots).with_no_client_auth())
}
