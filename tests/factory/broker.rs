//! Mosquitto on this host, with TLS, and its clients: programs of the tool tree `broker`.
//!
//! Invariant: it listens on loopback only; its keys are made for one test.

use osbuild::tools::board::{Launch, Process, ToolRoot};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);
const BETWEEN: Duration = Duration::from_millis(100);
const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

pub struct Broker {
    tools: ToolRoot,
    folder: PathBuf,
    pub port: u16,
    running: Option<Process>,
    clients: std::cell::Cell<u32>,
}

/// A client that hears of a topic.
pub struct Listener {
    _process: Process,
    log: PathBuf,
}

impl Broker {
    /// Makes an authority and a certificate for `address`; the port is one that is free.
    pub fn new(tools: PathBuf, folder: PathBuf, address: &str) -> Broker {
        std::fs::create_dir_all(&folder).expect("a folder");
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = free.local_addr().expect("its number").port();
        let broker = Broker { tools: ToolRoot::new(tools), folder, port, running: None, clients: 0.into() };
        let at = |name: &str| broker.folder.join(name).display().to_string();
        let (authority, authority_key) = (at("ca.pem"), at("ca.key"));
        let (certificate, key, request) = (at("broker.pem"), at("broker.key"), at("broker.csr"));
        broker.openssl(&format!("req -x509 {KEY} -keyout {authority_key} -out {authority} -days 365 -subj /CN=test"));
        let name = format!("-subj /CN=broker -addext subjectAltName=IP:{address}");
        broker.openssl(&format!("req {KEY} -keyout {key} -out {request} {name}"));
        let by = format!("-CA {authority} -CAkey {authority_key} -CAcreateserial -copy_extensions copy -days 365");
        broker.openssl(&format!("x509 -req -in {request} {by} -out {certificate}"));
        let settings = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nlog_dest stderr\nlog_type all\ncafile {authority}\ncertfile {certificate}\nkeyfile {key}\n"
        );
        std::fs::write(broker.folder.join("mosquitto.conf"), settings).expect("written");
        broker
    }

    /// As PEM.
    pub fn authority(&self) -> String {
        std::fs::read_to_string(self.folder.join("ca.pem")).expect("made")
    }

    fn launch(&self, program: &str, words: &str, log: &str) -> Launch {
        Launch {
            program: program.to_owned(),
            args: words.split_whitespace().map(Into::into).collect(),
            scratch: self.folder.clone(),
            writable: vec![self.folder.clone()],
            log: Some(self.folder.join(log)),
            ..Launch::default()
        }
    }

    fn openssl(&self, words: &str) {
        self.tools.run(self.launch("/usr/bin/openssl", words, "openssl.log"), PATIENCE).expect("openssl");
    }

    pub fn start(&mut self) {
        let settings = self.folder.join("mosquitto.conf");
        let launch = self.launch("/usr/sbin/mosquitto", &format!("-c {}", settings.display()), "mosquitto.log");
        self.running = Some(self.tools.spawn(launch).expect("a broker"));
        let start = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            assert!(start.elapsed() < PATIENCE, "the broker does not listen: {}", self.log());
            std::thread::sleep(BETWEEN);
        }
    }

    pub fn stop(&mut self) {
        self.running = None;
    }

    /// Words of a client: TLS, but without a look at the name, for it connects to another address than the device does.
    fn client(&self, port: u16, topic: &str) -> String {
        format!("-h 127.0.0.1 -p {port} --cafile {} --insecure -q 1 -t {topic}", self.folder.join("ca.pem").display())
    }

    pub fn listen(&self, topic: &str) -> Listener {
        let number = self.clients.replace(self.clients.get() + 1);
        let name = format!("client-{number}.log");
        let (words, before) = (format!("{} -v", self.client(self.port, topic)), self.subscriptions());
        let process = self.tools.spawn(self.launch("/usr/bin/mosquitto_sub", &words, &name)).expect("a client");
        let start = Instant::now();
        while self.subscriptions() == before {
            assert!(start.elapsed() < PATIENCE, "nobody subscribes to `{topic}`: {}", self.log());
            std::thread::sleep(BETWEEN);
        }
        Listener { _process: process, log: self.folder.join(name) }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("mosquitto.log")).unwrap_or_default()
    }

    /// What clients write of it comes late where nobody watches; the broker's log does not.
    fn subscriptions(&self) -> usize {
        self.log().matches("Sending SUBACK").count()
    }

    /// Through whatever leads from this port of the host's loopback to the broker.
    pub fn publish_at(&self, port: u16, topic: &str, text: &str) {
        let words = format!("{} -m {text}", self.client(port, topic));
        self.tools.run(self.launch("/usr/bin/mosquitto_pub", &words, "publish.log"), PATIENCE).expect("published");
    }
}

impl Listener {
    pub fn hears(&self, wanted: &str, patience: Duration) {
        let start = Instant::now();
        loop {
            let heard = std::fs::read_to_string(&self.log).unwrap_or_default();
            if heard.contains(wanted) {
                return;
            }
            assert!(start.elapsed() < patience, "`{wanted}` does not come: {heard}");
            std::thread::sleep(BETWEEN);
        }
    }
}
