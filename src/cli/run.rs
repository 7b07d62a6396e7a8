//! `osbuild run PRODUCT`: boots an image on the virtual board, in the terminal.
//!
//! Invariant: the image is only read; what the guest changes lies in `out/run/PRODUCT/`.

use super::board::failure;
use super::report::Failure;
use crate::model::machine::VirtualBoard;
use crate::model::product::{Product, User};
use crate::tools::board::varstore::SecureBootKeys;
use crate::tools::board::{self, Accelerator, Notice, Origin, Persistence, Setup, ToolRoot};
use std::path::PathBuf;

#[derive(Clone, Debug, clap::Args)]
pub struct RunArgs {
    /// The product to boot; the default product unless told.
    pub product: Option<String>,
    /// Start as from the factory: forget the disk, the EFI variables and the TPM of earlier runs.
    #[arg(long, conflicts_with = "snapshot")]
    pub fresh: bool,
    /// Forget what this run changes.
    #[arg(long)]
    pub snapshot: bool,
}

/// What a board is made of, once the image is built and the tool tree checked out.
#[derive(Clone, Debug)]
pub struct BoardInputs {
    pub product: String,
    pub tools: ToolRoot,
    /// `disk.img`.
    pub image: PathBuf,
    pub keys: SecureBootKeys,
    pub board: VirtualBoard,
    pub door: Door,
    /// Folder that keeps the board's state: `out/run/PRODUCT` or `out/test/PRODUCT`.
    pub state: PathBuf,
}

/// The variable of a product that lets a key in.
pub const KEY_VARIABLE: &str = "ssh_key";

/// How a person gets into the guest by ssh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Door {
    /// Not at all.
    None,
    /// Not until [`KEY_VARIABLE`] has a key.
    NoKey,
    /// As this user, with the key that the product names.
    Open { user: String },
}

impl Door {
    pub fn of(product: &Product) -> Door {
        if !product.features.get("ssh").is_some_and(|on| *on) {
            return Door::None;
        }
        let has_key = |user: &User| user.ssh_keys.iter().any(|key| !key.trim().is_empty());
        match product.users.iter().find(|(_, user)| has_key(user)) {
            Some((name, _)) => Door::Open { user: name.clone() },
            None if product.variables.contains_key(KEY_VARIABLE) => Door::NoKey,
            None => Door::None,
        }
    }
}

impl BoardInputs {
    pub fn setup(&self, persistence: Persistence) -> Setup {
        Setup {
            name: self.product.clone(),
            tools: self.tools.clone(),
            image: self.image.clone(),
            state: self.state.clone(),
            keys: self.keys.clone(),
            board: self.board.clone(),
            persistence,
        }
    }
}

/// Boots and returns when the machine is off.
pub fn run(args: &RunArgs, inputs: &BoardInputs) -> Result<(), Failure> {
    let persistence = match (args.fresh, args.snapshot) {
        (true, _) => Persistence::Fresh,
        (_, true) => Persistence::Snapshot,
        _ => Persistence::Keep,
    };
    let tell = |notice: &Notice| eprint!("{}", introduction(inputs, persistence, notice));
    board::run_in_terminal(&inputs.setup(persistence), tell).map_err(failure)
}

fn introduction(inputs: &BoardInputs, persistence: Persistence, notice: &Notice) -> String {
    let mut text = format!("{}: {}\n", inputs.product, inputs.image.display());
    text += &format!("{}\n", beginning(inputs, persistence, notice.origin));
    if notice.accelerator == Accelerator::Software {
        text += "KVM does not work here: software emulation, about ten times slower\n";
    }
    for forward in &notice.forwards {
        let network = match forward.network {
            0 => String::new(),
            number => format!(", on its isolated network {number}"),
        };
        text += &format!("port {} of 127.0.0.1 leads to port {} of the guest{network}\n", forward.host, forward.guest);
        if (forward.network, forward.guest) == (0, 22) {
            text += &way_in(inputs, forward.host);
        }
    }
    for (index, socket) in notice.serial_ports.iter().enumerate() {
        let number = index + 1;
        text += &format!("ttyS{number} of the guest is the socket {}\n", socket.display());
    }
    text + "press Ctrl-A, then X to switch the machine off\n\n"
}

fn way_in(inputs: &BoardInputs, port: u16) -> String {
    match &inputs.door {
        Door::None => String::new(),
        Door::NoKey => format!(
            "  nobody gets in by ssh: `vars: {KEY_VARIABLE}:` of `{}` is empty; put the line of your `.pub` file there\n",
            inputs.product
        ),
        Door::Open { user } => format!("  your key lets you in: ssh -p {port} {user}@127.0.0.1\n"),
    }
}

/// From where it starts, and what becomes of that.
fn beginning(inputs: &BoardInputs, persistence: Persistence, origin: Origin) -> String {
    let state = inputs.state.display();
    let start = match origin {
        Origin::Kept => format!("goes on with the state in {state}"),
        Origin::Made => "starts as from the factory".to_owned(),
        Origin::ImageChanged => {
            "the image or its keys changed since the last run: starts as from the factory".to_owned()
        }
    };
    let then = match (persistence, origin) {
        (Persistence::Snapshot, Origin::ImageChanged) => {
            format!("forgets what this run changes; the state in {state} stays as it is")
        }
        (Persistence::Snapshot, _) => "forgets what this run changes".to_owned(),
        (_, Origin::Kept) => return format!("{start} (--fresh starts anew)"),
        _ => format!("state in {state}"),
    };
    format!("{start}; {then}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::board::varstore::Guid;
    use crate::tools::board::Forward;

    fn inputs(door: Door) -> BoardInputs {
        let keys = SecureBootKeys {
            owner: Guid([0; 16]),
            platform_key: Vec::new(),
            key_exchange_key: Vec::new(),
            signature_db: Vec::new(),
        };
        let board = VirtualBoard {
            memory_mib: 256,
            cpus: 1,
            forwards: Default::default(),
            serial_ports: 0,
            networks: Vec::new(),
            disk_bytes: 0,
        };
        BoardInputs {
            product: "gateway".into(),
            tools: ToolRoot::new("tree".into()),
            image: "out/disk.img".into(),
            keys,
            board,
            door,
            state: "out/run/gateway".into(),
        }
    }

    fn told(door: Door, persistence: Persistence) -> String {
        let notice = Notice {
            origin: Origin::ImageChanged,
            accelerator: Accelerator::Software,
            forwards: vec![Forward { network: 0, host: 2222, guest: 22 }],
            serial_ports: vec!["/tmp/b/serial1".into()],
        };
        introduction(&inputs(door), persistence, &notice)
    }

    #[test]
    fn a_person_is_told_what_changed_and_how_to_leave() {
        let text = told(Door::None, Persistence::Keep);
        for part in ["changed since the last run", "factory; state in out/run/gateway", "Ctrl-A, then X"] {
            assert!(text.contains(part), "{text}");
        }
        let forgotten = told(Door::None, Persistence::Snapshot);
        assert!(forgotten.contains("the state in out/run/gateway stays as it is"), "{forgotten}");
    }

    #[test]
    fn ssh_is_offered_only_where_it_works() {
        let text = told(Door::None, Persistence::Keep);
        assert!(text.contains("port 2222 of") && !text.contains("ssh"), "{text}");
        let text = told(Door::NoKey, Persistence::Keep);
        assert!(text.contains("`vars: ssh_key:` of `gateway` is empty") && !text.contains("ssh -p"), "{text}");
        let text = told(Door::Open { user: "root".into() }, Persistence::Keep);
        assert!(text.contains("ssh -p 2222 root@127.0.0.1"), "{text}");
    }

    #[test]
    fn the_products_of_this_repository_have_the_doors_they_describe() {
        let project = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let door = |product: &str, key: Option<&str>| {
            let variables = key.map(|key| (KEY_VARIABLE.to_owned(), key.to_owned())).into_iter().collect();
            Door::of(&crate::config::load_with(project, Some(product), &variables).expect("valid").product)
        };
        assert_eq!(door("gateway", None), Door::None);
        assert_eq!(door("gateway-dev", None), Door::NoKey);
        assert_eq!(door("gateway-dev", Some("ssh-ed25519 AAAA me")), Door::Open { user: "root".into() });
    }
}
