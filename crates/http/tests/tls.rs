//! HTTPS: which servers are trusted, and what is said of the others.

use osbuild_http::{Client, HttpError, Settings};
use rcgen::{date_time_ymd, BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

struct Authority {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    fn new() -> Authority {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("signed");
        Authority { certificate, key }
    }

    /// Address of a server whose certificate is good in these years for this name.
    fn serve(&self, name: &str, years: (i32, i32)) -> String {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        (params.not_before, params.not_after) = (date_time_ymd(years.0, 1, 1), date_time_ymd(years.1, 1, 1));
        let certificate = params.signed_by(&key, &self.certificate, &self.key).expect("signed");
        let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.expect("versions").with_no_client_auth();
        let config = Arc::new(config.with_single_cert(vec![certificate.der().clone()], private).expect("a pair"));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        std::thread::spawn(move || {
            for stream in listener.incoming().take(1).flatten() {
                let connection = rustls::ServerConnection::new(config.clone()).expect("a connection");
                let mut stream = rustls::StreamOwned::new(connection, stream);
                let mut request = [0; 4096];
                if stream.read(&mut request).is_ok() {
                    // A client that did not like the certificate is gone.
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood");
                }
            }
        });
        format!("https://localhost:{port}/file")
    }

    fn client(&self) -> Client {
        let authorities = Some(self.certificate.pem().into_bytes());
        let settings = Settings { authorities, answer_timeout: Duration::from_secs(5), ..Settings::default() };
        Client::new(&settings).expect("a good certificate")
    }
}

#[test]
fn a_server_of_the_chosen_authority_is_trusted_and_no_other() {
    let (ours, other) = (Authority::new(), Authority::new());
    assert_eq!(ours.client().get(&ours.serve("localhost", (2020, 2100)), 10).expect("trusted"), b"good");
    let public = Client::new(&Settings::default()).expect("built in");
    for (client, url) in [
        (ours.client(), other.serve("localhost", (2020, 2100))),
        (public, ours.serve("localhost", (2020, 2100))),
        (ours.client(), ours.serve("elsewhere.example", (2020, 2100))),
    ] {
        let error = client.get(&url, 10).expect_err("not trusted");
        assert!(matches!(error, HttpError::Certificate { .. }), "{error:?}");
    }
}

#[test]
fn a_certificate_of_another_time_is_told_as_one() {
    let ours = Authority::new();
    for years in [(2020, 2021), (2090, 2100)] {
        let error = ours.client().get(&ours.serve("localhost", years), 10).expect_err("not now");
        assert!(matches!(error, HttpError::Certificate { .. }), "{years:?}: {error:?}");
        assert!(error.to_string().contains("wrong clock"), "{error}");
        assert!(error.is_transient());
    }
}

#[test]
fn a_server_without_tls_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().take(1).flatten() {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood");
        }
    });
    let client = Client::new(&Settings::default()).expect("built in");
    let error = client.get(&format!("https://localhost:{port}/"), 10).expect_err("no TLS");
    assert!(matches!(error, HttpError::Transport { .. } | HttpError::Reset { .. }), "{error:?}");
}
