//! `osbuild app run`: an app in; the app on the virtual board, with its log in this terminal, out.
//!
//! Invariant: a board that runs already is used as it is and left running; one that was started here ends here, and keeps
//! what it has on its disk.

use super::super::board::{self, failure};
use super::super::image;
use super::super::interrupt;
use super::super::progress::seconds;
use super::super::project::Project;
use super::super::report::Failure;
use super::super::run::KEY_VARIABLE;
use super::super::session::{BuildArgs, Session};
use super::deploy;
use super::device::{Device, DEVELOPER_KEY};
use crate::config;
use crate::io::file;
use crate::release::app::AppFile;
use crate::release::image::keep_only;
use crate::tools::board::check::sshkey;
use crate::tools::board::{Board, Persistence};
use ed25519_dalek::SigningKey;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const COMMENT: &str = "osbuild-developer";
const SSH_PORT: u16 = 22;
const SEED_LIMIT_BYTES: u64 = 64;
/// From power on to the ssh server, where the processor is emulated.
const BOOT_PATIENCE: Duration = Duration::from_secs(300);
const PAUSE: Duration = Duration::from_millis(250);

#[derive(Clone, Debug, clap::Args)]
pub struct RunAppArgs {
    /// The app, or its file, `FILE.app`
    pub app: String,
    /// The product on the board, which a developer can log in to
    #[arg(long, default_value = "gateway-dev")]
    pub product: String,
    /// Start the board as from the factory
    #[arg(long)]
    pub fresh: bool,
    /// Do not show the log: end when the app runs, and with it the board if it was started here
    #[arg(long)]
    pub no_logs: bool,
    #[command(flatten)]
    pub build: BuildArgs,
}

pub fn run(project: Project, args: &RunAppArgs) -> Result<(), Failure> {
    let start = Instant::now();
    let (key, line) = developer_key(&project)?;
    let config = config::load(&project.root, Some(&args.product))?;
    let no_door = || {
        let message = format!("nobody can log in to product `{}`, so no app can be brought there", args.product);
        Failure::new(message).help(format!("name one with `vars: {KEY_VARIABLE}:` in `--product`, such as gateway-dev"))
    };
    let Some(own_key) = config.product.variables.get(KEY_VARIABLE) else { return Err(no_door()) };
    // Whoever has named a key of their own can be let in by it, and by nothing else.
    if !own_key.is_empty() {
        return Err(Failure::new(format!(
            "product `{}` lets in a key of yours, which is not known here",
            args.product
        ))
        .help("start it with `osbuild run`, then use `osbuild app deploy --key FILE`"));
    }
    let variables = [(KEY_VARIABLE.to_owned(), line)].into();
    let session = Session::open(project, Some(&args.product), &variables, &args.build)?;
    let forwards = &session.config.machine.board.forwards;
    let port = forwards.iter().find(|(_, guest)| **guest == SSH_PORT).map(|(host, _)| *host).ok_or_else(no_door)?;
    let file = deploy::file(&session, &args.app)?;
    let app = AppFile::open(&file)?.manifest.id;
    let built = start.elapsed();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let device = Device::at(&session, "root".to_owned(), address, key)?;
    session.guard(|| {
        let board = match greets(address) {
            true => known(&device).map(|()| None)?,
            false => Some(boot(&session, &device, address, args.fresh)?),
        };
        let shown = deploy::bring(&session.project, &device, &file, false).and_then(|()| {
            eprintln!("  build {}, all {}", seconds(built), seconds(start.elapsed()));
            match args.no_logs {
                true => Ok(()),
                false => follow(&device, &app, board.is_some()),
            }
        });
        let ended = board.map_or(Ok(()), |board| board.quit().map_err(failure));
        shown.and(ended)
    })
}

/// Until Ctrl-C, which is how a person ends it and no failure.
fn follow(device: &Device, app: &str, started_here: bool) -> Result<(), Failure> {
    let end = if started_here { "Ctrl-C switches the board off" } else { "Ctrl-C leaves the board running" };
    eprintln!("{end}; in another terminal, `osbuild app run {app}` brings a change within seconds\n");
    match device.follow(&format!("osagent app logs {app} --follow")) {
        Err(failure) if failure.exit == interrupt::EXIT => Ok(()),
        ended => ended,
    }
}

/// Whether the board that runs is one of ours.
fn known(device: &Device) -> Result<(), Failure> {
    device.ask("true", None).map(drop).map_err(|failure| {
        let address = device.place();
        Failure::new(format!(
            "another board runs at {address}, which does not let this project in: {}",
            failure.message
        ))
        .help("end it, or bring the app there with `osbuild app deploy --key FILE`")
    })
}

/// Starts the board and waits until it lets us in.
fn boot(session: &Session, device: &Device, address: SocketAddr, fresh: bool) -> Result<Board, Failure> {
    let state = board::state(session, "app")?;
    let release = image::build(session, &state.join(board::IMAGES))?;
    keep_only(&release)?;
    let inputs = board::inputs(session, &release, state)?;
    let persistence = if fresh { Persistence::Fresh } else { Persistence::Keep };
    let start = Instant::now();
    eprintln!("no board runs: starting one with `{}`", session.config.product.name);
    let board = Board::start_at_declared(&inputs.setup(persistence)).map_err(failure)?;
    while start.elapsed() < BOOT_PATIENCE {
        board.pause(PAUSE).map_err(failure)?;
        if greets(address) && device.ask("osagent app device", None).is_ok() {
            eprintln!("  the board took {}", seconds(start.elapsed()));
            return Ok(board);
        }
    }
    let console = inputs.state.join("console.log");
    Err(Failure::new(format!("the board let nobody in within {} s", BOOT_PATIENCE.as_secs()))
        .help(format!("its console is in `{}`", console.display())))
}

/// Whether an ssh server answers. QEMU accepts connections before the guest does.
fn greets(address: SocketAddr) -> bool {
    const PATIENCE: Duration = Duration::from_secs(3);
    let Ok(mut stream) = TcpStream::connect_timeout(&address, PATIENCE) else { return false };
    let mut start = [0; 4];
    stream.set_read_timeout(Some(PATIENCE)).is_ok() && stream.read_exact(&mut start).is_ok() && &start == b"SSH-"
}

/// The key that lets us in to boards that are started here, and its public line; made once, so that the image stays the
/// same.
fn developer_key(project: &Project) -> Result<(PathBuf, String), Failure> {
    let folder = project.out("app")?;
    let (seed, private) = (folder.join("developer-seed"), folder.join(DEVELOPER_KEY));
    if !seed.exists() {
        let key = SigningKey::generate(&mut rand_core::OsRng);
        file::write_atomic(&seed, hex::encode(key.to_bytes()).as_bytes(), 0o600)?;
    }
    let text = String::from_utf8(file::read(&seed, SEED_LIMIT_BYTES)?).unwrap_or_default();
    let bytes = hex::decode(text.trim()).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let Some(bytes) = bytes else {
        return Err(Failure::new(format!("`{}` is damaged", seed.display())).help("remove it: another one is made"));
    };
    let key = SigningKey::from_bytes(&bytes);
    file::write_atomic(&private, sshkey::private_file(&key, COMMENT).as_bytes(), 0o600)?;
    Ok((private, sshkey::public_line(&key, COMMENT)))
}
