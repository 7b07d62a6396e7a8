//! `osbuild run PRODUCT`: boots an image on the virtual board, in the terminal.
//!
//! Invariant: the image is only read; what the guest changes lies in `out/run/PRODUCT/`.

use super::board::failure;
use super::report::Failure;
use crate::model::machine::VirtualBoard;
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
    /// Folder that keeps the board's state: `out/run/PRODUCT` or `out/test/PRODUCT`.
    pub state: PathBuf,
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
        text += &format!("port {} of 127.0.0.1 leads to port {} of the guest\n", forward.host, forward.guest);
        if forward.guest == 22 {
            text += &format!("  a developer product lets you in: ssh -p {} root@127.0.0.1\n", forward.host);
        }
    }
    text + "press Ctrl-A, then X to switch the machine off\n\n"
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

    #[test]
    fn a_person_is_told_what_changed_and_how_to_leave() {
        let keys = SecureBootKeys {
            owner: Guid([0; 16]),
            platform_key: Vec::new(),
            key_exchange_key: Vec::new(),
            signature_db: Vec::new(),
        };
        let board = VirtualBoard { memory_mib: 256, cpus: 1, forwards: Default::default(), disk_bytes: 0 };
        let inputs = BoardInputs {
            product: "gateway".into(),
            tools: ToolRoot::new("tree".into()),
            image: "out/disk.img".into(),
            keys,
            board,
            state: "out/run/gateway".into(),
        };
        let notice = Notice {
            origin: Origin::ImageChanged,
            accelerator: Accelerator::Software,
            forwards: vec![Forward { host: 2222, guest: 22 }],
        };
        let forgotten = introduction(&inputs, Persistence::Snapshot, &notice);
        assert!(forgotten.contains("the state in out/run/gateway stays as it is"), "{forgotten}");
        let text = introduction(&inputs, Persistence::Keep, &notice);
        for part in [
            "changed since the last run",
            "factory; state in out/run/gateway",
            "ssh -p 2222 root@127.0.0.1",
            "Ctrl-A, then X",
            "out/run/gateway",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}
