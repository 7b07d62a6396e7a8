//! What a server can do to a client, one test each: the client ends in time, keeps to its limits and says what happened.

mod server;

use osbuild_http::{Client, HttpError, Pace, Settings};
use server::{answer, hang_up, ok, Server};
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

const FILE: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// Waits for less than a second for anything.
fn client() -> Client {
    let pace = Pace { least_bytes: 1000, window: Duration::from_millis(200), deadline: Duration::from_millis(700) };
    let short = Duration::from_millis(300);
    let settings =
        Settings { connect_timeout: short, answer_timeout: short, silence_timeout: short, pace, ..Settings::default() };
    Client::new(&settings).expect("good settings")
}

/// What becomes of a GET with a limit of 100 bytes, and of a range of bytes 10 to 19.
fn get(server: &Server) -> Result<Vec<u8>, HttpError> {
    let start = Instant::now();
    let got = client().get(&server.url("/file"), 100);
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    got
}

fn range(server: &Server) -> Result<Vec<u8>, HttpError> {
    client().range(&server.url("/file"), 10, 10)
}

fn endless(stream: &mut TcpStream) -> std::io::Result<()> {
    loop {
        stream.write_all(&[b'x'; 4096])?;
    }
}

#[test]
fn an_honest_server_serves_files_and_ranges_over_one_connection() {
    let server = Server::new(|request, stream| match request.bytes() {
        None => ok(stream, FILE),
        Some((first, last)) => {
            let range = format!("Content-Range: bytes {first}-{last}/{}", FILE.len());
            answer(stream, "206 Partial Content", &[&range], &FILE[first..=last])
        }
    });
    let client = client();
    for _ in 0..3 {
        assert_eq!(client.get(&server.url("/a"), 36).expect("a file"), FILE);
        assert_eq!(client.range(&server.url("/a"), 10, 3).expect("a range"), b"abc");
    }
    assert_eq!(client.range(&server.url("/a"), 10, 0).expect("nothing"), b"");
    let requests = server.requests();
    assert_eq!(requests.len(), 6);
    assert!(requests.iter().all(|request| request.connection == 0), "{requests:?}");
    assert_eq!(requests[1].range.as_deref(), Some("bytes=10-12"));
}

#[test]
fn a_body_that_ends_early_is_truncated() {
    let server = Server::new(|_, stream| {
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 36\r\n\r\n0123")?;
        hang_up()
    });
    let error = get(&server).expect_err("cut");
    assert!(matches!(error, HttpError::Truncated { wanted: 36, found: 4, .. }), "{error:?}");
    assert!(error.is_transient());
    let server = Server::new(|_, stream| {
        write!(stream, "HTTP/1.1 206 P\r\nContent-Length: 10\r\nContent-Range: bytes 10-19/36\r\n\r\nabc")?;
        hang_up()
    });
    let error = range(&server).expect_err("cut");
    assert!(matches!(error, HttpError::Truncated { wanted: 10, found: 3, .. }), "{error:?}");
}

#[test]
fn a_longer_body_than_the_limit_is_refused_before_it_is_read() {
    let server = Server::new(|_, stream| {
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n")?;
        stream.write_all(&[0; 101])
    });
    let error = get(&server).expect_err("too long");
    assert!(matches!(error, HttpError::TooLong { limit_bytes: 100, .. }), "{error:?}");
}

#[test]
fn endless_data_ends_at_the_limit() {
    let plain = Server::new(|_, stream| {
        write!(stream, "HTTP/1.1 200 OK\r\n\r\n")?;
        endless(stream)
    });
    let chunked = Server::new(|_, stream| {
        write!(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        loop {
            stream.write_all(b"4\r\nxxxx\r\n")?;
        }
    });
    for server in [plain, chunked] {
        let mut got = Vec::new();
        let error = client().get_to(&server.url("/file"), 100, &mut got).expect_err("too long");
        assert!(matches!(error, HttpError::TooLong { limit_bytes: 100, .. }), "{error:?}");
        assert!(got.len() <= 100);
    }
}

#[test]
fn chunks_that_are_cut_or_damaged_are_errors() {
    for body in ["4\r\nxxxx\r\n", "4\r\nxx", "zz\r\nxxxx\r\n0\r\n\r\n", "ffffffffffffffffff\r\nx"] {
        let server = Server::new(move |_, stream| {
            write!(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}")?;
            hang_up()
        });
        let error = get(&server).expect_err(body);
        assert!(matches!(error, HttpError::Reset { .. } | HttpError::Transport { .. }), "{body}: {error:?}");
    }
}

#[test]
fn a_slow_drip_is_given_up() {
    let server = Server::new(|_, stream| {
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n")?;
        loop {
            stream.write_all(b"x")?;
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let error = get(&server).expect_err("slow");
    assert!(matches!(error, HttpError::TooSlow { .. }), "{error:?}");
    assert!(error.is_transient());
}

#[test]
fn a_body_that_is_fast_enough_but_takes_for_ever_is_given_up() {
    let server = Server::new(|_, stream| {
        write!(stream, "HTTP/1.1 200 OK\r\n\r\n")?;
        loop {
            stream.write_all(&[b'x'; 500])?;
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let error = client().get(&server.url("/file"), 1 << 30).expect_err("slow");
    assert!(matches!(error, HttpError::TooSlow { found, .. } if found > 5000), "{error:?}");
}

#[test]
fn silence_is_given_up_wherever_it_is() {
    for said in ["", "HTTP/1.1 200 OK\r\nContent-", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"] {
        let server = Server::new(move |_, stream| {
            write!(stream, "{said}")?;
            std::thread::sleep(Duration::from_secs(5));
            hang_up()
        });
        let error = get(&server).expect_err(said);
        assert!(matches!(error, HttpError::Timeout { .. }), "{said}: {error:?}");
    }
}

#[test]
fn headers_that_drip_or_never_end_are_given_up() {
    let drip = Server::new(|_, stream| {
        write!(stream, "HTTP/1.1 200 OK\r\n")?;
        for number in 0..1000 {
            write!(stream, "X-{number}: y\r\n")?;
            std::thread::sleep(Duration::from_millis(20));
        }
        hang_up()
    });
    let error = get(&drip).expect_err("slow");
    assert!(matches!(error, HttpError::Timeout { .. } | HttpError::Transport { .. }), "{error:?}");
    for header in ["X: ", "X: y\r\n"] {
        let huge = Server::new(move |_, stream| {
            write!(stream, "HTTP/1.1 200 OK\r\n")?;
            loop {
                write!(stream, "{header}")?;
            }
        });
        let error = get(&huge).expect_err(header);
        assert!(matches!(error, HttpError::Transport { .. }), "{header:?}: {error:?}");
    }
}

#[test]
fn a_status_is_told_as_what_it_is() {
    let cases = [
        ("404 Not Found", true, false),
        ("403 Forbidden", true, false),
        ("500 No", false, true),
        ("503 No", false, true),
    ];
    for (status, missing, transient) in cases {
        let server = Server::new(move |_, stream| answer(stream, status, &[], b"why"));
        for error in [get(&server).expect_err(status), range(&server).expect_err(status)] {
            assert_eq!((error.is_missing(), error.is_transient()), (missing, transient), "{error:?}");
        }
    }
}

#[test]
fn no_answer_and_garbage_are_errors() {
    let closed = Server::new(|_, _| hang_up());
    let error = get(&closed).expect_err("closed");
    assert!(matches!(error, HttpError::Reset { .. }), "{error:?}");
    let garbage = Server::new(|_, stream| {
        stream.write_all(b"\0\xff\xfe nonsense\r\n\r\n")?;
        hang_up()
    });
    let error = get(&garbage).expect_err("garbage");
    assert!(matches!(error, HttpError::Transport { .. } | HttpError::Reset { .. }), "{error:?}");
    let port_without_server = "http://127.0.0.1:1/file";
    assert!(client().get(port_without_server, 10).expect_err("refused").is_transient());
}

#[test]
fn redirects_are_followed_a_few_times_and_never_off_http() {
    let server = Server::new(|request, stream| match request.path.as_str() {
        "/file" => answer(stream, "302 Found", &["Location: /b"], b"moved"),
        "/b" => answer(stream, "308 Moved", &["Location: c"], b""),
        "/c" => ok(stream, FILE),
        _ => hang_up(),
    });
    assert_eq!(get(&server).expect("there"), FILE);
    for to in ["/file", "file:///etc/passwd", "ftp://127.0.0.1/x", "gopher:x", ""] {
        let header = format!("Location: {to}");
        let server = Server::new(move |_, stream| answer(stream, "301 Moved", &[&header], b""));
        let error = get(&server).expect_err(to);
        assert!(matches!(error, HttpError::Redirect { .. }), "{to}: {error:?}");
        assert!(server.requests().len() <= 4);
    }
}

#[test]
fn a_server_without_ranges_gives_the_start_of_a_file_and_is_refused_else() {
    let server = Server::new(|_, stream| {
        write!(stream, "HTTP/1.1 200 OK\r\n\r\n{}", String::from_utf8_lossy(FILE))?;
        endless(stream)
    });
    assert_eq!(client().range(&server.url("/file"), 0, 12).expect("the start"), &FILE[..12]);
    assert!(matches!(range(&server), Err(HttpError::NoRanges { .. })));
}

#[test]
fn another_range_than_that_asked_for_is_refused() {
    let cases = [
        ("Content-Range: bytes 0-9/36", 10),
        ("Content-Range: bytes 10-18/36", 9),
        ("Content-Range: bytes 10-20/36", 11),
        ("Content-Range: bytes */36", 10),
        ("Content-Range: pages 10-19/36", 10),
        ("Content-Range: bytes 10-19/15", 10),
        ("X: y", 10),
        ("Content-Range: bytes 10-19/36", 9),
        ("Content-Range: bytes 10-19/36", 11),
    ];
    for (header, length) in cases {
        let server = Server::new(move |_, stream| answer(stream, "206 Partial", &[header], &vec![b'x'; length]));
        let error = range(&server).expect_err(header);
        assert!(matches!(error, HttpError::WrongRange { .. }), "{header} {length}: {error:?}");
    }
}

#[test]
fn a_sink_that_fails_is_not_the_fault_of_the_server() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let server = Server::new(|_, stream| ok(stream, FILE));
    let error = client().get_to(&server.url("/file"), 100, &mut Full).expect_err("full");
    assert!(matches!(error, HttpError::Sink { .. }) && !error.is_transient(), "{error:?}");
}

#[test]
fn other_schemes_and_no_urls_are_refused() {
    for url in ["file:///etc/passwd", "ftp://h/x", "/file", "http:/h", "", "http://"] {
        let error = client().get(url, 10).expect_err(url);
        assert!(matches!(error, HttpError::Url { .. }), "{url}: {error:?}");
    }
}

#[test]
fn authorities_that_are_none_are_refused() {
    for pem in ["", "nonsense", "-----BEGIN CERTIFICATE-----\n???\n-----END CERTIFICATE-----\n"] {
        let settings = Settings { authorities: Some(pem.as_bytes().to_vec()), ..Settings::default() };
        assert!(matches!(Client::new(&settings), Err(HttpError::Authorities(_))), "{pem}");
    }
}
