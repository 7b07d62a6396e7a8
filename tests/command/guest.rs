//! A product of a project on the virtual board, and commands for its root by ssh.
//!
//! Invariant: the board is of the project's own image, signed with its keys, behind Secure Boot; it goes with the value.

use super::{osbuild, Ended, Project};
use ed25519_dalek::SigningKey;
use osbuild::release::keys::PublicKeys;
use osbuild::tools::board::check::sshkey;
use osbuild::tools::board::varstore::{Guid, SecureBootKeys};
use osbuild::tools::board::{Board, Launch, Persistence, Setup, ToolRoot};
use regex::Regex;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The emulated firmware alone takes half of it on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);
const SSH_PATIENCE: Duration = Duration::from_secs(120);

pub struct Guest {
    // Before the folders that it uses.
    pub board: Option<Board>,
    setup: Setup,
    key: PathBuf,
}

/// A key for ssh, kept in the guest's folder, and the line that lets it in.
pub fn key(project: &Project) -> (PathBuf, String) {
    let key = SigningKey::from_bytes(&[7; 32]);
    project.write("out/guest/key", &sshkey::private_file(&key, "test"));
    let path = project.root.join("out/guest/key");
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("its mode");
    (path, sshkey::public_line(&key, "test"))
}

impl Guest {
    /// Builds `product`, which lets [`key`] in as root, boots it as from the factory and waits until it is ready.
    pub fn start(project: &Project, product: &str) -> Guest {
        let disk = osbuild(project, &["image", product]).succeeds().output;
        let mut guest = Guest::of(project, product, &project.root.join(disk.trim()));
        guest.boot();
        guest
    }

    /// With `disk` from the factory; it does not run yet.
    pub fn of(project: &Project, product: &str, disk: &Path) -> Guest {
        let tools = osbuild(project, &["tools", "board"]).succeeds().output;
        let config = osbuild::config::load(&project.root, Some(product)).expect("a configuration");
        let public = PublicKeys::load(&project.root.join("keys")).expect("keys");
        let mut owner = [0; 16];
        owner.copy_from_slice(&public.fingerprint()[..16]);
        let state = project.root.join("out/guest");
        std::fs::create_dir_all(&state).expect("a folder");
        let setup = Setup {
            name: product.to_owned(),
            tools: ToolRoot::new(tools.trim().into()),
            image: disk.to_owned(),
            state,
            keys: SecureBootKeys {
                owner: Guid(owner),
                platform_key: public.platform_key,
                key_exchange_key: public.key_exchange_key,
                signature_db: public.signature_db,
            },
            board: config.machine.board,
            persistence: Persistence::Fresh,
        };
        Guest { board: None, setup, key: key(project).0 }
    }

    /// On, and waits until it is ready; the next time it goes on with what it keeps.
    pub fn boot(&mut self) {
        self.switch_on();
        let ready = Regex::new("osagent: ready in").expect("a pattern");
        self.board().expect_console(&[ready], PATIENCE).expect("it becomes ready");
    }

    /// Does not wait for anything.
    pub fn switch_on(&mut self) {
        self.board = Some(Board::start(&self.setup).expect("a board"));
        self.setup.persistence = Persistence::Keep;
    }

    /// QEMU and the TPM end as by `kill -9`: what the guest has not flushed may be lost.
    pub fn cut_power(&mut self) {
        self.board = None;
    }

    /// Its disk, variables and TPM, between two boots.
    pub fn state(&self) -> &Path {
        &self.setup.state
    }

    /// Off by the power button, and on again with what it kept.
    pub fn restart(&mut self) {
        self.switch_off();
        self.boot();
    }

    /// By the power button.
    pub fn switch_off(&mut self) {
        let board = self.board.take().expect("it runs");
        board.power_off(PATIENCE).expect("it goes off");
    }

    pub fn board(&self) -> &Board {
        self.board.as_ref().expect("it runs")
    }

    pub fn port(&self, guest: u16) -> u16 {
        self.board().forward(guest).expect("the machine forwards it")
    }

    /// Runs `command` in a shell of the device.
    pub fn shell(&self, command: &str) -> Ended {
        self.ssh(command, None)
    }

    /// Writes `file` to the standard input of `command`.
    pub fn send(&self, file: &Path, command: &str) -> Ended {
        self.ssh(command, Some(file))
    }

    fn ssh(&self, command: &str, input: Option<&Path>) -> Ended {
        let folder = self.setup.state.clone();
        let log = folder.join("ssh.log");
        let mut args = vec!["-F".into(), "/dev/null".into(), "-i".into(), self.key.clone().into_os_string()];
        args.extend(["-p".into(), self.port(22).to_string().into(), "-T".into()]);
        for option in ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"] {
            args.extend(["-o".into(), option.into()]);
        }
        args.extend(["root@127.0.0.1".into(), "--".into(), command.into()]);
        let launch = Launch {
            program: "/usr/bin/ssh".to_owned(),
            args,
            scratch: folder.clone(),
            readable: vec![folder],
            log: Some(log.clone()),
            input: input.map(Path::to_owned),
            ..Launch::default()
        };
        let ended = self.setup.tools.run(launch, SSH_PATIENCE);
        let output = std::fs::read_to_string(&log).expect("a log");
        let errors = ended.as_ref().err().map(ToString::to_string).unwrap_or_default();
        Ended { status: ended.is_err().into(), output, errors }
    }

    /// What `osagent app status ID --json` says.
    pub fn app(&self, id: &str) -> serde_json::Value {
        let text = self.shell(&format!("osagent app status {id} --json")).succeeds().output;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Waits until what is said of the app has this value at `pointer`.
    pub fn app_becomes(&self, id: &str, pointer: &str, wanted: impl Into<serde_json::Value>) -> serde_json::Value {
        let wanted = wanted.into();
        for _ in 0..60 {
            let status = self.app(id);
            if status.pointer(pointer) == Some(&wanted) {
                return status;
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        panic!("`{pointer}` of `{id}` does not become {wanted}: {:#}", self.app(id));
    }
}
