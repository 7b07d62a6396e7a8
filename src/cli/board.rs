//! `osbuild run` and `osbuild test`: builds the image and its board, then hands over to them.
//!
//! Invariant: for a test of a product that people can log in to, the key is made for that test alone.

use super::interrupt;
use super::project::Project;
use super::report::Failure;
use super::run::{self, BoardInputs, Door, RunArgs, KEY_VARIABLE};
use super::session::{BuildArgs, Session};
use super::suites;
use super::test::{self, TestArgs};
use super::{image, keys};
use crate::disk::DISK_IMAGE;
use crate::io::file;
use crate::io::store::Node;
use crate::plan::goals;
use crate::tools::board::check::{sshkey, SshAccess};
use crate::tools::board::varstore::{Guid, SecureBootKeys};
use crate::tools::board::{BoardError, Stop, ToolRoot};
use ed25519_dalek::SigningKey;
use std::collections::BTreeMap;

const COMMENT: &str = "osbuild-test";

pub fn run(project: Project, args: &RunArgs) -> Result<(), Failure> {
    let session = Session::open(project, args.product.as_deref(), &BTreeMap::new(), &BuildArgs::default())?;
    let inputs = inputs(&session, "run")?;
    run::run(args, &inputs)
}

pub fn test(project: Project, args: &TestArgs) -> Result<(), Failure> {
    let key = SigningKey::generate(&mut rand_core::OsRng);
    let config = crate::config::load(&project.root, args.product.as_deref())?;
    let takes_key = config.product.variables.contains_key(KEY_VARIABLE);
    let line = (KEY_VARIABLE.to_owned(), sshkey::public_line(&key, COMMENT));
    let variables = takes_key.then_some(line).into_iter().collect();
    let session = Session::open(project, args.product.as_deref(), &variables, &BuildArgs::default())?;
    let suites = suites::read(&session.project.root)?;
    let inputs = inputs(&session, "test")?;
    let path = inputs.state.join("developer-key");
    file::write_atomic(&path, sshkey::private_file(&key, COMMENT).as_bytes(), 0o600)?;
    let access = takes_key.then_some(SshAccess { key: path });
    session.guard(|| test::test(args, &inputs, &suites, access.as_ref()))
}

/// A board that was stopped on request did not fail.
pub fn failure(error: BoardError) -> Failure {
    let exit = if matches!(error, BoardError::Interrupted) { interrupt::EXIT } else { 1 };
    Failure { exit, ..Failure::from(error) }
}

fn inputs(session: &Session, purpose: &str) -> Result<BoardInputs, Failure> {
    let release = image::build(session)?;
    let tools = session.goal(goals::BOARD)?.clone();
    let outcome = session.run(std::slice::from_ref(&tools))?;
    let Node::Folder(tree) = outcome.output(&session.store, &session.plan, &tools)? else {
        return Err(Failure::new("the board's tool tree is not a folder"));
    };
    let public = keys::load(&session.project)?.public;
    let mut owner = [0; 16];
    owner.copy_from_slice(&public.fingerprint()[..16]);
    let product = session.config.product.name.to_string();
    let state = session.project.out(purpose)?.join(&product);
    file::create_dir_all(&state)?;
    Ok(BoardInputs {
        tools: ToolRoot::new(session.store.checkout(&tree)?).until(Stop::at(session.wish_to_stop())),
        image: release.folder.join(DISK_IMAGE),
        keys: SecureBootKeys {
            owner: Guid(owner),
            platform_key: public.platform_key,
            key_exchange_key: public.key_exchange_key,
            signature_db: public.signature_db,
        },
        board: session.config.machine.board.clone(),
        door: Door::of(&session.config.product),
        state,
        product,
    })
}
