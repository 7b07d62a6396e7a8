//! A running board, and what a test or a person does with it.
//!
//! Invariant: when the value goes, so do QEMU, the TPM and the sockets; what is kept is the state folder.

use super::accelerator;
use super::feed::{Feed, Seen};
use super::ports::{self, Forward};
use super::process::{Launch, Process, ToolRoot};
use super::qemu::{self, Accelerator, Channels, Machine};
use super::qmp::Qmp;
use super::state::{self, Origin, Persistence, Source, State};
use super::stop::Stop;
use super::varstore::SecureBootKeys;
use super::{tpm, BoardError};
use crate::io::file::at;
use crate::model::machine::VirtualBoard;
use regex::Regex;
use serde_json::Value;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Which board to start.
#[derive(Clone, Debug)]
pub struct Setup {
    pub name: String,
    pub tools: ToolRoot,
    /// `disk.img`; it is only read.
    pub image: PathBuf,
    /// Folder of the overlay, the EFI variables, the TPM and the logs.
    pub state: PathBuf,
    pub keys: SecureBootKeys,
    pub board: VirtualBoard,
    pub persistence: Persistence,
}

/// What all boards have in common, started or about to.
struct Bench {
    state: State,
    origin: Origin,
    accelerator: Accelerator,
    /// Short paths for sockets, whose length is limited; and what a snapshot throws away.
    folder: tempfile::TempDir,
}

impl Bench {
    fn prepare(setup: &Setup) -> Result<Bench, BoardError> {
        let parent = Path::new("/tmp");
        let folder = tempfile::Builder::new().prefix("osbuild-board-").tempdir_in(parent);
        let folder = folder.map_err(at("create a folder in", parent))?;
        let source =
            Source { tools: &setup.tools, image: &setup.image, keys: &setup.keys, disk_bytes: setup.board.disk_bytes };
        let (state, origin) = State::open(&setup.state, folder.path(), setup.persistence, source)?;
        let accelerator = accelerator::choose(&setup.tools, folder.path());
        Ok(Bench { state, origin, accelerator, folder })
    }

    fn start_tpm(&self, setup: &Setup) -> Result<Process, BoardError> {
        let socket = self.socket("tpm.socket");
        state::remove(&socket)?;
        tpm::start(&setup.tools, &self.state.tpm, &socket, &self.state.folder.join("tpm.log"))
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn machine(&self, setup: &Setup, forwards: Vec<Forward>, durable: bool, channels: Channels) -> Machine {
        Machine {
            name: setup.name.clone(),
            accelerator: self.accelerator,
            memory_mib: setup.board.memory_mib,
            cpus: setup.board.cpus,
            variables: self.state.variables.clone(),
            disk: self.state.disk.clone(),
            durable,
            tpm: self.socket("tpm.socket"),
            forwards,
            networks: setup.board.networks.clone(),
            channels,
        }
    }

    /// Where the sockets of the serial ports after the console's are.
    fn serial_ports(&self, setup: &Setup) -> Vec<PathBuf> {
        (1..=setup.board.serial_ports).map(|number| self.socket(&format!("serial{number}"))).collect()
    }

    fn log(&self, socket: &Path) -> PathBuf {
        self.state.folder.join(socket.file_name().unwrap_or_default()).with_extension("log")
    }

    fn launch(&self, machine: &Machine, log: Option<PathBuf>) -> Launch {
        let image_folder = self.state.image.parent().unwrap_or(Path::new("/")).to_owned();
        Launch {
            program: qemu::PROGRAM.to_owned(),
            args: qemu::argv(machine),
            scratch: self.state.folder.clone(),
            writable: vec![self.state.folder.clone(), self.folder.path().to_owned()],
            readable: std::iter::once(image_folder).chain(self.state.below.clone()).collect(),
            log,
            input: None,
            kvm: self.accelerator == Accelerator::Kvm,
        }
    }
}

/// What a person should know before the terminal belongs to the guest.
#[derive(Clone, Debug)]
pub struct Notice {
    pub origin: Origin,
    pub accelerator: Accelerator,
    pub forwards: Vec<Forward>,
    /// Sockets of the serial ports after the console's.
    pub serial_ports: Vec<PathBuf>,
}

/// Boots with the console in this terminal and returns when the machine is off. Ctrl-C belongs to the guest; another
/// wish to stop switches the machine off.
pub fn run_in_terminal(setup: &Setup, tell: impl FnOnce(&Notice)) -> Result<(), BoardError> {
    let forwards = ports::declared(&setup.board)?;
    let bench = Bench::prepare(setup)?;
    let _tpm = bench.start_tpm(setup)?;
    let control = bench.socket("control");
    let listener = listen(&control)?;
    let serial_ports = bench.serial_ports(setup);
    let serial = serial_ports.iter().map(|socket| (socket.clone(), bench.log(socket))).collect();
    let channels = Channels::Terminal { console_log: bench.state.folder.join("console.log"), control, serial };
    let durable = setup.persistence != Persistence::Snapshot;
    let machine = bench.machine(setup, forwards.clone(), durable, channels);
    tell(&Notice { origin: bench.origin, accelerator: bench.accelerator, forwards, serial_ports });
    let mut machine = setup.tools.spawn(bench.launch(&machine, None))?;
    let ended = machine.finish();
    if matches!(ended, Err(BoardError::Interrupted)) {
        switch_off(&mut machine, &listener)?;
    }
    ended
}

/// As Ctrl-A, X does: QEMU flushes its disks and leaves the terminal as it was.
fn switch_off(machine: &mut Process, control: &UnixListener) -> Result<(), BoardError> {
    const PATIENCE: Duration = Duration::from_secs(5);
    machine.wait_in_spite_of_stop();
    let control = machine.wait_until(PATIENCE, || accept(control))?;
    Qmp::connect(control)?.quit()?;
    machine.wait(PATIENCE)?;
    Ok(())
}

/// A board without a terminal, as tests use it.
pub struct Board {
    // In this order on drop: what runs goes before the folders it uses.
    live: Live,
    bench: Bench,
    stop: Stop,
}

/// A machine that runs, and the lines to it.
struct Live {
    // In this order on drop: the machine goes before the TPM it talks to.
    control: Qmp,
    machine: Process,
    _tpm: Process,
    console: Feed,
    status: Feed,
    serial_ports: Vec<Feed>,
    forwards: Vec<Forward>,
}

impl Live {
    const PATIENCE: Duration = Duration::from_secs(20);

    fn start(bench: &Bench, setup: &Setup, forwards: Vec<Forward>) -> Result<Live, BoardError> {
        let tpm = bench.start_tpm(setup)?;
        let paths = ["console", "status", "control"].map(|name| bench.socket(name));
        let serial = bench.serial_ports(setup);
        let listeners = paths.iter().chain(&serial).map(|path| listen(path)).collect::<Result<Vec<_>, _>>()?;
        let [console, status, control] = paths;
        let channels = Channels::Sockets { console, status, control, serial: serial.clone() };
        let machine = bench.machine(setup, forwards.clone(), false, channels);
        let start = Instant::now();
        let mut machine = setup.tools.spawn(bench.launch(&machine, Some(bench.state.folder.join("qemu.log"))))?;
        let mut streams = Vec::new();
        for listener in &listeners {
            streams.push(machine.wait_until(Self::PATIENCE, || accept(listener))?);
        }
        let ports = streams.split_off(3);
        let [console, status, control] =
            <[UnixStream; 3]>::try_from(streams).expect("one stream for each of the three listeners");
        // It connects before it sets up its network: only with an answer here has it really started.
        let control = Qmp::connect(control).map_err(|error| why_ended(&mut machine, error))?;
        let stop = setup.tools.stop();
        let port = |(stream, path): (UnixStream, &PathBuf)| Feed::read(stream, start, &bench.log(path), stop);
        Ok(Live {
            control,
            machine,
            _tpm: tpm,
            console: Feed::read(console, start, &bench.state.folder.join("console.log"), stop)?,
            status: Feed::read(status, start, &bench.state.folder.join("status.log"), stop)?,
            serial_ports: ports.into_iter().zip(&serial).map(port).collect::<Result<_, _>>()?,
            forwards,
        })
    }
}

/// A machine that hung up says why in its log; the line that broke says nothing.
fn why_ended(machine: &mut Process, error: BoardError) -> BoardError {
    const HANGING_UP: Duration = Duration::from_secs(2);
    match machine.wait(HANGING_UP) {
        Ok(Some(_)) => machine.ended_error(),
        _ => error,
    }
}

/// How a board went off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerOff {
    /// The guest did it itself, after this long.
    Ordered(Duration),
    /// It did not in time, and was switched off.
    Forced,
}

impl Board {
    /// Starts the machine; host ports are whatever is free. The console's times count from here.
    pub fn start(setup: &Setup) -> Result<Board, BoardError> {
        let bench = Bench::prepare(setup)?;
        let live = ports::start_at_free(&ports::of(&setup.board), |forwards| Live::start(&bench, setup, forwards))?;
        Ok(Board { live, bench, stop: setup.tools.stop().clone() })
    }

    /// The same at the host ports that the machine declares; one in use is an error.
    pub fn start_at_declared(setup: &Setup) -> Result<Board, BoardError> {
        let forwards = ports::declared(&setup.board)?;
        let bench = Bench::prepare(setup)?;
        let live = Live::start(&bench, setup, forwards)?;
        Ok(Board { live, bench, stop: setup.tools.stop().clone() })
    }

    /// Switches it off as a cut of the power would, but for the disk: what the guest has written is kept.
    pub fn quit(mut self) -> Result<(), BoardError> {
        const PATIENCE: Duration = Duration::from_secs(2);
        self.live.machine.wait_in_spite_of_stop();
        let asked = self.live.control.quit();
        // A Ctrl-C reaches QEMU as well, which may have ended by itself.
        match self.live.machine.wait(PATIENCE)? {
            Some(_) => Ok(()),
            None => asked,
        }
    }

    pub fn console(&self) -> &Feed {
        &self.live.console
    }

    /// What the guest says and hears on its serial port `ttySNUMBER`; the console is number 0.
    pub fn serial(&self, number: usize) -> Option<&Feed> {
        match number.checked_sub(1) {
            None => Some(&self.live.console),
            Some(index) => self.live.serial_ports.get(index),
        }
    }

    pub fn control(&mut self) -> &mut Qmp {
        &mut self.live.control
    }

    pub fn accelerator(&self) -> Accelerator {
        self.bench.accelerator
    }

    /// The folder with the EFI variables and the logs.
    pub fn state(&self) -> &State {
        &self.bench.state
    }

    /// Waits for a line of the console, said at any time, that matches one of `patterns`.
    pub fn expect_console(&self, patterns: &[Regex], timeout: Duration) -> Result<Seen, BoardError> {
        self.live.console.expect(patterns, timeout)
    }

    /// The host port that leads to this port of the guest.
    pub fn forward(&self, guest: u16) -> Option<u16> {
        self.forward_on(0, guest)
    }

    /// The same on an isolated network, by its number; 0 is the one that leads out.
    pub fn forward_on(&self, network: usize, guest: u16) -> Option<u16> {
        self.live.forwards.iter().find(|f| (f.network, f.guest) == (network, guest)).map(|f| f.host)
    }

    /// The newest status that the agent wrote, if it wrote one.
    pub fn status(&self) -> Option<Value> {
        serde_json::from_str(&self.live.status.last()?.text).ok()
    }

    /// Does nothing for a moment.
    pub fn pause(&self, moment: Duration) -> Result<(), BoardError> {
        std::thread::sleep(moment);
        self.stop.check()
    }

    /// Waits for the guest to switch itself off or for QEMU to end; true when it did.
    pub fn wait_off(&mut self, timeout: Duration) -> Result<bool, BoardError> {
        Ok(self.live.machine.wait(timeout)?.is_some())
    }

    /// Presses the power button and waits; after `patience` the power goes.
    pub fn power_off(mut self, patience: Duration) -> Result<PowerOff, BoardError> {
        let start = Instant::now();
        self.live.control.press_power_button()?;
        if self.wait_off(patience)? {
            return Ok(PowerOff::Ordered(start.elapsed()));
        }
        self.live.control.quit()?;
        Ok(PowerOff::Forced)
    }
}

/// Listens at `path`, which an earlier try may have left behind.
fn listen(path: &Path) -> Result<UnixListener, BoardError> {
    state::remove(path)?;
    let listener = UnixListener::bind(path).map_err(at("listen at", path))?;
    listener.set_nonblocking(true).map_err(at("listen at", path))?;
    Ok(listener)
}

/// The connection if somebody asks for one now.
fn accept(listener: &UnixListener) -> std::io::Result<Option<UnixStream>> {
    match listener.accept() {
        Ok((stream, _)) => {
            stream.set_nonblocking(false)?;
            Ok(Some(stream))
        }
        Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
        Err(e) => Err(e),
    }
}
