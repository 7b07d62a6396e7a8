use super::*;
use crate::io::command::{self, CommandError};
use crate::io::pace::Pace;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

/// Answers one request: its number from 0, its path, and the first byte asked for.
type Answer = dyn Fn(usize, &str, u64, &mut TcpStream) + Send + Sync;

/// A server on loopback; its thread ends with the process.
pub fn serve(answer: impl Fn(usize, &str, u64, &mut TcpStream) + Send + Sync + 'static) -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let requests = Arc::new(AtomicU64::new(0));
    let counter = requests.clone();
    let answer: Arc<Answer> = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let (path, offset) = read_request(&stream);
            let number = counter.fetch_add(1, Ordering::SeqCst) as usize;
            answer(number, &path, offset, &mut stream);
        }
    });
    (address, requests)
}

fn read_request(stream: &TcpStream) -> (String, u64) {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().and_then(Result::ok).unwrap_or_default();
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let headers = lines.map_while(Result::ok).take_while(|line| !line.is_empty());
    let range = headers.map(|line| line.to_ascii_lowercase()).find_map(|line| {
        let value = line.strip_prefix("range: bytes=")?.to_owned();
        value.strip_suffix('-')?.parse().ok()
    });
    (path, range.unwrap_or(0))
}

/// Sends a header and then `sent` of the `content.len() - offset` bytes it promises.
pub fn send(stream: &mut TcpStream, content: &[u8], offset: u64, sent: usize) {
    let rest = &content[offset as usize..];
    let status = match offset {
        0 => "200 OK\r\n".to_owned(),
        _ => {
            format!("206 Partial Content\r\nContent-Range: bytes {offset}-{}/{}\r\n", content.len() - 1, content.len())
        }
    };
    let head = format!("HTTP/1.1 {status}Content-Length: {}\r\nConnection: close\r\n\r\n", rest.len());
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(&rest[..sent.min(rest.len())]);
}

pub fn status(stream: &mut TcpStream, status: &str) {
    let _ = stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes());
}

fn content() -> Vec<u8> {
    (0..300_000_u32).flat_map(|n| n.to_le_bytes()).collect()
}

struct Fixture {
    _folder: tempfile::TempDir,
    store: Store,
    options: FetchOptions,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(folder.path()).expect("a store");
    let mut options = FetchOptions::new(folder.path());
    options.pauses = vec![Duration::from_millis(1); 3];
    Fixture { _folder: folder, store, options }
}

impl Fixture {
    fn fetch(&self, places: Vec<FetchPlace>) -> Result<(), FetchError> {
        let fetch = Fetch { name: "zlib 1.3.1".to_owned(), places, origin: None };
        let digest = Digest::of(&content());
        let result = Fetcher::new(self.options.clone()).fetch(&self.store, &digest, &fetch, &|_| {});
        // Whatever happened, nothing but the right content is in the store.
        assert_eq!(self.store.has(&digest), result.is_ok());
        let blobs = walkdir::WalkDir::new(self.store.root().join("blobs")).into_iter().flatten();
        assert_eq!(blobs.filter(|entry| entry.file_type().is_file()).count(), usize::from(result.is_ok()));
        result
    }
}

fn https(url: &str, path: &str) -> FetchPlace {
    FetchPlace::Https(format!("{url}{path}"))
}

fn reasons(error: FetchError) -> Vec<Reason> {
    match error {
        FetchError::Unavailable { attempts, .. } => attempts.into_iter().map(|attempt| attempt.reason).collect(),
        error => panic!("{error}"),
    }
}

#[test]
fn places_are_tried_in_order_until_one_has_the_pinned_file() {
    let (url, requests) = serve(|_, path, _, stream| match path {
        "/gone" => status(stream, "404 Not Found"),
        "/other" => send(stream, b"something else", 0, 100),
        "/long" => send(stream, &[content(), content()].concat(), 0, usize::MAX),
        _ => send(stream, &content(), 0, usize::MAX),
    });
    let fixture = fixture();
    let places = ["/gone", "/other", "/long", "/good", "/never"].map(|path| https(&url, path)).to_vec();
    fixture.fetch(places.clone()).expect("fetched");
    assert_eq!(requests.load(Ordering::SeqCst), 4);
    fixture.fetch(places).expect("in the cache");
    assert_eq!(requests.load(Ordering::SeqCst), 4);
}

#[test]
fn the_error_names_each_place_and_what_was_wrong_with_it() {
    let (url, _) = serve(|_, path, _, stream| match path {
        "/gone" => status(stream, "404 Not Found"),
        _ => send(stream, &[7; 1_200_000], 0, usize::MAX),
    });
    let error = fixture().fetch(vec![https(&url, "/gone"), https(&url, "/changed")]).expect_err("unavailable");
    let text = error.to_string();
    assert!(text.contains(&format!("\n  `{url}/gone` does not exist on the server: status 404")), "{text}");
    assert!(text.contains("`http://127.0.0.1:") && text.contains("status 404"), "{text}");
    assert!(text.contains("/changed: the file is another one: its SHA-256 is "), "{text}");
    assert!(error.help().is_some_and(|help| help.contains("before changing the pin")), "{:?}", error.help());
    assert!(matches!(reasons(error)[..], [Reason::Http(HttpError::NotFound { .. }), Reason::WrongDigest { .. }]));
}

#[test]
fn a_download_that_breaks_off_is_resumed() {
    let (url, requests) = serve(|number, _, offset, stream| {
        assert_eq!(offset, number as u64 * 400_000);
        send(stream, &content(), offset, 400_000);
    });
    fixture().fetch(vec![https(&url, "/file")]).expect("fetched");
    assert_eq!(requests.load(Ordering::SeqCst), 3);
}

#[test]
fn a_server_that_only_trickles_is_given_up_for_the_next_place() {
    let (slow, requests) = serve(|_, _, _, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1200000\r\n\r\n");
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    let (good, _) = serve(|_, _, _, stream| send(stream, &content(), 0, usize::MAX));
    let fixture = fixture();
    let mut fetcher = Fetcher::new(fixture.options.clone());
    fetcher.http = Http::new().at(Pace { least_bytes: 10_000, window: Duration::from_millis(200) });
    let digest = Digest::of(&content());
    let fetch = |places| Fetch { name: "x".to_owned(), places, origin: None };
    let alone = fetch(vec![https(&slow, "/x")]);
    let error = fetcher.fetch(&fixture.store, &digest, &alone, &|_| {}).expect_err("too slow");
    assert!(error.to_string().contains("the server is too slow: it sent "), "{error}");
    assert_eq!(requests.load(Ordering::SeqCst), 1);
    let both = fetch(vec![https(&slow, "/x"), https(&good, "/x")]);
    fetcher.fetch(&fixture.store, &digest, &both, &|_| {}).expect("from the second place");
}

#[test]
fn a_server_that_cannot_resume_is_asked_for_the_whole_file_again() {
    let (url, _) = serve(|number, _, _, stream| send(stream, &content(), 0, 500_000 * (number + 1)));
    fixture().fetch(vec![https(&url, "/file")]).expect("fetched");
}

#[test]
fn a_download_that_never_gets_further_is_given_up() {
    let (url, requests) = serve(|_, _, offset, stream| send(stream, &content(), offset, (1000 - offset) as usize));
    let error = fixture().fetch(vec![https(&url, "/file")]).expect_err("truncated");
    assert!(error.to_string().contains("the download ended early: 1000 of 1200000 bytes arrived"), "{error}");
    assert_eq!(requests.load(Ordering::SeqCst), 4);
}

#[test]
fn a_file_of_another_size_on_the_server_is_not_asked_for_again() {
    let (url, requests) = serve(|_, _, _, stream| send(stream, &content()[..5000], 0, usize::MAX));
    let error = fixture().fetch(vec![https(&url, "/file")]).expect_err("another file");
    assert!(matches!(reasons(error)[..], [Reason::WrongSize { found_bytes: 5000, .. }]));
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}

#[test]
fn a_body_of_unknown_length_ends_at_the_limit_and_is_checked() {
    let chunked = |stream: &mut TcpStream, content: &[u8]| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n");
        let _ = stream.write_all(format!("{:x}\r\n", content.len()).as_bytes());
        let _ = stream.write_all(&[content, b"\r\n0\r\n\r\n"].concat());
    };
    let (url, _) = serve(move |_, path, _, stream| match path {
        "/long" => chunked(stream, &[content(), content()].concat()),
        _ => chunked(stream, &content()),
    });
    let fixture = fixture();
    let error = fixture.fetch(vec![https(&url, "/long")]).expect_err("too long");
    assert!(matches!(reasons(error)[..], [Reason::TooLarge { limit_bytes: 1_200_000 }]));
    fixture.fetch(vec![https(&url, "/file")]).expect("fetched");
}

#[test]
fn candidates_for_debians_archive_are_asked_in_their_order() {
    let (other, other_requests) = serve(|_, _, _, stream| status(stream, "404 Not Found"));
    let (debian, _) = serve(|_, _, _, stream| send(stream, &content(), 0, usize::MAX));
    let fixture = fixture();
    let fetcher = Fetcher::new(fixture.options.clone());
    let [likeliest, right] = [other, debian].map(|url| Mirror::new(&url).expect("a URL"));
    fetcher.mirrors.set(Ok(Mirrors { likeliest, others: vec![right] })).expect("not looked up yet");
    let fetch = Fetch { name: "x".into(), places: vec![FetchPlace::Debian("pool/x.deb".into())], origin: None };
    fetcher.fetch(&fixture.store, &Digest::of(&content()), &fetch, &|_| {}).expect("from the second");
    assert_eq!(other_requests.load(Ordering::SeqCst), 1);
}

#[test]
fn a_mirror_that_is_down_or_ill_is_retried_and_reported() {
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let (ill, requests) = serve(|_, _, _, stream| status(stream, "503 Service Unavailable"));
    let mut fixture = fixture();
    fixture.options.debian_mirror = Some(format!("http://{closed}/debian"));
    let places = vec![FetchPlace::Debian("pool/main/z/zlib/x.deb".to_owned()), https(&ill, "/file")];
    let error = fixture.fetch(places).expect_err("down");
    let refused = format!("\n  cannot get `http://{closed}/debian/pool/main/z/zlib/x.deb`: io: Connection refused");
    assert!(error.to_string().contains(&refused), "{error}");
    let help = error.help().expect("help");
    assert!(help.contains("check the network") && help.contains("export OSBUILD_DEBIAN_MIRROR="), "{help}");
    // Once to see whether it answers, and four times with patience.
    assert_eq!(requests.load(Ordering::SeqCst), 5);
    assert!(matches!(
        reasons(error)[..],
        [Reason::Http(HttpError::Transport { .. }), Reason::Http(HttpError::Status { .. })]
    ));
}

#[test]
fn another_place_is_asked_before_one_that_does_not_answer_is_asked_again() {
    let (ill, requests) = serve(|_, _, _, stream| status(stream, "503 Service Unavailable"));
    let (url, _) = serve(|_, _, _, stream| send(stream, &content(), 0, usize::MAX));
    fixture().fetch(vec![https(&ill, "/file"), https(&url, "/file")]).expect("from the second place");
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}

#[test]
fn a_host_that_cannot_be_reached_comes_last_from_then_on() {
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let fixture = fixture();
    let fetcher = Fetcher::new(fixture.options.clone());
    let (url, _) = serve(|_, _, _, stream| send(stream, &content(), 0, usize::MAX));
    let places = vec![FetchPlace::Https(format!("http://{closed}/x")), https(&url, "/x")];
    let fetch = Fetch { name: "x".to_owned(), places, origin: None };
    let order = |fetcher: &Fetcher| fetcher.places(&fetch).iter().map(Place::to_string).collect::<Vec<_>>();
    let before = order(&fetcher);
    fetcher.fetch(&fixture.store, &Digest::of(&content()), &fetch, &|_| {}).expect("from the second place");
    assert_eq!(order(&fetcher), before.into_iter().rev().collect::<Vec<_>>());
}

#[test]
fn the_project_mirror_comes_first_and_serves_offline() {
    let (url, requests) = serve(|_, _, _, stream| send(stream, &content(), 0, usize::MAX));
    let mut fixture = fixture();
    fixture.options.offline = true;
    let error = fixture.fetch(vec![https(&url, "/file")]).expect_err("offline");
    assert!(error.help().is_some_and(|help| help.contains("without `--offline`")), "{:?}", error.help());
    assert!(matches!(reasons(error)[..], [Reason::Offline]));

    let mirror = tempfile::tempdir().expect("a temporary folder");
    let name = Digest::of(&content()).hex();
    file::write_atomic(&mirror.path().join(name), &content(), 0o644).expect("written");
    fixture.options.project_mirror = Some(mirror.path().to_string_lossy().into_owned());
    fixture.fetch(vec![https(&url, "/file")]).expect("from the mirror");
    assert_eq!(requests.load(Ordering::SeqCst), 0);
}

#[test]
fn a_pin_without_a_size_learns_it() {
    let (url, _) = serve(|_, _, _, stream| send(stream, &content(), 0, usize::MAX));
    let fixture = fixture();
    let fetch = Fetch { name: "x".to_owned(), places: vec![https(&url, "/x")], origin: None };
    let wanted = Wanted { sha256: Digest::of(&content()).sha256, size_bytes: None };
    for _ in 0..2 {
        let digest = Fetcher::new(fixture.options.clone()).obtain(&fixture.store, &wanted, &fetch, &|_| {});
        assert_eq!(digest.expect("fetched"), Digest::of(&content()));
    }
}

#[test]
fn a_git_commit_gives_the_same_tar_whatever_its_attributes() {
    let version = command::run(std::process::Command::new("git").arg("--version"));
    if matches!(version, Err(CommandError::Start { .. })) {
        // Straight to standard error, which the test harness does not keep to itself.
        writeln!(std::io::stderr(), "SKIPPED: fetching with git, which this host does not have").expect("said");
        return;
    }
    let fixture = fixture();
    let repo = tempfile::tempdir().expect("a temporary folder");
    let git = |arguments: &[&str]| {
        let mut command = std::process::Command::new("git");
        command.args(["-c", "user.name=x", "-c", "user.email=x@example", "-C"]).arg(repo.path()).args(arguments);
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
        String::from_utf8(command::run(&mut command).expect("git runs").stdout).expect("text")
    };
    git(&["init", "--quiet"]);
    git(&["config", "uploadpack.allowAnySHA1InWant", "true"]);
    for (name, text, mode) in [(".gitattributes", "* export-subst\n", 0o644), ("run", "$Format:%H$\r\n", 0o755)] {
        file::write_atomic(&repo.path().join(name), text.as_bytes(), mode).expect("written");
    }
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "x"]);
    let commit = git(&["rev-parse", "HEAD"]).trim().to_owned();
    let url = format!("file://{}", repo.path().display());
    let places = vec![FetchPlace::Git { url, commit }];
    let fetch = Fetch { name: "x".to_owned(), places, origin: None };
    let sha256 = hex::decode("d2675253d664d85fb1144dbd3ecdc903740b6c066bb59ae46f62fe9e4666a329").expect("hex");
    let wanted = Wanted { sha256: sha256.try_into().expect("32 bytes"), size_bytes: None };
    let digest = Fetcher::new(fixture.options.clone()).obtain(&fixture.store, &wanted, &fetch, &|_| {});
    let tree =
        crate::tools::archive::unpack(&fixture.store, &digest.expect("fetched"), 0, None).expect("unpacked").tree;
    let run = fixture.store.lookup(&tree, &crate::model::RelPath::new("run").expect("a path")).expect("looked up");
    let expected = Digest::of(b"$Format:%H$\r\n");
    assert_eq!(run, Some(crate::io::store::Node::File { digest: expected, executable: true }));
}

#[test]
fn a_host_without_the_program_that_fetches_is_told_which() {
    let start = CommandError::Start { argv: "git init".into(), source: std::io::ErrorKind::NotFound.into() };
    let attempts =
        vec![Attempt { place: "https://git.example/x".into(), reason: Reason::Command(start), is_debian: false }];
    let wanted = Wanted { sha256: [1; 32], size_bytes: None };
    let error = FetchError::Unavailable { name: "x".into(), wanted, attempts };
    assert!(error.to_string().contains("cannot start `git init`"), "{error}");
    assert!(error.help().expect("help").contains("install it, add a place"), "{:?}", error.help());
}

#[test]
fn crates_come_from_cargos_cache_when_their_checksum_is_right() {
    let mut fixture = fixture();
    let home = tempfile::tempdir().expect("a temporary folder");
    for (registry, text) in [("a", "of another registry"), ("b", "the crate")] {
        let folder = home.path().join("registry/cache").join(registry);
        file::create_dir_all(&folder).expect("a folder");
        file::write_atomic(&folder.join("x-1.0.0.crate"), text.as_bytes(), 0o644).expect("written");
    }
    fixture.options.cargo_home = Some(home.path().to_owned());
    fixture.options.offline = true;
    let fetcher = Fetcher::new(fixture.options.clone());
    let wanted = |name: &str, text: &str| WantedCrate {
        name: name.to_owned(),
        version: "1.0.0".to_owned(),
        wanted: Wanted { sha256: Digest::of(text.as_bytes()).sha256, size_bytes: None },
    };
    let digests = fetcher.fetch_crates(&fixture.store, &[wanted("x", "the crate")]).expect("in the cache");
    assert_eq!(digests, [Digest::of(b"the crate")]);
    for missing in [wanted("y", "not there"), wanted("x", "changed")] {
        let error = fetcher.fetch_crates(&fixture.store, &[missing]).expect_err("not in the cache");
        assert!(matches!(reasons(error)[..], [Reason::Offline]));
    }
}

/// A package as the registry has it.
fn crate_file(name: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    let manifest = format!("[package]\nname = \"{name}\"\nversion = \"1.0.0\"\n");
    for (path, text) in [("Cargo.toml", manifest.as_str()), ("src/lib.rs", "")] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, format!("{name}-1.0.0/{path}"), text.as_bytes()).expect("in memory");
    }
    builder.into_inner().and_then(flate2::write::GzEncoder::finish).expect("in memory")
}

#[test]
fn a_crate_that_was_yanked_after_it_was_locked_is_fetched() {
    let package = crate_file("gone");
    let (sha256, body) = (Digest::of(&package), package.clone());
    // The sparse protocol of the registry: its configuration, an index file a crate, and the crate.
    let (url, _) = serve(move |_, path, _, stream| match path {
        "/config.json" => {
            let address = stream.local_addr().expect("connected");
            send(stream, format!("{{\"dl\":\"http://{address}/dl/{{crate}}\"}}").as_bytes(), 0, usize::MAX);
        }
        "/go/ne/gone" => {
            let entry = format!(
                "{{\"name\":\"gone\",\"vers\":\"1.0.0\",\"deps\":[],\"cksum\":\"{}\",\"features\":{{}},\"yanked\":true}}\n",
                sha256.hex()
            );
            send(stream, entry.as_bytes(), 0, usize::MAX);
        }
        "/dl/gone" => send(stream, &body, 0, usize::MAX),
        _ => status(stream, "404 Not Found"),
    });
    let mut fixture = fixture();
    let home = tempfile::tempdir().expect("a temporary folder");
    let config =
        format!("[source.crates-io]\nreplace-with = \"local\"\n[source.local]\nregistry = \"sparse+{url}/\"\n");
    file::write_atomic(&home.path().join("config.toml"), config.as_bytes(), 0o644).expect("written");
    fixture.options.cargo_home = Some(home.path().to_owned());
    let wanted = Wanted { sha256: sha256.sha256, size_bytes: None };
    let crates = [WantedCrate { name: "gone".into(), version: "1.0.0".into(), wanted }];
    let fetched = Fetcher::new(fixture.options.clone()).fetch_crates(&fixture.store, &crates);
    assert_eq!(fetched.unwrap_or_else(|error| panic!("{error}")), [sha256]);
}
