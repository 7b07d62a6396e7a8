//! The kernel's verdict on two apps, a device and a network around it, each a namespace of its own.

use super::namespace::{self, make, tests::is_root, within};
use super::resolver::question;
use super::*;
use crate::network::dns;
use osbuild_sys::network::{add_default_route, bring_up, leave_network, set_address};
use serde_json::{json, Value};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

const SOON: Duration = Duration::from_millis(500);
/// [`within`] gives no more.
const LATE: Duration = Duration::from_secs(4);
const SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
const DEVICE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);

pub fn manifest(id: &str, capabilities: Value) -> Manifest {
    let value = json!({
        "format": 1, "id": id, "version": "1.0.0", "title": id, "architecture": "x86_64", "abi": {"runtime": 1},
        "image": {"data_blocks": 1, "root_hash": "0".repeat(64), "salt": ""}, "argv": ["/a"],
        "capabilities": capabilities, "health": {"tcp": {"port": 7000, "seconds": 1}},
    });
    Manifest::from_json(value.to_string().as_bytes()).expect("valid")
}

fn config() -> DeviceConfig {
    let value = json!({
        "format": 1, "product": "p", "version": "1.0.0", "machine": "m", "hostname": "h", "console": "ttyS0",
        "interfaces": {"DOWN": "down"}, "dns_servers": [SERVER],
    });
    DeviceConfig::from_json(value.to_string().as_bytes()).expect("valid")
}

fn log() -> Arc<Log> {
    let (_, written) = std::os::unix::net::UnixStream::pair().expect("a pair");
    Arc::new(Log::in_file(File::from(OwnedFd::from(written))))
}

/// In a device of its own, joined to a network with one server, whose handle the test gets.
fn on_a_device(test: impl FnOnce(OwnedFd) + Send + 'static) {
    if !is_root() {
        return;
    }
    let device = move || {
        leave_network().expect("a namespace");
        let server = make(false).expect("a namespace").handle;
        link::pair("wan", "lan", server.as_fd()).expect("a pair");
        set_address("wan", DEVICE, 24).expect("an address");
        bring_up("wan").expect("up");
        within(&server, || {
            set_address("lan", SERVER, 24)?;
            bring_up("lan")?;
            add_default_route("lan", DEVICE)
        })
        .expect("the server's end");
        test(server);
    };
    std::thread::spawn(device).join().expect("the test passes");
}

/// Answers each connection with the sender's address.
fn serve(place: &OwnedFd, port: u16) {
    let listener = within(place, move || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))).expect("bound");
    std::thread::spawn(move || {
        while let Ok((mut stream, from)) = listener.accept() {
            let _ = stream.write_all(from.ip().to_string().as_bytes());
        }
    });
}

/// What the server said, or why there is none.
fn ask(place: &OwnedFd, to: impl Into<SocketAddr>) -> Result<String, ErrorKind> {
    ask_for(SOON, place, to)
}

/// The same where an answer is expected, on a machine that may be busy.
fn reach(place: &OwnedFd, to: impl Into<SocketAddr>) -> Result<String, ErrorKind> {
    ask_for(LATE, place, to)
}

fn ask_for(patience: Duration, place: &OwnedFd, to: impl Into<SocketAddr>) -> Result<String, ErrorKind> {
    let to = to.into();
    let asked = within(place, move || {
        let mut stream = TcpStream::connect_timeout(&to, patience)?;
        stream.set_read_timeout(Some(patience))?;
        let mut text = String::new();
        stream.read_to_string(&mut text).map(|_| text)
    });
    asked.map_err(|error| error.kind())
}

/// The device's own namespace, for [`within`].
fn here() -> OwnedFd {
    namespace::own().expect("a handle")
}

const DENIED: Result<String, ErrorKind> = Err(ErrorKind::HostUnreachable);

/// The kernel says it six times in a row, then once a second (`icmp_ratelimit`).
fn is_denied(answer: &Result<String, ErrorKind>) -> bool {
    matches!(answer, Err(ErrorKind::HostUnreachable | ErrorKind::TimedOut))
}

#[test]
fn an_app_reaches_what_it_names_and_nothing_else() {
    on_a_device(|server| {
        let networks = Networks::new(&config(), &Network::offline(), &log());
        let connect = json!({"connect": [{"host": SERVER.to_string(), "port": 80, "protocol": "tcp"},
            {"host": "198.18.0.6", "port": 80, "protocol": "tcp"}, {"host": DEVICE.to_string(), "port": 80, "protocol": "tcp"}]});
        let app = networks.add(0, &manifest("a", connect)).expect("a network");
        let other =
            networks.add(1, &manifest("b", json!({"listen": [{"port": 80, "protocol": "tcp", "from": "apps"}]})));
        let other = other.expect("a network");
        for (place, port) in [(&server, 80), (&server, 81), (&other.namespace, 80), (&here(), 80)] {
            serve(place, port);
        }
        // In the device's name.
        assert_eq!(reach(&app.namespace, (SERVER, 80)), Ok(DEVICE.to_string()));
        assert_eq!(reach(&app.namespace, (SERVER, 81)), DENIED);
        assert!(is_denied(&ask(&app.namespace, (other.address, 80))));
        // Its own device, under each of its addresses, named or not.
        for address in [DEVICE, Ipv4Addr::new(198, 18, 0, 1), Ipv4Addr::new(198, 18, 0, 5)] {
            assert!(is_denied(&ask(&app.namespace, (address, 80))), "{address}");
        }
        // Nobody comes in.
        assert!(ask(&here(), (app.address, 80)).is_err() && ask(&here(), (other.address, 80)).is_err());
        let at_app = SocketAddr::from((other.address, 80));
        assert!(ask(&server, at_app).is_err() && ask(&other.namespace, (app.address, 80)).is_err());
        // A protocol that was not named.
        let denied = within(&app.namespace, || {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.connect((SERVER, 80))?;
            socket.send(b"x")?;
            socket.set_read_timeout(Some(LATE))?;
            socket.recv(&mut [0; 9])
        });
        let denied = denied.expect_err("denied").kind();
        assert!(matches!(denied, ErrorKind::HostUnreachable | ErrorKind::WouldBlock), "{denied}");
        drop(other);
        drop(app);
        let app = networks.add(0, &manifest("a", json!({"listen": []}))).expect("it may come back");
        assert!(is_denied(&ask(&app.namespace, (SERVER, 80))));
    });
}

#[test]
fn an_app_that_lies_about_its_address_or_speaks_ipv6_is_not_heard() {
    on_a_device(|server| {
        let networks = Networks::new(&config(), &Network::offline(), &log());
        let connect = json!({"connect": [{"host": SERVER.to_string(), "port": 80, "protocol": "udp"}]});
        let app = networks.add(0, &manifest("a", connect)).expect("a network");
        let socket = within(&server, || UdpSocket::bind((SERVER, 80))).expect("bound");
        socket.set_read_timeout(Some(SOON)).expect("a timeout");
        let send = |from: &'static str| {
            let sent = within(&app.namespace, move || {
                set_address(link::INNER, from.parse().expect("an address"), 30)?;
                let _ = add_default_route(link::INNER, Ipv4Addr::new(198, 18, 0, 1));
                UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?.send_to(b"hello", (SERVER, 80))
            });
            sent.expect("sent");
            socket.recv(&mut [0; 9]).map_err(|error| error.kind())
        };
        assert_eq!(send("198.18.0.2"), Ok(5));
        assert_eq!(send("198.18.0.3"), Err(ErrorKind::WouldBlock));
        // With IPv6 on both ends, which there is not: an app has no power over it.
        let on = |interface: &str| file::set(format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6"), "0");
        on("app-0").expect("IPv6");
        within(&app.namespace, move || on("all").and_then(|()| on(link::INNER))).expect("IPv6");
        std::thread::sleep(Duration::from_secs(3));
        let text = file::text("/proc/thread-self/net/if_inet6").expect("addresses");
        let line = text.lines().find(|line| line.ends_with("app-0")).expect("an address");
        let address = std::net::Ipv6Addr::from(u128::from_str_radix(&line[..32], 16).expect("a number"));
        let _listener = TcpListener::bind("[::]:80").expect("bound");
        let scope = within(&app.namespace, || {
            let text = file::text("/proc/thread-self/net/if_inet6")?;
            let line = text.lines().find(|line| line.ends_with(link::INNER)).ok_or(ErrorKind::NotFound)?.to_owned();
            u32::from_str_radix(&line[33..35], 16).map_err(io::Error::other)
        });
        let to = std::net::SocketAddrV6::new(address, 80, 0, scope.expect("an index"));
        let asked = ask(&app.namespace, to).expect_err("denied");
        assert!(
            matches!(asked, ErrorKind::PermissionDenied | ErrorKind::TimedOut | ErrorKind::HostUnreachable),
            "{asked}"
        );
    });
}

#[test]
fn apps_meet_where_both_agree_for_as_long_as_both_are_there() {
    on_a_device(|_| {
        let networks = Networks::new(&config(), &Network::offline(), &log());
        let to = |port: u16| json!({"app": "b", "port": port, "protocol": "tcp"});
        let app = networks.add(0, &manifest("a", json!({"apps": [to(80), to(81), to(82)]}))).expect("a network");
        let listen = |port: u16, from: &str| json!({"port": port, "protocol": "tcp", "from": from});
        let b = manifest("b", json!({"listen": [listen(80, "apps"), listen(82, "interface"), listen(83, "apps")]}));
        // The second time it was there before.
        for _ in 0..2 {
            let other = networks.add(1, &b).expect("a network");
            (80..84).for_each(|port| serve(&other.namespace, port));
            serve(&other.namespace, 7000);
            assert_eq!(reach(&app.namespace, (other.address, 80)), Ok(app.address.to_string()));
            for port in 81..84 {
                assert!(is_denied(&ask(&app.namespace, (other.address, port))), "{port}");
            }
            // The agent sees whether it is well, and no more.
            assert_eq!(reach(&here(), (other.address, 7000)), Ok("198.18.0.5".to_owned()));
            assert!(ask(&here(), (other.address, 80)).is_err());
            drop(other);
            assert!(ask(&app.namespace, (Ipv4Addr::new(198, 18, 0, 6), 80)).is_err());
        }
    });
}

#[test]
fn a_port_for_the_network_is_the_devices_and_an_interface_is_the_apps() {
    on_a_device(|server| {
        let networks = Networks::new(&config(), &Network::offline(), &log());
        let down = make(false).expect("a namespace").handle;
        link::pair("down", "plug", down.as_fd()).expect("a pair");
        within(&down, || {
            set_address("plug", Ipv4Addr::new(192, 168, 9, 7), 24)?;
            bring_up("plug")?;
            add_default_route("plug", Ipv4Addr::new(192, 168, 9, 1))
        })
        .expect("the plug's end");
        let capabilities = json!({
            "listen": [{"port": 80, "protocol": "tcp", "from": "network"}, {"port": 81, "protocol": "tcp", "from": "interface"}],
            "interfaces": [{"name": "DOWN", "address": "192.168.9.1", "prefix": 24}],
            "connect": [{"host": "192.168.9.7", "port": 90, "protocol": "tcp"}],
        });
        // The second has the interface at once from the first.
        drop(networks.add(0, &manifest("a", capabilities.clone())).expect("a network"));
        let app = networks.add(0, &manifest("a", capabilities)).expect("a network");
        for (place, port) in [(&app.namespace, 80), (&app.namespace, 81), (&down, 90), (&down, 91), (&server, 80)] {
            serve(place, port);
        }
        // With the sender's own address.
        assert_eq!(reach(&server, (DEVICE, 80)), Ok(SERVER.to_string()));
        assert!(ask(&server, (DEVICE, 81)).is_err());
        let inner = Ipv4Addr::new(192, 168, 9, 1);
        assert_eq!(reach(&down, (inner, 81)), Ok("192.168.9.7".to_owned()));
        assert!(ask(&down, (inner, 80)).is_err());
        assert_eq!(reach(&app.namespace, (Ipv4Addr::new(192, 168, 9, 7), 90)), Ok("192.168.9.1".to_owned()));
        assert!(ask(&app.namespace, (Ipv4Addr::new(192, 168, 9, 7), 91)).is_err());
        // Through the app leads no way.
        for beyond in [SERVER, DEVICE, app.address] {
            assert!(ask(&down, (beyond, 80)).is_err(), "{beyond}");
        }
    });
}

#[test]
fn an_interface_that_is_not_there_leaves_nothing_behind() {
    on_a_device(|_| {
        let networks = Networks::new(&config(), &Network::offline(), &log());
        let capabilities = json!({"interfaces": [{"name": "DOWN", "address": "192.168.9.1", "prefix": 24}]});
        for _ in 0..2 {
            let Err(error) = networks.add(0, &manifest("a", capabilities.clone())) else { panic!("it is not there") };
            assert!(crate::error::chain(&error).starts_with("cannot give the interface `down`"), "{error}");
            assert!(link::delete(0).is_err(), "its link is gone");
        }
        let _ = namespace::make(false).expect("the rest goes on");
    });
}

/// Knows what it is told to, and counts.
fn serve_names(place: &OwnedFd, names: &'static [(&str, &[[u8; 4]])]) -> Arc<std::sync::atomic::AtomicU32> {
    let socket = within(place, || UdpSocket::bind((SERVER, 53))).expect("bound");
    let asked = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let count = asked.clone();
    std::thread::spawn(move || {
        let mut bytes = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut bytes) {
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let question = question::parse(&bytes[..length]).expect("a question");
            // A name that is not there gets no answer at all.
            if let Some((_, found)) = names.iter().find(|(name, _)| *name == question.name) {
                let found: Vec<Ipv4Addr> = found.iter().copied().map(Ipv4Addr::from).collect();
                let _ = socket.send_to(&question.answer(question::Code::Good, &found, 60), from);
            }
        }
    });
    asked
}

/// As an app does it.
fn resolve(place: &OwnedFd, name: &'static str) -> io::Result<dns::Answer> {
    within(place, move || {
        let question = dns::question(7, name).ok_or(ErrorKind::InvalidInput)?;
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_read_timeout(Some(Duration::from_millis(1500)))?;
        socket.send_to(&question, (Ipv4Addr::LOCALHOST, 53))?;
        let mut bytes = [0; 512];
        let count = socket.recv(&mut bytes)?;
        dns::read(&question, &bytes[..count]).ok_or_else(|| ErrorKind::InvalidData.into())
    })
}

#[test]
fn a_name_opens_what_it_leads_to_and_what_is_denied_is_told() {
    on_a_device(|server| {
        let asked = serve_names(
            &server,
            &[("good.example", &[[203, 0, 113, 9]]), ("evil.example", &[[127, 0, 0, 1], [198, 18, 0, 6]])],
        );
        let networks = Networks::new(&config(), &Network::offline(), &log());
        let named = |host: &str| json!({"host": host, "port": 80, "protocol": "tcp"});
        let connect = json!([named("good.example"), named("evil.example"), named("silent.example")]);
        let to_b = json!([{"app": "b", "port": 80, "protocol": "tcp"}]);
        let app = networks.add(0, &manifest("a", json!({"connect": connect, "apps": to_b}))).expect("a network");
        let other = json!({"listen": [{"port": 80, "protocol": "tcp", "from": "apps"}]});
        let other = networks.add(1, &manifest("b", other)).expect("a network");
        (80..82).for_each(|port| serve(&server, port));
        let namespace = &app.namespace;
        let known = |answer: &dns::Answer| (answer.code, answer.addresses.clone());
        assert!(is_denied(&ask(namespace, (SERVER, 80))));
        let silent = std::thread::spawn({
            let namespace = namespace.try_clone().expect("a handle");
            move || resolve(&namespace, "silent.example")
        });
        for _ in 0..2 {
            let answer = resolve(namespace, "good.example").expect("an answer");
            assert_eq!(known(&answer), (0, vec![SERVER]));
            assert!((59..=60).contains(&answer.seconds));
        }
        assert_eq!(reach(namespace, (SERVER, 80)), Ok(DEVICE.to_string()));
        assert!(is_denied(&ask(namespace, (SERVER, 81))));
        assert!(is_denied(&ask(&other.namespace, (SERVER, 80))));
        assert_eq!(known(&resolve(namespace, "b.app").expect("an answer")), (0, vec![other.address]));
        for name in ["evil.example", "other.example", "x.app"] {
            assert_eq!(known(&resolve(namespace, name).expect("an answer")), (5, Vec::new()), "{name}");
        }
        assert!(silent.join().expect("it ends").is_err());
        // The good name once, the evil one, the silent one: not what has no business there.
        assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), 3);
        let told = |attachment: &Attachment| {
            let record = attachment.denials();
            record.last.iter().map(|denial| (denial.what.clone(), denial.times)).collect::<Vec<_>>()
        };
        let text = |what: &str, times| (what.to_owned(), times);
        let wanted = [
            text("tcp 203.0.113.9:80", 1),
            text("tcp 203.0.113.9:81", 1),
            text("name evil.example at 127.0.0.1", 1),
            text("name evil.example at 198.18.0.6", 1),
            text("name other.example", 1),
            text("name x.app", 1),
        ];
        assert_eq!(told(&app), wanted);
        assert_eq!(told(&other), [text("tcp 203.0.113.9:80", 1)]);
        // Its time comes.
        let target = rules::Target { address: SERVER, port: 80, protocol: osbuild_format::app::Protocol::Tcp };
        rules::open(0, &[target], Duration::from_secs(1)).expect("opened for less");
        assert_eq!(reach(namespace, (SERVER, 80)), Ok(DEVICE.to_string()));
        std::thread::sleep(Duration::from_millis(1500));
        assert!(is_denied(&ask(namespace, (SERVER, 80))));
    });
}
